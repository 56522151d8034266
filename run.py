"""Trains a classifier on imbalanced data with few labels; `python run.py --help` lists every setting.

`python run.py` alone trains UDAL on digits-LT; `--dataset=cifar10lt --imbalance=100 --beta=0.1` is the paper's.
"""

from udal_tf.commands.train import main

if __name__ == "__main__":
    main()
