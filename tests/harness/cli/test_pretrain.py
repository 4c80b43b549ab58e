"""`pretrain` makes weights, leaves those that are there, and refuses in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from harness.cli import harness
from harness.orchestration import pretraining


def typed(*words: str | Path) -> Result:
    return CliRunner().invoke(harness, ["pretrain", "--preset", "smoke", "--device", "cpu", *map(str, words)])


def test_weights_are_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretraining, "HELD_OUT", 2)
    monkeypatch.setattr(pretraining, "package_versions", dict)
    how = ("--methods", "stardist,stardist+copy_paste", "--budget", "2it", "--out", tmp_path)
    first, second = typed(*how), typed(*how)
    assert first.exit_code == 0, first.output
    assert "1 of 1: stardist: 2 steps, IoU 0." in first.stderr
    assert "there already" in second.stderr
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json", ".safetensors"]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--budget", "10min"), "type 10m"),
        (("--methods", "mask_rcnnn"), "did you mean 'mask_rcnn'?"),
        (("--without", "halos"), "painted: without are phase+"),
    ],
)
def test_what_cannot_be_done_is_one_line(words: tuple[str, ...], line: str) -> None:
    result = typed(*words)
    assert result.exit_code == 2
    assert line in result.stderr
    assert len(result.stderr.splitlines()) == 1
