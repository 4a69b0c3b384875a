"""Simulated studies: how often the statistics of the report claim what is not so, and how often intervals cover."""
