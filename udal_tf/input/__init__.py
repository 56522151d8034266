"""From index lists and views to batches: dicts of named tensors."""
