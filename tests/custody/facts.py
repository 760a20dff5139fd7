"""Events as the fold sees them, made from the vocabulary's own examples, and the life of one honest meter."""

import copy
import itertools
from typing import Any

from compliance.custody import profiles, vocabulary
from compliance.custody.lifecycle import Fact, Folded, Signer, State, advance, fold

WORDS = vocabulary.load()
PROFILES = profiles.active()
SESSION = "cell_session:elster:OSN2-2026-04-14-1"
TWO_PEOPLE = (Signer("elster", "p-1"), Signer("elster", "p-2"))
_numbers = itertools.count(1)

# (type, sender, changes to the example's data): birth, cell, key hand-over, delivery, hand-over, field, end of life.
HONEST_LIFE: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("mfg.assembled", "elster", {}),
    ("mfg.calibrated", "elster", {}),
    *((step, "elster", {}) for step in WORDS.cell_steps),
    ("cell.exited", "elster", {}),
    ("delivery.packed", "elster", {}),
    ("keys.bundle_released", "elster", {}),
    ("delivery.dispatched", "elster", {}),
    ("delivery.received", "stadtwerk", {}),
    ("delivery.inspected", "stadtwerk", {}),
    ("keys.bundle_acknowledged", "stadtwerk", {}),
    ("ownership.transferred", "elster", {}),
    (
        "ownership.transferred",
        "stadtwerk",
        {"kind": "possession", "from_party": "stadtwerk", "to_party": "installateur"},
    ),
    ("install.installed", "installateur", {}),
    ("install.commissioned", "stadtwerk", {}),
    ("keys.rotated", "stadtwerk", {}),
    ("ops.firmware_updated", "stadtwerk", {}),
    ("reprov.started", "stadtwerk", {}),
    ("keys.rotated", "stadtwerk", {}),
    ("reprov.completed", "stadtwerk", {}),
    (
        "ownership.transferred",
        "stadtwerk",
        {"kind": "possession", "from_party": "stadtwerk", "to_party": "installateur"},
    ),
    ("eol.removed", "installateur", {}),
    ("eol.triaged", "recycler", {"outcome": "analyse"}),
    ("eol.decommissioned", "stadtwerk", {}),
    ("eol.sanitised", "recycler", {}),
    ("eol.disposed", "recycler", {}),
)


def fact(code: str, author: str = "elster", *, changes: dict[str, Any] | None = None, **members: Any) -> Fact:
    """An event of the type `code` whose data is the vocabulary's example with `changes`, rightly signed."""
    data = {**copy.deepcopy(dict(WORDS.events[code].example)), **(changes or {})}
    if WORDS.events[code].signature_rule == "two_organisations":
        signers: tuple[Signer, ...] = (Signer(author, "p-1"), Signer(str(data["to_party"]), "p-2"))
    else:
        signers = (Signer(author, "p-1"), Signer(author, "p-2"))
    members = {"hash": f"{next(_numbers):064x}", "signers": signers, **members}
    return Fact(type=code, author=author, data=data, **members)


def life(until: str | None = None, *, times: int = 1) -> list[Fact]:
    """The honest life, up to and including the `times`-th event of the type `until`."""
    facts = []
    for code, author, changes in HONEST_LIFE:
        facts.append(fact(code, author, changes=changes))
        times -= code == until
        if until is not None and times == 0:
            return facts
    return facts


def folded(facts: list[Fact]) -> Folded:
    """The fold with the vocabulary and profiles in use."""
    return fold(facts, words=WORDS, profiles=PROFILES)


def after(*events: Fact, state: State | None = None) -> tuple[State, list[str]]:
    """The state after `events`, and the codes of all violations."""
    now, codes = copy.copy(state or State()), []
    for event in events:
        found, _ = advance(now, event, words=WORDS, profile=profiles.default())
        codes += [violation.code for violation in found]
    return now, codes


def state_in(name: str, **members: Any) -> State:
    """A meter of `elster` that is in the state `name`, claimed and assured, with all else as honest as can be."""
    usual = {
        "claimed": name,
        "assured": name,
        "holder": "elster",
        "owner": "elster",
        "controller": "elster",
        "maker": "elster",
        "claimed_before": "accepted" if name == "quarantined" else None,
        "assured_before": "accepted" if name == "quarantined" else None,
    }
    return State(**{**usual, **members})
