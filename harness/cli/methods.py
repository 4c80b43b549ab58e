"""`python -m harness methods`: the list of methods and the card of one, without loading any framework."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from harness.catalog import Catalog, load_catalog
from harness.cli.options import adapters, as_json, complete_methods, print_json
from harness.contract import Init, Method, Part, init_part
from harness.options import OptionHelp, describe
from harness.reporting.screen import print_table
from harness.stacks import resolve

MEASURED_SIDE = 256
"""Side of the image that is predicted, in pixels."""


@click.command()
@click.argument("name", required=False, shell_complete=complete_methods)
@click.option(
    "--measure",
    is_flag=True,
    help="Also build the model and count its parameters and operations (one method; takes seconds).",
)
@click.option("--preset", default="standard", show_default=True, help="With --measure: at this preset's sizes.")
@adapters
@as_json
def methods(name: str | None, measure: bool, preset: str, adapters: tuple[str, ...], as_json: bool) -> None:
    """List the methods, or print the card of the method NAME."""
    catalog = load_catalog(adapters)
    if name is None:
        if measure:
            raise click.UsageError("--measure is for one method: name it")
        _list(catalog, as_json)
        return
    facts = card_facts(catalog, name)
    if measure:
        facts["measured"] = _measure(catalog, name, preset)
    if as_json:
        print_json(facts)
    else:
        _print_card(facts)


def card_facts(catalog: Catalog, name: str) -> dict[str, Any]:
    """Everything that is known of a method without building it."""
    method = catalog.method(name)
    card = method.card
    return {
        "name": method.name,
        "title": card.title,
        "paper": card.paper,
        "year": card.year,
        "venue": card.venue,
        "url": card.url,
        "slots": slots_of(method),
        "changes": card.changes,
        "labels": card.labels,
        "label_seconds": _label_seconds(method),
        "engine": engine_of(catalog, method),
        "default": method.default,
        "needs": dict(method.needs),
        "missing": method.missing(),
        "departures": list(card.departures),
        "published": dict(card.published),
        "options": {slot: _options(part) for slot, part in method.parts.items()},
        "settings": {slot: _settings(part) for slot, part in method.parts.items() if part.settings is not None},
        "origin": catalog.origin(name),
    }


def _label_seconds(method: Method) -> float:
    """What an annotator takes for the labels of one cell, with the default options."""
    given = method.card.label_seconds
    if not callable(given):
        return given
    return given({option["name"]: option["default"] for part in method.parts.values() for option in _options(part)})


def _options(part: Part) -> list[dict[str, Any]]:
    """Name, default, range and help of each option. sizes: other defaults by preset size."""
    if part.options_type is None:
        described = [OptionHelp(name, value) for name, value in part.options.items()]
    else:
        described = describe(part.options_type, part.options)
    changed = {o.name: {size: of[o.name] for size, of in part.sizes.items() if o.name in of} for o in described}
    return [{**asdict(option), "sizes": changed[option.name]} for option in described]


def _settings(part: Part) -> list[dict[str, Any]]:
    """The same of what an engine reads of a preset's [model] table."""
    return [] if part.settings is None else [{**asdict(option), "sizes": {}} for option in describe(part.settings, {})]


def slots_of(method: Method) -> list[str]:
    """The slots a method changes: "all" for the baseline, "engine" for a method that brings its own."""
    if method.baseline:
        return ["all"]
    return ["engine"] if "engine" in method.parts else list(method.parts)


def engine_of(catalog: Catalog, method: Method) -> str:
    """The name of the engine that a method runs on: its own, or the baseline's."""
    own = method if "engine" in method.parts else catalog.baseline
    return own.parts["engine"].name


def _list(catalog: Catalog, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "methods": [card_facts(catalog, method.name) for method in catalog],
                "families": {prefix: origin for prefix, (_, origin) in catalog.families.items()},
                "broken": [{"origin": broken.origin, "error": broken.error} for broken in catalog.broken],
            }
        )
        return
    rows = [
        (
            method.name,
            ", ".join(slots_of(method)),
            f"{method.card.title} ({method.card.venue} {method.card.year})",
            method.card.labels,
            engine_of(catalog, method),
            "yes" if method.default else "",
        )
        for method in catalog
        if not method.missing()
    ]
    rows += [
        (f"{prefix}:NAME", "", f"family of methods in {origin}", "", "", "")
        for prefix, (_, origin) in catalog.families.items()
    ]
    print_table(("method", "slot", "paper", "labels", "engine", "in all"), rows)
    _list_missing(catalog)
    for broken in catalog.broken:
        click.echo(f"cannot be read: {broken.origin}: {broken.error}", err=True)


def _list_missing(catalog: Catalog) -> None:
    """The methods that need a package that is not installed, under the command that installs it."""
    by_command: dict[str, list[Method]] = {}
    for method in catalog:
        for command in method.missing().values():
            by_command.setdefault(command, []).append(method)
    for command, found in by_command.items():
        rows = [(m.name, f"{m.card.title} ({m.card.venue} {m.card.year})", m.card.labels) for m in found]
        print_table(("method", "paper", "labels"), rows, f"needs {command}")


def _print_card(facts: dict[str, Any]) -> None:
    lines = [
        f"{facts['name']}: {facts['title']}",
        f"paper       {facts['paper']}, {facts['venue']} {facts['year']}",
        f"            {facts['url']}",
        f"slot        {', '.join(facts['slots'])}",
        f"changes     {facts['changes']}",
        f"labels      {facts['labels']} ({facts['label_seconds']:g} s a cell)",
        f"engine      {facts['engine']}",
        f"found in    {facts['origin']}",
    ]
    lines += [f"needs       {module}: {command}" for module, command in facts["needs"].items()]
    lines += [f"departs     {text}" for text in facts["departures"]]
    lines += [f"published   {what}: {value}" for what, value in facts["published"].items()]
    lines += [f"measured    {what}: {value}" for what, value in facts.get("measured", {}).items()]
    click.echo("\n".join(line for line in lines if line.strip()))
    for slot, options in facts["options"].items():
        _print_options(f"options of {slot}, as in {facts['name']}(NAME=VALUE)", options)
    for options in facts["settings"].values():
        _print_options("settings of the engine, in the table [model] of a preset", options)


def _print_options(title: str, options: list[dict[str, Any]]) -> None:
    if not options:
        return
    sizes = sorted({size for option in options for size in option["sizes"]})
    rows = [
        (
            option["name"],
            _typed(option["default"]),
            *(_typed(option["sizes"][size]) if size in option["sizes"] else "" for size in sizes),
            option["range"],
            option["help"],
        )
        for option in options
    ]
    print_table(("option", "default", *(f"size {size}" for size in sizes), "range", "what it is"), rows, title)


def _typed(value: Any) -> str:
    """A value as a user types it."""
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return str(list(value)) if isinstance(value, tuple) else str(value)


def _measure(catalog: Catalog, name: str, preset_name: str) -> dict[str, str]:
    """Parameters of the whole model and of its parts, and the operations of one prediction.

    The model is built from scratch at the sizes of a preset.
    """
    import numpy as np

    from harness.config.preset import check_settings, load_preset
    from harness.conformance.subject import make_task
    from harness.inference.scaled import at_scale
    from harness.monitoring.flops import flops_of_prediction

    preset = load_preset(preset_name)
    resolved = resolve(catalog, name, preset.size, Init("scratch"))
    check_settings(preset, resolved)
    classes = tuple(f"class {i + 1}" for i in range(80))
    recipe = resolved.recipe.with_parts(init=init_part("scratch"))
    built = recipe.engine.build(recipe, make_task(classes, preset.model))
    model = at_scale(built, preset.scale, preset.scale_by_size)
    counts = {part: sum(p.numel() for p in child.parameters()) for part, child in model.module.named_children()}
    whole = f"parameters (80 classes, preset {preset.name})"
    image = np.random.default_rng(0).integers(0, 256, (MEASURED_SIDE, MEASURED_SIDE), dtype=np.uint8)
    operations = f"operations of one image of {MEASURED_SIDE}x{MEASURED_SIDE} (untrained, preset {preset.name})"
    return {
        whole: f"{sum(counts.values()):,}",
        **{f"  of which {part}": f"{n:,}" for part, n in counts.items()},
        operations: f"{flops_of_prediction(model, image) / 1e9:,.1f} GFLOP",
    }
