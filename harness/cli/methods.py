"""`python -m harness methods`: what there is to compare, without loading any framework."""

from __future__ import annotations

from typing import Any

import click

from harness.catalog import Catalog, find
from harness.cli.options import adapters, as_json, complete_methods, print_json
from harness.contract import Init, Method
from harness.reporting.screen import print_table
from harness.stacks import resolve

MEASURED_SIDE = 256
"""Pixels; what a prediction costs follows the image, and in R-CNNs the boxes found on it."""


@click.command()
@click.argument("name", required=False, shell_complete=complete_methods)
@click.option("--measure", is_flag=True, help="Also build the model and count it (of one method; takes seconds).")
@click.option("--preset", default="standard", show_default=True, help="With --measure: at this preset's sizes.")
@adapters
@as_json
def methods(name: str | None, measure: bool, preset: str, adapters: tuple[str, ...], as_json: bool) -> None:
    """List the methods, or print the card of the method NAME."""
    catalog = find(adapters)
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
    """All that is known of a method without building it."""
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
        "engine": engine_of(catalog, method),
        "default": method.default,
        "departures": list(card.departures),
        "published": dict(card.published),
        "options": {slot: dict(part.options) for slot, part in method.parts.items()},
        "origin": catalog.origin(name),
    }


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
    ]
    rows += [
        (f"{prefix}:NAME", "", f"family of methods in {origin}", "", "", "")
        for prefix, (_, origin) in catalog.families.items()
    ]
    print_table(("method", "slot", "paper", "labels", "engine", "in all"), rows)
    for broken in catalog.broken:
        click.echo(f"cannot be read: {broken.origin}: {broken.error}", err=True)


def _print_card(facts: dict[str, Any]) -> None:
    lines = [
        f"{facts['name']}: {facts['title']}",
        f"paper       {facts['paper']}, {facts['venue']} {facts['year']}",
        f"            {facts['url']}",
        f"slot        {', '.join(facts['slots'])}",
        f"changes     {facts['changes']}",
        f"labels      {facts['labels']}",
        f"engine      {facts['engine']}",
        f"found in    {facts['origin']}",
    ]
    for slot, options in facts["options"].items():
        lines.append(f"options     {slot}: {', '.join(f'{k}={v}' for k, v in options.items()) or 'none'}")
    lines += [f"departs     {text}" for text in facts["departures"]]
    lines += [f"published   {what}: {value}" for what, value in facts["published"].items()]
    lines += [f"measured    {what}: {value}" for what, value in facts.get("measured", {}).items()]
    click.echo("\n".join(line for line in lines if line.strip()))


def _measure(catalog: Catalog, name: str, preset_name: str) -> dict[str, str]:
    """Parameters of the whole model and of its parts, and the operations of one prediction, at a preset's sizes and
    from scratch."""
    import numpy as np

    from harness.config.preset import load
    from harness.conformance.subject import probe_task
    from harness.monitoring.flops import flops_of_prediction

    preset = load(preset_name)
    resolved = resolve(catalog, name, preset.size, Init("scratch"))
    classes = tuple(f"class {i + 1}" for i in range(80))
    model = resolved.recipe.engine.build(resolved.recipe, probe_task(classes, settings=preset.model))
    counts = {part: sum(p.numel() for p in child.parameters()) for part, child in model.module.named_children()}
    whole = f"parameters (80 classes, preset {preset.name})"
    image = np.random.default_rng(0).integers(0, 256, (MEASURED_SIDE, MEASURED_SIDE), dtype=np.uint8)
    operations = f"operations of one image of {MEASURED_SIDE}x{MEASURED_SIDE} (untrained, preset {preset.name})"
    return {
        whole: f"{sum(counts.values()):,}",
        **{f"  of which {part}": f"{n:,}" for part, n in counts.items()},
        operations: f"{flops_of_prediction(model, image) / 1e9:,.1f} GFLOP",
    }
