"""Using a trained model: predict, assess, export. The layer above training and below the commands."""
