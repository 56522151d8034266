"""What a person sees: the run log, pictures and tables."""
