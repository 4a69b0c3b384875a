"""Training of DeepLabv3+ on the labelled regions: the loop, its batches, its loss."""
