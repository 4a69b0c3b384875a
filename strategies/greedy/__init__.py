"""Greedy diversification: the unified objective, three exact fast engines and the reference implementation."""
