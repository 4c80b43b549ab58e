"""Data sources, splits and checks: all that opens a file with images."""
