"""Regions of any shape: kinds that cut images into regions, and the packed map of what they cut."""
