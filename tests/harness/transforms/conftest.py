"""Samples and pools for the tests of augmentations."""

from scenes import pool_of, sample_of, scene

__all__ = ["pool_of", "sample_of", "scene"]
