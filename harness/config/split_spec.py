"""How the images of a data set are divided into training, calibration and validation."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class SplitSpec(BaseModel):
    """What the user asked for. With all fields empty the parts are drawn at random, as large as the preset says.

    file: path of a table of images; see harness.data.splits.files.
    validation, calibration: sources, as typed, whose images are that part.
    group_by: a column or a regular expression; images with the same value stay in one part.
    hold_out: NAME=VALUE[,VALUE]; images with one of these values are the validation part.
    folds: number of folds; 0 for one split.
    labels: how many training images keep their labels, as "20" or "10%"; empty for all. The others are unlabelled.
    unlabelled: sources and folders, as typed, whose images are learned from without labels.
    fold: the fold, from 1, whose images this trial predicts; 0 without folds. seed: of the draw of the folds.
    fit_all: all images of all parts are trained on, and none is scored.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str = ""
    validation: tuple[str, ...] = ()
    calibration: tuple[str, ...] = ()
    group_by: str = ""
    hold_out: str = ""
    labels: str = ""
    unlabelled: tuple[str, ...] = ()
    folds: int = Field(default=0, ge=0)
    fold: int = Field(default=0, ge=0)
    seed: int = 0
    fit_all: bool = False

    @property
    def is_drawn(self) -> bool:
        """Whether the parts are drawn at random from one source."""
        return not (self.file or self.validation or self.calibration or self.hold_out or self.folds)

    @property
    def is_scored(self) -> bool:
        """Whether a trial chooses a rule and has scores of its own: a fold is scored together with the others."""
        return not (self.fold or self.fit_all)
