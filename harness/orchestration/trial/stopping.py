"""How trials of a cluster are asked to stop: by a file in the run's folder, which all its machines see."""

from __future__ import annotations

STOP_FILE = "stop-engine"
"""A file of this name in a run's folder asks all trials of clusters to stop."""
