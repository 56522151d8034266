"""What is done to a picture: RandAugment and the weak and strong views."""
