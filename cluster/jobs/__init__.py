"""`quadrat submit`, `status` and `stop`: jobs on a Ray cluster elsewhere."""
