"""Pretraining: which networks, bit for bit the same from one seed, continued where it was stopped."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.catalog import load_catalog
from harness.config.preset import load_preset, with_settings
from harness.errors import HarnessError
from harness.monitoring.progress import Progress, ProgressFile
from harness.orchestration import pretraining
from harness.orchestration.pretraining import Pretraining, networks, pretrain
from harness.results.status import Interrupted
from harness.training.painted_file import read_making, sha256_of

SMOKE = load_preset("smoke")


@pytest.fixture(autouse=True)
def few_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretraining, "HELD_OUT", 2)
    monkeypatch.setattr(pretraining, "HELD_OUT_SIDE", 64)
    # reads the metadata of every package
    monkeypatch.setattr(pretraining, "package_versions", dict)


def stardist(folder: Path, **changes: object) -> Pretraining:
    """StarDist, since it loads no framework."""
    how = {"budget": "4it", "folder": folder, **changes}
    (work,) = networks(load_catalog(), ["stardist"], SMOKE, lambda note: None, **how)
    return work


def test_methods_of_one_network_share_its_weights() -> None:
    notes: list[str] = []
    stacks = ["mask_rcnn", "copy_paste", "pointsup", "deepmac", "deepmac+geometric", "otsu_watershed"]
    found = networks(load_catalog(), stacks, SMOKE, notes.append, budget="4it")
    assert [work.method for work in found] == ["mask_rcnn", "deepmac"]
    assert notes == ["otsu_watershed takes no initial weights: nothing to pretrain"]
    assert all(work.recipe.supervision.name == "full_masks" for work in found)


def test_what_a_preset_fits_to_the_data_is_no_other_network() -> None:
    def work(**changes: object) -> Pretraining:
        preset = with_settings(SMOKE, {f"model.{name}": value for name, value in changes.items()})
        return networks(load_catalog(), ["mask_rcnn"], preset, lambda note: None, budget="4it")[0]

    fitted, wider = work(scale=0.4, anchor_scale=3.0, proposals=400), work(width=16)
    assert fitted.network == work().network
    assert fitted.path == work().path
    assert wider.path != work().path
    assert wider.network.settings["width"] == 16 != work().network.settings["width"]


def test_one_seed_gives_one_file_bit_for_bit(tmp_path: Path) -> None:
    work = [stardist(tmp_path / name, budget="2it") for name in "ab"]
    cards = [pretrain(one, "typed", ProgressFile()) for one in work]
    assert sha256_of(work[0].path) == sha256_of(work[1].path)
    assert cards[0] == cards[1]
    assert cards[0].iterations == 2
    assert cards[0].score is not None
    assert cards[0].score_unrounded is not None
    making = read_making(work[0].path)
    assert making is not None
    assert making.command == "typed"
    assert work[0].is_done()
    assert not stardist(tmp_path / "a", budget="3it").is_done()
    assert [path.name for path in work[0].path.parent.iterdir() if path.is_dir()] == []


def test_stopped_and_continued_is_the_same_as_never_stopped(tmp_path: Path) -> None:
    class StopAtOne(ProgressFile):
        def report(self, progress: Progress) -> None:
            if progress.step == 1:
                self.request_stop()

    whole, stopped = (stardist(tmp_path / name, budget="2it") for name in ("whole", "stopped"))
    pretrain(whole, "", ProgressFile())
    with pytest.raises(Interrupted):
        pretrain(stopped, "", StopAtOne())
    assert not stopped.is_done()
    pretrain(stopped, "", ProgressFile())
    assert sha256_of(whole.path) == sha256_of(stopped.path)


def test_what_learns_nothing_is_refused() -> None:
    with pytest.raises(HarnessError, match="no method 'mask_rcnnn'"):
        networks(load_catalog(), ["mask_rcnnn"], SMOKE, lambda note: None, budget="4it")
