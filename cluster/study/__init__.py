"""`quadrat study`: the Ray Tune adapter and the storage of candidates."""
