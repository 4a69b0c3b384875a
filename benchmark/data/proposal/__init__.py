"""A manifest and a suite for a folder of images and masks that nobody has described."""
