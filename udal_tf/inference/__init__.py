"""What is done with a trained model: predict, assess, export. Above training, below the commands."""
