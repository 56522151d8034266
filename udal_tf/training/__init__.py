"""Runs: the loop, evaluation, checkpoints."""
