"""Train, calibration and validation images: drawn, from a file, by groups, in folds, or whole sources."""

from harness.data.splits.drawn import split
from harness.data.splits.parts import PARTS, Splits

__all__ = ["PARTS", "Splits", "split"]
