"""What a machine with a GPU has to show, in stages: tests, fit and score, selection, several trials, a suite."""
