"""The input pipeline: batches, dicts of named tensors, from images, positions and views."""
