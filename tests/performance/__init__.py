"""Measures speed, as ratios against a baseline in the same run; no test depends on a clock."""
