"""What a record says of the weights that a trial starts from."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import PurePath
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field

from harness.contract import InitKind, LoadedWeights, StartingWeights


class LoadedFacts(BaseModel):
    """The fields of harness.contract.LoadedWeights."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    groups: dict[str, dict[str, int]]
    classes: dict[str, str] = Field(default_factory=dict)
    pixel_mean: tuple[float, ...] = ()
    pixel_std: tuple[float, ...] = ()
    channel_order: str = ""
    stride_in_1x1: bool | None = None


class StartFacts(BaseModel):
    """The weights that a trial starts from. No field holds a folder.

    name: of the init, such as "from_run". file: its name; empty for a download. sha256: of the file.
    loaded: what the model took over; None until it is built. The other fields are those of
    harness.contract.StartingWeights.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    kind: InitKind
    file: str = ""
    sha256: str = ""
    source: str = ""
    seed: int | None = None
    classes: tuple[str, ...] = ()
    data_fingerprint: str = ""
    split_fingerprint: str = ""
    train_seconds: float | None = None
    cell_diameter: float = 0.0
    licence: str = ""
    new_parts: tuple[str, ...] = ()
    loaded: LoadedFacts | None = None

    @classmethod
    def of(cls, name: str, found: StartingWeights, sha256: str) -> Self:
        """Of weights that were found. name: of the init. sha256: of the file; empty where there is none."""
        plain = {**asdict(found), "name": name, "sha256": sha256, "file": PurePath(found.path or "").name}
        del plain["path"], plain["scale"], plain["anchors"]
        return cls(**plain)

    def with_loaded(self, loaded: LoadedWeights | None) -> Self:
        """With what the model took over."""
        return self if loaded is None else self.model_copy(update={"loaded": LoadedFacts(**asdict(loaded))})

    def work(self) -> dict[str, Any]:
        """What is the same in all seeds of one row: of weights that runs have made, not the file but where from."""
        same = {"name": self.name, "kind": self.kind, "source": self.source, "data": self.data_fingerprint}
        return same if self.seed is not None else {**same, "sha256": self.sha256}
