"""Fault injection: hit quadrat repeatedly, run the same command again, compare with a run that nobody disturbed."""
