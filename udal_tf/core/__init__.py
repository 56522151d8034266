"""The mathematics of the paper, CReST and DARP as pure functions of numbers and tensors."""
