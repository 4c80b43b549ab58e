"""The verbs on Windows, one after the other. On other systems tests/test_readme_commands.py types them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.skipif(sys.platform != "win32", reason="tests/test_readme_commands.py types these lines here"),
    pytest.mark.timeout(1200),
]
ROOT = Path(__file__).parents[2]
SHORT = ["--preset", "smoke", "--budget", "2it", "--device", "cpu", "--quiet"]


def typed(where: Path, *words: str | Path, status: int = 0) -> str:
    """What `python -m harness WORDS` prints, as UTF-8. Fails where it ends otherwise than expected."""
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from harness.cli import harness; harness()"
    command = [sys.executable, "-c", code, *map(str, words)]
    done = subprocess.run(command, cwd=where, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    said = done.stdout.decode("utf-8") + done.stderr.decode("utf-8")
    assert done.returncode == status, said
    assert "Traceback" not in said
    return said


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two methods in a folder with a space and an umlaut in its name."""
    folder = tmp_path_factory.mktemp("Zellen im Grünen") / "my run"
    said = typed(folder.parent, "run", "--methods", "mask_rcnn,otsu_watershed", *SHORT, "--seeds", "2", "--out", folder)
    assert "otsu_watershed" in said
    return folder


def test_the_run_wrote_everything(run_dir: Path) -> None:
    records = [json.loads(path.read_text("utf-8")) for path in run_dir.glob("trials/*/record.json")]
    assert [record["status"] for record in records] == ["ok"] * 4
    assert all(record["cost"]["peak_host_rss"] > 50 << 20 for record in records)
    left = {path.name for path in run_dir.rglob("*")}
    assert {"leaderboard.md", "leaderboard.csv", "weights.safetensors", "log.txt"} <= left
    assert not left & {"progress.json", "stop"}


def test_it_goes_on_where_it_was(run_dir: Path) -> None:
    before = {path: path.read_bytes() for path in run_dir.glob("trials/*/record.json")}
    typed(run_dir.parent, "run", "--methods", "mask_rcnn,otsu_watershed", *SHORT, "--seeds", "2", "--out", run_dir)
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["table", "RUN"], "mask_rcnn"),
        (["table", "RUN", "--json"], "mask_rcnn"),
        (["report", "RUN"], "report.html"),
        (["compare", "RUN:mask_rcnn", "RUN:otsu_watershed"], "otsu_watershed"),
        (["score", "RUN"], "mask_rcnn"),
        (["data", "check", "synthetic:images=6,size=64"], "6"),
        (["methods"], "deepmac"),
        (["methods", "mask_rcnn"], "Mask R-CNN"),
        (["plan", "synthetic:images=12,size=64"], "[training]"),
        (["export-split", "RUN", "--to", "exported"], "exported"),
        (["new-method", "my_head", "--slot", "mask_head", "--dir", "mine"], "my_head"),
        (["doctor"], "Python"),
    ],
    ids=lambda value: "-".join(value[:2]) if isinstance(value, list) else "",
)
def test_verbs(run_dir: Path, words: list[str], expected: str) -> None:
    if words == ["doctor"]:
        code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from harness.cli import harness; harness()"
        done = subprocess.run([sys.executable, "-c", code, "doctor"], capture_output=True, check=False)
        assert expected.encode() in done.stdout
        return
    assert expected in typed(run_dir.parent, *(word.replace("RUN", str(run_dir)) for word in words))


def test_images_of_ones_own_are_predicted(run_dir: Path) -> None:
    images, out = run_dir.parent / "images", run_dir.parent / "predicted"
    typed(run_dir.parent, "export-split", run_dir, "--format", "coco", "--to", images)
    folder = next(path.parent for path in images.rglob("*.png"))
    words = ["--run", run_dir, "--method", "mask_rcnn", "--images", folder, "--out", out, "--device", "cpu"]
    typed(run_dir.parent, "predict", *words)
    assert list(out.glob("labels/*.tif"))


def test_drive_letters_and_commas_in_a_source(run_dir: Path, tmp_path: Path) -> None:
    coco = tmp_path / "a, b"
    typed(run_dir.parent, "export-split", run_dir, "--format", "coco", "--to", coco)
    table = next(coco.glob("train*.json"))
    source = f"coco:{table.resolve()},{(coco / table.stem).resolve()}"
    assert source[6] == ":"
    assert "cells" in typed(tmp_path, "data", "check", source)
