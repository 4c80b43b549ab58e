"""What a record says of the unlabelled images that a trial learned from."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class UnlabelledFacts(BaseModel):
    """The images without labels of one trial.

    images: how many. hidden: how many of them are training images whose labels were not used (`--labels`).
    left_out: how many more there were that are too near to an image that is scored.
    fingerprint: SHA-256 over the images.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    images: int
    hidden: int = 0
    left_out: int = 0
    fingerprint: str
