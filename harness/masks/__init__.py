"""Masks cropped to their boxes, and run lengths: how instances are held in memory and on disk."""

from harness.masks.crops import CropMasks

__all__ = ["CropMasks"]
