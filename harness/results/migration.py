"""Files of runs made by earlier versions, upgraded as they are read. Nothing on disk is changed."""

from __future__ import annotations

from typing import Any

SCHEMA_VERSION = 2
"""Raised when a file of a run changes its layout or a field its meaning; `upgrade` reads the versions before."""

OLD_TRIALS, OLD_TRIAL = "cells", "cell.json"
"""Names of the folder of trials and of the worker's file in schema 1."""


OLD_BASELINE = "mask_rcnn"
"""The baseline of every run of schema 1, whose records do not name it."""


def upgrade_record(plain: dict[str, Any]) -> dict[str, Any]:
    """A record of an earlier schema as one of the present. plain: the parsed file, its checksum already checked."""
    if plain.get("schema_version") != 1:
        return plain
    settings = plain.get("settings", {})
    if isinstance(settings, dict):
        # the only precision and the only scored split there were
        settings = {"precision": "auto", "score_on": "validation", **settings}
    recipe = upgrade_recipe(plain.get("recipe", {}))
    now = {"settings": settings, "recipe": recipe, "baseline": OLD_BASELINE}
    return {**plain, "schema_version": SCHEMA_VERSION, **now}


def upgrade_trial_spec(plain: dict[str, Any]) -> dict[str, Any]:
    """A trial specification (trial.json) in the present schema."""
    return {"baseline": OLD_BASELINE, **plain, "recipe": upgrade_recipe(plain.get("recipe", {}))}


def upgrade_manifest(plain: dict[str, Any]) -> dict[str, Any]:
    """The plan of a run of an earlier schema as one of the present."""
    if plain.get("schema_version") != 1 or "cells" not in plain:
        return plain
    rest = {name: value for name, value in plain.items() if name != "cells"}
    return {**rest, "schema_version": SCHEMA_VERSION, "trials": plain["cells"]}


def upgrade_recipe(recipe: Any) -> Any:
    """A recipe whose parts are named by the modules they lie in now; what is no recipe stays as it is."""
    from methods.moved import MOVED

    if not isinstance(recipe, dict):
        return recipe
    return {
        slot: {**part, "factory": MOVED.get(str(part.get("factory")), part.get("factory"))}
        if isinstance(part, dict)
        else part
        for slot, part in recipe.items()
    }
