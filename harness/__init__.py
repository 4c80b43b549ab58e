"""Benchmarks of instance-segmentation methods on cell images, under one budget."""
