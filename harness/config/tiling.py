"""Sizes at which large images are divided into tiles for prediction."""

WHOLE_PIXELS = 2**23
"""Pixels, as the network sees them, of the largest image that is predicted whole where nothing else is asked for."""

TILE = 1024
"""Side of a tile with its margins, in pixels of the network, where the margin leaves room."""
