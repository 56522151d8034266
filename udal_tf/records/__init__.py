"""The program's own datasets, base learners, methods and backbones, a record each: tables, no logic.

The paper's CIFAR10-LT recipe (§4.3) is the default of every setting in `config.py`; here is only what differs.
"""
