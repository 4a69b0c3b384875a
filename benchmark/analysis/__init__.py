"""From records to numbers: pure functions for curves, areas, tests, intervals and label efficiency."""
