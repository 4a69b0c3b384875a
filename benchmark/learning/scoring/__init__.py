"""One pass of a trained network over images: signals, features and profiles of regions, the confusion matrix."""
