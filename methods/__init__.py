"""The methods that come with the harness: a folder or a file each, holding `METHOD`, `METHODS` or `FAMILIES`."""

SUPPORT = ("frameworks", "moved", "shared")
"""What holds no method: detection frameworks as engines, where parts have moved, and what several methods use."""
