"""Whatever anybody sends, lawful or not: it is recorded, and the projections are what a replay of the log makes."""

from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compliance.custody import facts, links, profiles, rebuild, vocabulary
from compliance.custody.intake import BatchRefused
from compliance.custody.lifecycle import fold
from compliance.custody.models import Meter, Violation
from compliance.ledger import selectors as ledger
from compliance.ledger.integrate import integrate
from tests.custody import world
from tests.custody.test_lifecycle_properties import statements

pytestmark = [pytest.mark.django_db, pytest.mark.both_engines]
METERS = [world.title(number) for number in (1, 2)]
NAMES = {
    "meter_type": "meter_type:elster:AS3000",
    "firmware": "firmware:elster:AS3000-4.1.2",
    "component_lot": "component_lot:elster:PCB-88",
    **world.SUBJECT_OF,
}
CHILDREN = {"delivery.packed": "children", "keys.bundle_released": "meters"}

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("say"), statements(), st.integers(0, 1), st.booleans()),
        st.tuples(st.just("correct"), st.integers(0, 200), st.sampled_from(["did_not_occur", "incorrect_data"])),
        st.tuples(st.just("link")),
        st.tuples(st.just("integrate")),
    ),
    min_size=6,
    max_size=22,
)


def said(parties: dict[str, world.Party], statement: tuple[str, str, dict[str, Any], int], number: int, on_unit: bool):
    """The event of a statement, on a meter or on the unit, shipment or bundle that reaches it; its sender and keys."""
    code, author, changes, signers = statement
    may = [name for name, roles in world.ORGANISATIONS.items() if world.WORDS.events[code].emitted_by & set(roles)]
    author = author if author in may or not may else may[signers % len(may)]
    changes = {name: value if value != "fremd" else "recycler" for name, value in changes.items()}
    kinds = sorted(world.WORDS.events[code].kinds - {"meter"})
    kind = kinds[0] if kinds and (on_unit or "meter" not in world.WORDS.events[code].kinds) else "meter"
    if code in CHILDREN:
        changes[CHILDREN[code]] = METERS
    if code == "mfg.assembled":
        return world.born(number + 1), author, signers, changes
    subject = METERS[number] if kind == "meter" else NAMES[kind]
    return world.event(code, subject, changes), author, signers, changes


def send(parties: dict[str, world.Party], event: dict[str, Any], author: str, signers: int, to: str | None) -> None:
    """Send what may be sent; a sender without the role of the type is refused and leaves nothing."""
    sender = parties.get(author, parties["elster"])
    also = [parties[to]] if to and to != sender.id and signers > 1 else []
    try:
        sender.send(event, also=also, keys=min(signers, 2))
    except BatchRefused as refusal:
        if not {problem.code for problem in refusal.problems} <= {"role.missing", "subject.taken"}:
            raise


def correct(parties: dict[str, world.Party], number: int, reason: str) -> None:
    """Correct one of the entries of a meter or of what it travels in, by whoever sent it."""
    entries = [entry for subject in (*METERS, *NAMES.values()) for entry in ledger.chain(subject)]
    if not entries:
        return
    entry = entries[number % len(entries)]
    author = facts.statements([(entry.subject, entry.seq)])[entry.subject, entry.seq].author
    if author not in parties:
        return
    data = {"corrects": entry.hash.hex(), "reason": reason}
    send(parties, world.event("record.corrected", entry.subject, data, corrects=entry.hash.hex()), author, 2, None)


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(history=STEPS)
def test_any_history_is_projected_as_a_replay_makes_it(parties, history):
    point = transaction.savepoint()
    try:
        world_before = ledger.log_size()
        for word, *arguments in [("say", ("mfg.assembled", "elster", {}, 2), 0, False), *history]:
            match word:
                case "say":
                    event, author, signers, changes = said(parties, *arguments)
                    send(parties, event, author, signers, changes.get("to_party"))
                case "correct":
                    correct(parties, *arguments)
                case "link":
                    links.append_links()
                case "integrate":
                    integrate()
        assert ledger.log_size() >= world_before
        assert rebuild_says_the_same()
        every_meter_is_its_fold()
        while links.append_links():
            pass
        assert rebuild_says_the_same()
        every_meter_is_its_fold()
    finally:
        transaction.savepoint_rollback(point)


def rebuild_says_the_same() -> bool:
    """No difference between what stands and what a replay makes, which a failure shows."""
    problems = list(rebuild.compare())
    assert problems == []
    return True


def every_meter_is_its_fold() -> None:
    """State, tracks and violations as the pure function over the chain says."""
    for meter in Meter.objects.all():
        _, seen = facts.chain_facts(meter.subject)
        result = fold(seen, words=vocabulary.load(), profiles=profiles.active())
        state = result.state
        assert (meter.claimed_state, meter.assured_state) == (state.claimed, state.assured)
        tracks = [meter.key_state, meter.seal_state, meter.data_state, meter.trust]
        assert tracks == [state.key_state, state.seal_state, state.data_state, state.trust]
        parties = [meter.holder, meter.owner, meter.controller]
        assert parties == [party or "" for party in (state.holder, state.owner, state.controller)]
        standing = Violation.objects.filter(subject_key=meter.subject_key, settled_seq=None)
        found = {(place, violation.code) for place, each in result.violations.items() for violation in each}
        assert set(standing.values_list("seq", "code")) == found
        assert standing.count() == meter.violation_count
