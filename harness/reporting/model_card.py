"""The card of a packaged model: what it is, what it was trained on, how good it is, and how to use it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from harness.catalog import Catalog
from harness.contract import Method
from harness.errors import HarnessError
from harness.inference.model_package import MODEL, ModelPackage
from harness.reporting.escape import for_markdown
from harness.reporting.row import quality
from harness.results.schema import RunRecord

SHOWN_VERSIONS = ("cell-segmentation-harness", "torch", "torchvision", "timm", "numpy")
NAMES = {"iou": "IoU (mean over images and thresholds)", "f1_50": "F1", "ap": "AP", "ap50": "AP50"}


def scores_of_records(records: Sequence[RunRecord]) -> dict[str, Any]:
    """Means over the trainings, and the 95 % interval of IoU over images."""
    per_image = {i: record.scores.by_image for i, record in enumerate(records) if record.scores is not None}
    found = quality(records, per_image)
    return {
        "iou": found.iou,
        "iou_interval": None if found.interval is None else [found.interval.low, found.interval.high],
        "std_over_seeds": found.seed_std,
        "std_over_folds": found.fold_std,
        "f1_50": found.f1_50,
        "ap": found.ap,
        "ap50": found.ap50,
        "count_error": found.count_error,
        "by_type": dict(found.by_type),
        "images": len({image for scores in per_image.values() for image in scores}),
        "trainings": sum(max(1, len(record.folds)) for record in records),
    }


def model_card(package: ModelPackage, catalog: Catalog) -> str:
    """Markdown."""
    spec = package.trial
    sections = [
        f"# {for_markdown(spec.method)}, trained on {for_markdown(package.data.source)}",
        "A model that finds cells in microscope images and gives each a mask. Made by `python -m harness package`; "
        f"`{MODEL}` holds the same facts for programs.",
        _section("Use", _use(package)),
        _section("What it is", _recipe(package, catalog)),
        _section("Data", _data(package)),
        _section("Scores", _scores(package)),
        _section("Rule", _rule(package)),
        _section("Limits", _limits(package)),
        _section("Licence", [_licence(package)]),
        _section("Trained with", _versions(package)),
    ]
    return "\n\n".join(sections) + "\n"


def _section(title: str, lines: Sequence[str]) -> str:
    return f"## {title}\n\n" + "\n".join(lines)


def _use(package: ModelPackage) -> list[str]:
    named = "".join(f" --adapter {name}.py" for name in package.adapters)
    lines = [
        "```text",
        f"python -m harness predict --model FOLDER{named} --images IMAGES --out OUT",
        "```",
        "",
        "FOLDER is the folder of this card. Reading it runs no code of it.",
    ]
    if package.adapters:
        files = " and ".join(f"{name}.py" for name in package.adapters)
        lines.append(f"The method is a user's own: it needs {files}, which is not part of the folder.")
    return lines


def _recipe(package: ModelPackage, catalog: Catalog) -> list[str]:
    spec = package.trial
    number = len(package.members)
    lines = [
        f"- {slot}: {for_markdown(part['name'])}" for slot, part in spec.recipe.items() if part["name"] != "scratch"
    ]
    for method in _methods(spec, catalog):
        card = method.card
        lines.append(f"- {method.name}: {card.title}. {card.paper}, {card.year}. {card.url}")
    lines += [
        f"- trained for {spec.budget} with the preset `{for_markdown(spec.preset.name)}`, seed {spec.seed}",
        f"- images are resized by {spec.preset.scale:g} for the network",
        *(f"- images of {h} x {w} by {scale:g} in its place" for (h, w), scale in spec.preset.scale_by_size.items()),
    ]
    if number > 1:
        lines.append(
            f"- {number} networks, whose masks and scores are averaged; prediction takes {number} times as long"
        )
    return lines


def _methods(spec: Any, catalog: Catalog) -> list[Method]:
    """Those of the stack that are here; a row of a preset may have a name of its own."""
    found = []
    for term in re.split(r"\+(?![^(]*\))", spec.method):
        try:
            found.append(catalog.method(term.partition("(")[0].strip()))
        except HarnessError:
            continue
    return found


def _data(package: ModelPackage) -> list[str]:
    data, task = package.data, package.members[0].task
    parts = {name: len(ids) for name, ids in data.splits.items() if ids}
    lines = [
        f"- source: {for_markdown(data.source)}, fingerprint {data.fingerprint[:16]}",
        f"- {data.images:,} labelled images with {data.cells:,} cells; "
        + ", ".join(f"{count:,} for {name}" for name, count in parts.items()),
        f"- classes: {for_markdown(', '.join(data.classes))}",
        f"- pixels of the training images (RGB, 0 to 255): mean {_numbers(task['pixel_mean'])}, "
        f"standard deviation {_numbers(task['pixel_std'])}",
    ]
    if len(package.members) > 1:
        lines[1] += " (of the first network)"
    if package.cell_diameters:
        d = package.cell_diameters
        lines.append(
            f"- cells seen: diameter of a circle of the same area {d['median']:.0f} pixels in the median, "
            f"{d['p5']:.0f} to {d['p95']:.0f} for nine of ten; the longest side is {task['largest_cell']} pixels"
        )
    return lines


def _scores(package: ModelPackage) -> list[str]:
    scores = package.scores
    lines = [f"Of {package.scores_of}.", ""] if package.scores_of else []
    interval = scores.get("iou_interval")
    for name, text in NAMES.items():
        if scores.get(name) is not None:
            between = f", 95 % over images {interval[0]:.3f} to {interval[1]:.3f}" if name == "iou" and interval else ""
            lines.append(f"- {text}: {scores[name]:.4f}{between}")
    if scores.get("count_error") is not None:
        lines.append(f"- count error: {scores['count_error']:.1%}")
    lines += [f"- IoU of {for_markdown(kind)}: {value:.4f}" for kind, value in scores.get("by_type", {}).items()]
    for name, text in (("std_over_seeds", "seeds"), ("std_over_folds", "folds")):
        if scores.get(name) is not None:
            lines.append(f"- standard deviation of IoU over {text}: {scores[name]:.4f}")
    lines.append(f"- {scores.get('images', 0)} images, {scores.get('trainings', 0)} trainings")
    return lines


def _rule(package: ModelPackage) -> list[str]:
    rule = package.rule
    areas = rule.min_areas
    return [
        f"Chosen on: {for_markdown(rule.chosen_on)}. Masks below the score threshold are dropped, overlaps go to the "
        "higher score, and what is left of a mask must have the smallest area.",
        "",
        *(
            f"- {for_markdown(name)}: score at least {threshold:g}, area at least {areas[name]} pixels"
            for name, threshold in rule.score_thresholds.items()
        ),
    ]


def _limits(package: ModelPackage) -> list[str]:
    lines = [
        "- It knows images like those it was trained on: another microscope, magnification or cell type is another "
        "question, which `python -m harness evaluate` answers where there are labels.",
        "- Images of more than 8 million pixels are predicted in tiles. Masks near a seam may differ from those of the "
        "whole image, and normalisation layers that look at all pixels see a tile in its place.",
    ]
    if package.fit_all:
        lines.append("- It was trained on all labelled images: no score of this network itself is known.")
    return lines


def _licence(package: ModelPackage) -> str:
    said = f"{for_markdown(package.licence)}." if package.licence else "Not stated (`package --licence` states it)."
    start = package.trial.start
    more = ""
    if start is not None:
        theirs = for_markdown(start.licence) if start.licence else "which is not stated"
        more = f" It began with the weights {for_markdown(start.name)}; their licence applies too: {theirs}."
    return f"{said} The licence of the data may bind a model that was trained on them.{more}"


def _versions(package: ModelPackage) -> list[str]:
    machine = package.machine
    versions = package.versions
    wanted = (*SHOWN_VERSIONS, package.trial.recipe["engine"]["name"])
    named = [name for name in wanted if name in versions]
    return [
        f"- {', '.join(f'{name} {versions[name]}' for name in named)}",
        f"- {machine.get('python', '')} on {machine.get('system', '')}"
        + (f", commit {package.git_commit}" if package.git_commit else ""),
        f"- packaged {package.created}",
        *(f"- `{one.weights}`: SHA-256 {one.sha256}" for one in package.members),
    ]


def _numbers(values: Sequence[float]) -> str:
    return " ".join(f"{value:.1f}" for value in values)
