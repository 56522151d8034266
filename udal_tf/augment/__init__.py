"""Image augmentation: RandAugment, and the plain, weak and strong views."""
