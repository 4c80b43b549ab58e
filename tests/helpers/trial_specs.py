"""Specifications of trials, as `run` plans them, for tests that build, train or load one themselves."""

from __future__ import annotations

from harness.catalog import Catalog, load_catalog
from harness.config.preset import Preset
from harness.config.trial_spec import TrialSpec, recipe_to_json
from harness.contract import Init
from harness.results.schema import DataFacts
from harness.stacks import resolve


def spec_of(
    stack: str, preset: Preset, source: str, facts: DataFacts, *, budget: str = "", catalog: Catalog | None = None
) -> TrialSpec:
    """Of one method or stack from scratch. facts: of the data and its split. budget: that of the preset if empty."""
    resolved = resolve(catalog or load_catalog(), stack, preset.size, Init())
    return TrialSpec(
        key="0" * 16,
        method=resolved.name,
        seed=0,
        source=source,
        data_fingerprint=facts.fingerprint,
        split_fingerprint=facts.split_fingerprint,
        budget=budget or preset.budget,
        preset=preset,
        recipe=recipe_to_json(resolved.recipe),
        slots_changed=list(resolved.slots_changed),
    )
