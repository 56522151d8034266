"""Training runs: the loop, evaluation, checkpoints."""
