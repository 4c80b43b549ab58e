"""What can be told of a method without building it."""

from __future__ import annotations

import json

from harness.conformance.subject import Subject, require
from harness.contract import SLOTS


def card_is_complete(subject: Subject) -> None:
    """The card says what the method is, whose, and what it changes."""
    card = subject.method.card
    for name in ("title", "paper", "venue", "changes", "labels"):
        require(bool(str(getattr(card, name)).strip()), f"the card's {name} is empty")
    require(1950 <= card.year <= 2100, f"the card's year is {card.year}")


def parts_can_be_recorded(subject: Subject) -> None:
    """The method fills known slots with parts that can be found, their options plain JSON."""
    method = subject.method
    require(bool(method.parts), "the method fills no slot")
    for slot, part in method.parts.items():
        require(slot in (*SLOTS, "engine"), f"there is no slot {slot!r}; there are: engine, {', '.join(SLOTS)}")
        require(callable(part.load()), f"{part.factory} is not a function")
        for options in (part.options, *part.sizes.values()):
            plain = dict(options)
            require(json.loads(json.dumps(plain)) == plain, f"the options of {slot} do not survive JSON: {plain}")
    idle = [name for name, reason in method.expected_failures.items() if not reason.strip()]
    require(not idle, f"the method expects to fail {idle} without a reason")
    unknown = [slot for slot in method.supported_slots if slot not in SLOTS]
    require(not unknown, f"supported_slots names {unknown}, which are no slots")
