"""Checks of a method's card and of its parts, without building anything."""

from __future__ import annotations

import json

from harness.conformance.subject import Subject, require
from harness.contract import SLOTS, Part
from harness.errors import HarnessError
from harness.options import options_type_of


def card_is_complete(subject: Subject) -> None:
    """The card says what the method is, who published it, and what it changes."""
    card = subject.method.card
    for name in ("title", "paper", "venue", "changes", "labels"):
        require(bool(str(getattr(card, name)).strip()), f"the card's {name} is empty")
    require(1950 <= card.year <= 2100, f"the card's year is {card.year}")


def parts_can_be_recorded(subject: Subject) -> None:
    """The method fills known slots with parts that can be imported, and their options are valid JSON values."""
    method = subject.method
    require(bool(method.parts), "the method fills no slot")
    for slot, part in method.parts.items():
        require(slot in (*SLOTS, "engine"), f"there is no slot {slot!r}; there are: engine, {', '.join(SLOTS)}")
        _check_options(slot, part)
    unexplained = [name for name, reason in method.expected_failures.items() if not reason.strip()]
    require(not unexplained, f"the method expects to fail {unexplained} without a reason")
    unknown = [slot for slot in method.supported_slots if slot not in SLOTS]
    require(not unknown, f"supported_slots names {unknown}, which are no slots")


def _check_options(slot: str, part: Part) -> None:
    factory = part.load()
    require(callable(factory), f"{part.factory} is not a function")
    for options in (part.options, *part.sizes.values()):
        plain = dict(options)
        require(json.loads(json.dumps(plain)) == plain, f"the options of {slot} do not survive JSON: {plain}")
    if not part.find_weights:  # else the options are of what finds the weights
        same_type = options_type_of(factory) is part.options_type
        require(same_type, f"{part.factory} must take `options` of the type that the part names ({part.options_type})")
    for size in ("full", *part.sizes):
        try:
            part.sized(size).checked()
        except HarnessError as error:
            require(False, f"the options of {slot} at size {size}: {error}")
