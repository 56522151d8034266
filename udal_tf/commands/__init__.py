"""What people start from the command line."""
