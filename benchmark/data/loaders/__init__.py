"""One loader for each layout that data sets have on disk, and synthetic scenes."""
