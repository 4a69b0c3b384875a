"""What a suite costs in time and space: counted, measured, estimated."""
