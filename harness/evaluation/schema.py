"""What the scorer writes into a record: the post-processing rule and the scores."""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from harness.config.protocol import ScoringProtocol

Number = Annotated[float, BeforeValidator(lambda value: math.nan if value is None else value)]
"""A float that JSON holds as null where it is not finite; read back as NaN."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PostprocessRule(_Model):
    """The post-processing rule, chosen on the calibration images: per class, in class order.

    search: every (score threshold, minimum area, calibration IoU) looked at, so that the choice can be checked.
    """

    score_thresholds: dict[str, Number]
    min_areas: dict[str, int]
    chosen_on: str
    search: list[dict[str, Any]] = Field(default_factory=list)

    def lowest_score(self) -> float:
        """The lowest score that the rule keeps of any class."""
        return min(self.score_thresholds.values())


class Scores(_Model):
    """Validation scores; scoring_version names the rules they follow. NaN is written as null.

    cell_types: image id to cell type, where the data tell. ap_small, ap_medium, ap_large: COCO's sizes; ap_cell_*:
    LIVECell's (harness.evaluation.coco.AREA_RANGES). livecell: scores of LIVECell's own protocol, by name, where asked
    for (harness.evaluation.livecell).
    """

    scoring_version: str
    iou_map: Number
    by_type: dict[str, Number] = Field(default_factory=dict)
    by_threshold: dict[str, Number] = Field(default_factory=dict)
    by_image: dict[str, Number] = Field(default_factory=dict)
    cell_types: dict[str, str] = Field(default_factory=dict)
    ap: float | None = None
    ap50: float | None = None
    ap75: float | None = None
    ap_small: float | None = None
    ap_medium: float | None = None
    ap_large: float | None = None
    ap_cell_small: float | None = None
    ap_cell_medium: float | None = None
    ap_cell_large: float | None = None
    boundary_ap: float | None = None
    f1_50: float | None = None
    panoptic_quality: float | None = None
    mean_matched_iou: float | None = None
    count_error: float | None = None
    errors: dict[str, int] = Field(default_factory=dict)
    livecell: dict[str, Number] = Field(default_factory=dict)

    @property
    def protocol(self) -> ScoringProtocol:
        """The published evaluation whose scores are here besides."""
        return "livecell" if self.livecell else ""
