"""The methods that come with the harness: a folder or a file each, holding `METHOD`, `METHODS` or `FAMILIES`."""

SUPPORT = ("frameworks", "shared")
"""Folders that hold no method: detection frameworks as engines, and what several methods use."""
