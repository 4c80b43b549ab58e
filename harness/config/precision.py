"""The arithmetic of matrix products and convolutions, as a user names it."""

from __future__ import annotations

from typing import Literal

Precision = Literal["auto", "float32", "bfloat16"]
"""`auto` is bfloat16 where the device multiplies it in hardware, and float32 elsewhere."""
