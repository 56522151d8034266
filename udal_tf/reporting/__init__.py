"""What a person sees: the run log, images and tables."""
