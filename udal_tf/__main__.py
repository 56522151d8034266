"""`python -m udal_tf COMMAND`: the same as `udal COMMAND`."""

from udal_tf.commands.udal import main

if __name__ == "__main__":
    main()
