"""The base learners, the methods, and the one training step that they share."""
