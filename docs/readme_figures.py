"""Makes the README's first look from the folder of a run: a strip of pictures, two charts and a short table.

    python docs/readme_figures.py RUN_DIR

RUN_DIR needs its records. The strip is drawn where its predictions and its data are there too, else the one that is
there stays. Everything between the two marks of the README is written anew.
"""

from __future__ import annotations

import base64
import hashlib
import io
import sys
import textwrap
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from harness.errors import HarnessError
from harness.fileio import make_folder, write_bytes_atomic, write_text_atomic
from harness.reporting.columns import SAME, number, versus
from harness.reporting.leaderboard import Leaderboard, leaderboard_of_runs
from harness.reporting.page.cost_figures import cost_charts
from harness.reporting.page.figures import styles
from harness.reporting.page.gallery import Panel, Picture, gallery
from harness.reporting.page.outlines import UNITS
from harness.reporting.page.printed import render
from harness.reporting.row import Row
from harness.reporting.verdict import join_names

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"
STRIP = "strip.png"
CHARTS = {"cost-inference": "cost-inference.png", "cost-memory": "cost-memory.png"}
BEGIN, END = "<!-- first look: begin -->", "<!-- first look: end -->"

SIDE = 360
"""Pixels of a picture of the strip."""
GAP, CAPTION = 12, 58
RIGHT, MISSED, FALSE, TRUTH = "#3ddc84", "#ffb000", "#ff5a5f", "#4cc9ff"


def main(run_dir: Path) -> None:
    """Write the pictures and the README's block."""
    board = leaderboard_of_runs([run_dir])
    make_folder(IMAGES)
    try:
        write_bytes_atomic(IMAGES / STRIP, strip(board, run_dir))
    except HarnessError as error:
        print(f"the strip stays as it is: {error}")
    for chart in cost_charts(board.ranked):
        if chart.slug in CHARTS:
            write_bytes_atomic(IMAGES / CHARTS[chart.slug], render(chart, styles(board.ranked), "png"))
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    before, _, rest = readme.partition(BEGIN)
    after = rest.partition(END)[2]
    write_text_atomic(ROOT / "README.md", f"{before}{BEGIN}\n{block(board)}\n{END}{after}")


# ------------------------------------------------------------------------------------------------------- the words


def block(board: Leaderboard) -> str:
    """What stands between the marks: the strip, what the table is of, the table, which when, and the charts."""
    charts = " ".join(f'<img src="docs/images/{name}" width="49%" alt="IoU against cost">' for name in CHARTS.values())
    legend = "Outlines: blue annotated, green right, orange missed, red false (at an IoU of 0.5)." + _other_run(board)
    parts = [
        f"![A synthetic image, its cells, and what three methods found](docs/images/{STRIP})",
        legend,
        origin(board),
        table(board),
        which_when(board),
        charts,
    ]
    return "\n\n".join(part if part[0] in "!|<" else textwrap.fill(part, 120) for part in parts)


def origin(board: Leaderboard) -> str:
    """Which run the table is of."""
    records = [record for row in board.ranked for record in row.good_records]
    first, steps = records[0], [record.cost.iterations for record in records]
    seeds = sorted({row.provenance.seeds for row in board.ranked})
    said = "one seed each" if seeds == [1] else f"{' to '.join(map(str, dict.fromkeys(seeds)))} seeds each"
    arithmetic = " and ".join(dict.fromkeys(row.provenance.arithmetic for row in board.ranked))
    images = len(first.scores.by_image) if first.scores else 0
    return (
        f"{len(board.ranked)} methods on synthetic cells, {first.budget} of training each on {first.machine['cpu']} "
        f"({first.machine.get('cores_usable')} cores): {min(steps)} to {max(steps)} steps in {arithmetic}, {said}, "
        f"{images} validation images, {first.finished[:10]}. {SAME}: cannot be told from the baseline; network worse: "
        "this trained network is, and with one seed nothing more is known."
    )


def table(board: Leaderboard) -> str:
    """Five columns."""
    header = ["method", "IoU", "vs baseline", "s/it", "ms/image"]
    sides = ["---", "---:", "---", "---:", "---:"]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, sides, *map(_cells, board.ranked)))


def _cells(row: Row) -> list[str]:
    compared = "baseline" if row.is_baseline else versus(row.quality.vs_baseline)
    times = [number(row.cost.seconds_per_iteration, 3), number(row.cost.inference_ms, 0)]
    return [row.method, number(row.quality.iou, 3), compared, *times]


def which_when(board: Leaderboard) -> str:
    """Which method to take when, as far as the run says."""
    rows = board.ranked
    tier = [row for row in rows if not row.is_worse]
    said = [f"**Which when:** {join_names([f'`{row.method}`' for row in tier], 12)} cannot be told apart here."]
    wanted = {
        "to train": lambda row: row.cost.seconds_per_iteration,
        "to predict": lambda row: row.cost.inference_ms,
        "to hold in memory": lambda row: row.cost.memory,
    }
    cheapest: dict[str, list[str]] = {}
    for what, cost in wanted.items():
        known = [row for row in tier if cost(row) is not None]
        if len(tier) > 1 and known:
            cheapest.setdefault(min(known, key=cost).method, []).append(what)
    if cheapest:
        best = [f"`{method}` costs least {join_names(whats)}" for method, whats in cheapest.items()]
        said.append(f"Of these {', '.join(best)}.")
    usual = next((row.provenance.labels for row in rows if row.is_baseline), "")
    fewer = [row for row in rows if row.provenance.labels != usual and row.provenance.labels]
    if fewer:
        said.append(
            f"Where nobody can draw whole masks, `{fewer[0].method}` reaches {number(fewer[0].quality.iou, 2)} from "
            f"{fewer[0].provenance.labels}."
        )
    return " ".join(said)


# ---------------------------------------------------------------------------------------------------- the pictures


def strip(board: Leaderboard, run_dir: Path) -> bytes:
    """PNG: the median image, its annotations, and what three methods found. Raises HarnessError without predictions."""
    made = gallery(board, run_dir)
    picture = made.pictures[made.opens_on]
    panels = {panel.method: panel for panel in picture.panels}
    shown = [panels[row.method] for row in _three(board) if row.method in panels]
    places = 2 + len(shown)
    sheet = Image.new("RGB", (places * SIDE + (places - 1) * GAP, SIDE + CAPTION), "white")
    grey = _image(picture)
    _put(sheet, 0, grey, "image", picture.cell_type)
    _put(sheet, 1, _outlined(grey, picture, [(picture.truth, TRUTH)]), "annotated", f"{picture.cells} cells")
    for at, panel in enumerate(shown, 2):
        drawn = [(panel.right, RIGHT), (panel.missed, MISSED), (panel.false, FALSE)]
        _put(sheet, at, _outlined(grey, picture, drawn), panel.method, _counts(panel))
    data = io.BytesIO()
    said = PngInfo()
    said.add_text("records", _records(board))
    said.add_text("budget", board.records[0].budget)
    sheet.quantize(128, dither=Image.Dither.NONE).save(data, "PNG", optimize=True, pnginfo=said)
    return data.getvalue()


def _three(board: Leaderboard) -> list[Row]:
    """The best, the baseline and the last; the second where the baseline is the best."""
    rows = board.ranked
    baseline = [row for row in rows if row.is_baseline]
    picked = {row.method: row for row in (rows[0], *baseline, rows[-1], *rows[1:])}
    return sorted(list(picked.values())[:3], key=rows.index)


def _other_run(board: Leaderboard) -> str:
    """A sentence where the strip that is there is of another run than the table."""
    if not (IMAGES / STRIP).is_file():
        return ""
    with Image.open(IMAGES / STRIP) as there:
        said = there.info
    return "" if said["records"] == _records(board) else f" The pictures are of another run, {said['budget']} each."


def _records(board: Leaderboard) -> str:
    """A digest that tells the run of these records from others."""
    return hashlib.sha256("".join(sorted(record.key for record in board.records)).encode()).hexdigest()[:12]


def _counts(panel: Panel) -> str:
    right, missed, false = panel.counts
    return f"IoU {number(panel.iou, 2)}: {right} right, {missed} missed, {false} false"


def _image(picture: Picture) -> Image.Image:
    """The image, with the size that the outlines have."""
    return Image.open(io.BytesIO(base64.b64decode(picture.uri.partition(",")[2]))).convert("RGB")


def _outlined(image: Image.Image, picture: Picture, drawn: list[tuple[str, str]]) -> Image.Image:
    """The image at the size of the strip, with outlines on it."""
    scale = SIDE / max(picture.width, picture.height)
    made = image.resize((round(picture.width * scale), round(picture.height * scale)), Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(made)
    for packed, colour in drawn:
        for ring in _rings(packed):
            points = [tuple(point) for point in (ring * (scale / UNITS)).tolist()]
            pen.line([*points, points[0]], fill=colour, width=2)
    return made


def _rings(packed: str) -> list[np.ndarray]:
    """The (N, 2) outlines that harness.reporting.page.outlines.pack has packed."""
    values = np.frombuffer(base64.b64decode(packed), "<i2")
    found, at = [], 0
    while at < len(values):
        end = at + 1 + 2 * int(values[at])
        found.append(values[at + 1 : end].reshape(-1, 2).astype(np.float64))
        at = end
    return found


def _put(sheet: Image.Image, place: int, picture: Image.Image, title: str, below: str) -> None:
    left = place * (SIDE + GAP)
    sheet.paste(picture.resize((SIDE, round(SIDE * picture.height / picture.width))), (left, 0))
    pen = ImageDraw.Draw(sheet)
    pen.text((left, SIDE + 8), title, fill="#1b1d21", font=ImageFont.load_default(20))
    pen.text((left, SIDE + 34), below, fill="#5b616b", font=ImageFont.load_default(15))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
