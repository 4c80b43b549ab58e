"""The report of a run as one HTML page that needs nothing but itself."""

from __future__ import annotations

import base64
import hashlib
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from importlib import resources
from typing import TYPE_CHECKING, Any

from harness.evaluation.schema import PostprocessRule
from harness.reporting.format import machine_name, split_text
from harness.reporting.generalisation import Matrix
from harness.reporting.leaderboard import Leaderboard
from harness.reporting.legend import legend
from harness.reporting.page.charts import Style
from harness.reporting.page.figures import Figures
from harness.reporting.page.gallery import Gallery
from harness.reporting.page.interactive import colour, panel_key, plotly_charts
from harness.reporting.page.outlines import UNITS
from harness.reporting.page.ranking import ranking
from harness.reporting.verdict import verdict
from harness.results.schema import RunRecord

if TYPE_CHECKING:
    from markupsafe import Markup

_SCRIPTS = ("table.js", "figures.js", "gallery.js")


def page(
    board: Leaderboard, figures: Figures, gallery: Gallery | None, no_gallery: str, matrix: Matrix | None = None
) -> str:
    """The page. Every text from data is escaped.

    no_gallery: the line that says why there is none. matrix: scores on other data.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    environment = Environment(
        loader=PackageLoader("harness.reporting.page", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    scripts = [get_plotlyjs(), *(_file(name) for name in _SCRIPTS)]
    return environment.get_template("page.html").render(
        title=_title(board),
        summary=summary(board),
        verdict=verdict(board),
        policy=_policy(scripts),
        css=Markup(_file("page.css")),
        scripts=[Markup(script) for script in scripts],
        payload=script_json(_payload(figures, gallery)),
        ranking=ranking(board),
        board=board,
        figures=figures,
        looks={method: _look(style) for method, style in figures.styles.items()},
        look=_look,
        panel_key=panel_key,
        gallery=gallery,
        matrix=matrix,
        no_gallery=no_gallery,
        failed=[r for r in board.records if r.status != "ok"],
        legend=legend(board),
        provenance=provenance(board),
        rules=rules(board),
    )


def summary(board: Leaderboard) -> str:
    """One line: methods, seeds, data, budget, date."""
    records = board.records
    good = [row for row in board.rows if row.provenance.seeds]
    seeds = sorted({row.provenance.seeds for row in good})
    data = dict.fromkeys(f"{r.data.source}: {r.data.images} images, {r.data.cells} cells" for r in records if r.data)
    said = [
        f"{len(good)} of {len(board.rows)} methods" if len(good) < len(board.rows) else f"{len(good)} methods",
        f"{_range(seeds)} seed{'s' if seeds[-1:] != [1] else ''} each" if seeds else "",
        "; ".join(data),
        "budget " + ", ".join(dict.fromkeys(r.budget for r in records if r.budget)) if records else "",
        max((r.finished[:10] for r in records), default=""),
    ]
    return " · ".join(part for part in said if part)


def provenance(board: Leaderboard) -> list[tuple[str, list[str]]]:
    """Where the numbers come from, each fact with its distinct values."""
    records = board.records
    facts: dict[str, list[str]] = {
        "Command": [r.command for r in records],
        "Preset and budget": [f"{r.preset}, {r.budget}" for r in records if not r.outside],
        "Data": [
            f"{r.data.source}: {r.data.images} images, {r.data.cells} cells, "
            + ", ".join(f"{len(ids)} {name}" for name, ids in r.data.splits.items() if ids)
            for r in records
            if r.data
        ],
        "Split": [split_text(r.split) for r in records],
        "Fingerprint of the data": [r.data.fingerprint for r in records if r.data],
        "Fingerprint of the split": [r.data.split_fingerprint for r in records if r.data],
        "Scoring rules": [f"version {r.scores.scoring_version}" for r in records if r.scores],
        "Machine": [f"{machine_name(r)}, {r.machine.get('system', '')}" for r in records if not r.outside],
        "Code": [r.git_commit for r in records],
        "Arithmetic": [str(r.machine.get("arithmetic", "")) for r in records],
        "Versions": [_versions(records)],
    }
    distinct = ((name, [value for value in dict.fromkeys(values) if value]) for name, values in facts.items())
    return [(name, values) for name, values in distinct if values]


def _versions(records: Sequence[RunRecord]) -> str:
    """One list of packages for all records; more than one version of a package where they differ."""
    found: dict[str, dict[str, None]] = defaultdict(dict)
    for record in records:
        for name, version in record.versions.items():
            found[name][version] = None
    return ", ".join(f"{name} {' or '.join(versions)}" for name, versions in found.items())


def rules(board: Leaderboard) -> list[tuple[str, int, str, str, str, str]]:
    """Method, seed, class, score threshold, smallest area, what it was chosen on."""
    return [
        (r.method, r.seed, name, f"{threshold:g}", str(rule.min_areas.get(name, "")), chosen_on)
        for r in board.records
        for rule, chosen_on in _rules_of(r)
        for name, threshold in rule.score_thresholds.items()
    ]


def _rules_of(record: RunRecord) -> list[tuple[PostprocessRule, str]]:
    """The rule of a record, or that of each fold, and what it was chosen on."""
    folds = [(fold.rule, f"{fold.rule.chosen_on}, for fold {fold.fold}") for fold in record.folds]
    return [(record.rule, record.rule.chosen_on)] if record.rule else folds


def script_json(value: Any) -> Markup:
    """JSON that can stand in a script element: no `<` that could end it or begin a comment."""
    from markupsafe import Markup

    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _payload(figures: Figures, gallery: Gallery | None) -> dict[str, Any]:
    """What the page's scripts read: charts, and outlines of the gallery."""
    return {
        "charts": {
            key: drawn for chart in figures.charts for key, drawn in plotly_charts(chart, figures.styles).items()
        },
        "pictures": [asdict(picture) for picture in gallery.pictures] if gallery else [],
        "units": UNITS,
    }


def _policy(scripts: Sequence[str]) -> str:
    """The content security policy: these scripts and no other, and nothing from anywhere."""
    digests = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _look(style: Style) -> dict[str, str]:
    return {"colour": colour(style), "glyph": style.glyph}


def _title(board: Leaderboard) -> str:
    names = dict.fromkeys(record.data.source for record in board.records if record.data)
    return f"Cell segmentation: {', '.join(names)}" if names else "Cell segmentation"


def _file(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _range(seeds: Sequence[int]) -> str:
    return str(seeds[0]) if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
