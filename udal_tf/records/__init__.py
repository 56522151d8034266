"""The built-in datasets, base learners, methods and backbones, one record each: tables, no logic.

The paper's CIFAR10-LT recipe (§4.3) gives the defaults in `config.py`; records hold only what differs.
"""
