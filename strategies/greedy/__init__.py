"""Greedy diversification: the unified objective, exact engines for it, and the readable reference they must equal."""
