"""Every command of the README, run as a reader would type it, block by block.

What is changed, and why:

- They run in a copy of the project, so that `new-method` writes where it says and the repository stays as it is.
- Placeholders (PATH, RUN_DIR, ...) stand for small data and folders made here.
- `run` is typed twice. First as it stands with `--dry-run`, which reads the data and plans every trial; then with
  SHORTER behind it, where the last of two options counts: the same methods train for two steps. `--methods all` trains
  the baseline alone, for time; the conformance tests train every method.
- What sets the project up (venv, pip, tox) is not run: the environment of the tests is what it makes.
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from harness.cli import VERBS

pytestmark = pytest.mark.timeout(900)  # one fixture trains for all

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PREFIX = "python -m harness "
SET_UP = ("python -m venv ", "pip install ", "source ")
BLOCK = re.compile(r"```sh\n(.*?)```", re.DOTALL)
BLOCKS = [[line for line in block.splitlines() if not line.startswith(SET_UP)] for block in BLOCK.findall(README)]
INLINE = [" ".join(text.split()) for text in re.findall(r"`([^`]+)`", BLOCK.sub("", README))]
SENTENCES = [
    text if text.startswith(PREFIX) else PREFIX + text
    for text in INLINE
    if text.startswith(PREFIX) or (text.split()[0] in VERBS and re.match(r"\S+ [^-]", text))
]
"""Commands within sentences; there the first words are sometimes left out. `run --tensorboard` is an option's name."""

SHORTER = "--preset smoke --budget 2it --seeds 1 --device cpu --quiet"
WORDS = {
    "PATH": "data/sartorius",
    "IMAGES_DIR": "data/sartorius/train",
    "LABELS_DIR": "data/labels",
    "ANN.json": "data/ann.json",
    "SOURCE": "sartorius:data/sartorius",
    "--out DIR": "--out predicted",
    "--data SOURCE": "--data synthetic:images=4,size=64,seed=9",
    "--to DIR": "--to task",
    "--masks DIR": "--masks data/labels",
    "DIR": "data/sartorius/train",
    "FOLDER": "model",
}
"""Placeholder to its value. RUN_DIR is added once there is a run."""

PRINTS = {
    "table": "| mask_rcnn ",
    "compare": "copy_paste minus mask_rcnn",
    "score": "mask_rcnn",
    "evaluate": "mask_rcnn",
    "add-row": "ilastik",
    "check-submission": "nothing wrong: 9 images",
    "check-method": "keeps the contract",
    "methods": "deepmac",
    "data": "9",
}
"""Verb to what it prints, among other things."""

WRITES = {
    "report": "{RUN_DIR}/report.html",
    "export-split": "task/split.json",
    "predict --run": "submission.csv",
    "predict --model": "predicted/overlays",
    "package": "model/card.md",
    "new-method": "methods/my_head.py",
}
"""Verb, or verb and option, to a file or folder that it creates."""


def filled(line: str, words: dict[str, str]) -> str:
    """The line without its placeholders. Fails where an unknown word in capitals is left."""
    for word, value in sorted(words.items(), key=lambda item: -len(item[0])):
        line = re.sub(rf"(?<!\w){re.escape(word)}(?!\w)", value, line)
    left = re.findall(r"\b[A-Z][A-Z_]+\b", line)
    assert not left, f"the README has the placeholder {left[0]}: add it to WORDS"
    return line


def runs(flat: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Begin and end of every run of ones in a row of zeros and ones."""
    edges = np.flatnonzero(np.diff(flat, prepend=0, append=0).astype(np.int8))
    return edges[::2], edges[1::2]


def write_data(folder: Path) -> None:
    """The same synthetic cells as Kaggle's layout, as COCO's file and as label images; all share sartorius/train/."""
    from harness.data.sources import load

    cells = load("synthetic:images=9,size=64", cache=False)
    train, labels = folder / "sartorius" / "train", folder / "labels"
    train.mkdir(parents=True)
    labels.mkdir()
    rows, annotations = [], []
    for number, image_id in enumerate(cells.ids):
        sample = cells.sample(image_id)
        height, width = sample.size
        cv2.imwrite(str(train / f"{image_id}.png"), sample.image)
        plane = np.zeros(sample.size, np.uint16)
        assert sample.instances.masks is not None
        for i, mask in enumerate(sample.instances.masks.planes(height, width), start=1):
            plane[mask > 0] = i
            begin, end = runs(mask.ravel())
            rows.append((image_id, " ".join(f"{b + 1} {e - b}" for b, e in zip(begin, end, strict=True)),
                         width, height, sample.cell_type))  # fmt: skip
            begin, end = runs(mask.ravel(order="F"))
            counts = np.diff(np.stack([begin, end], axis=1).ravel(), prepend=0, append=mask.size).tolist()
            annotations.append({"id": len(rows), "image_id": number, "category_id": 1, "iscrowd": 0,
                                "segmentation": {"size": [height, width], "counts": counts}})  # fmt: skip
        cv2.imwrite(str(labels / f"{image_id}.png"), plane)
    with (folder / "sartorius" / "train.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("id", "annotation", "width", "height", "cell_type"), *rows])
    images = [
        {"id": number, "file_name": f"{image_id}.png", "height": 64, "width": 64}
        for number, image_id in enumerate(cells.ids)
    ]
    tables = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "cell"}]}
    (folder / "ann.json").write_text(json.dumps(tables), encoding="utf-8")


@dataclass
class Desk:
    """Where commands are typed: a copy of the project, with data beside it."""

    folder: Path
    shell: Callable[..., str]
    words: dict[str, str]

    def type(self, line: str) -> str:
        """Run one line of the README; what it printed. A `run` is planned as it stands, then trained shorter."""
        assert line.startswith(PREFIX)
        line = filled(line.partition(" #")[0], self.words)
        verb = line.removeprefix(PREFIX).split()[0]
        if verb == "run":
            return self.train(line)
        creates = WRITES.get(" ".join(line.split()[3:5]), WRITES.get(verb))
        written = [self.folder / creates.format(**self.words)] if creates else []
        assert not any(path.exists() for path in written)
        said = self._run(line)
        assert all(path.exists() for path in written)
        assert PRINTS.get(verb, "") in said
        return said

    def train(self, line: str) -> str:
        planned = self._run(f"{line} --dry-run --device cpu")
        fewer = " --methods mask_rcnn" if " --methods all" in line else ""
        folder = run_folder(line)
        # the weights that come with the harness are for a network larger than that of smoke
        shorter = SHORTER.replace("--preset smoke ", "") if "--init painted" in line else SHORTER
        said = self._run(f"{line} {shorter}{fewer} --out {folder}")
        with (self.folder / folder / "leaderboard.csv").open(encoding="utf-8") as file:
            rows = {row["method"]: row["status"] for row in csv.DictReader(file)}
        assert set(rows.values()) == {"ok"}
        assert all(name in planned for name in rows)
        return said

    def _run(self, line: str) -> str:
        return self.shell(line, self.folder, PYTHONPATH=str(self.folder))


def run_folder(line: str) -> str:
    return f"runs/{hashlib.sha256(line.encode()).hexdigest()[:8]}"


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory, typed: Callable[..., str]) -> Desk:
    folder = tmp_path_factory.mktemp("project")
    for room in ("harness", "methods"):
        shutil.copytree(ROOT / room, folder / room, ignore=shutil.ignore_patterns("__pycache__"))
    write_data(folder / "data")
    return Desk(folder, typed, dict(WORDS))


@pytest.fixture(scope="module")
def run_dir(desk: Desk) -> str:
    """The run that the README's later commands are about: of its commands, the one that trains the two they name."""
    (line,) = [line for block in BLOCKS for line in block if "--methods mask_rcnn,copy_paste " in line]
    desk.type(line)
    return run_folder(filled(line, desk.words))


def test_every_line_of_a_block_is_a_command_that_is_run() -> None:
    lines = [line for block in BLOCKS for line in block]
    assert len(lines) >= 12
    assert all(line.startswith(PREFIX) for line in lines)
    assert len(SENTENCES) >= 4


@pytest.mark.slow
@pytest.mark.parametrize("block", [b for b in BLOCKS if b], ids=lambda block: " ".join(block[0].split()[3:5]))
def test_the_commands_of_a_block_run_one_after_another(block: list[str], desk: Desk, run_dir: str) -> None:
    desk.words["RUN_DIR"] = run_dir
    said = {line: desk.type(line) for line in block}
    assert all(said.values()), "a command printed nothing"


@pytest.mark.slow
@pytest.mark.parametrize("line", SENTENCES)
def test_a_command_within_a_sentence_runs(line: str, desk: Desk) -> None:
    assert desk.type(line)
