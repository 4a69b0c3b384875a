"""One inference pass over images: signals, features and profiles of regions, and evaluation against ground truth."""
