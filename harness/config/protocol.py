"""Which published evaluation a result is scored by, beside the harness's own scores."""

from __future__ import annotations

from typing import Literal

ScoringProtocol = Literal["", "livecell"]
"""Empty for none. livecell: see harness.evaluation.livecell."""

PROTOCOLS = ("livecell",)
