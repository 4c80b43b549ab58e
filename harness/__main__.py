"""`python -m harness`."""

from __future__ import annotations

from harness.cli import harness

if __name__ == "__main__":
    harness(prog_name="python -m harness")
