"""Greedy diversification: the unified objective, two exact fast engines and the reference implementation."""
