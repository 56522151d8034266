"""The base learners and the one training step that serves them all."""
