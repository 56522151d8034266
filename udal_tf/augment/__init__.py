"""What is done to an image: RandAugment and the weak and strong views."""
