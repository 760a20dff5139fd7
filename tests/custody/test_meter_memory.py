"""What is remembered of a meter beside the head of its chain, and the row of the meter that only shows it."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from compliance.custody import lifecycle, links, meter_memory, rebuild, selectors
from compliance.custody.lifecycle import State
from compliance.custody.models import Meter
from compliance.ledger.models import Entry, Head
from compliance.proof.subject import key_of
from tests.custody import world

pytestmark = [pytest.mark.django_db, pytest.mark.both_engines]

METER = world.title(1)


@pytest.fixture
def parties(log: object) -> dict[str, world.Party]:
    return world.make()


def remembered(subject: str) -> bytes:
    return Head.objects.get(subject=key_of(subject)).memory


def test_it_is_the_fold_over_the_chain(parties: dict[str, world.Party]) -> None:
    world.live(parties, [METER], until="delivery.dispatched")
    memory = meter_memory.read(remembered(METER))
    folded = list(selectors.walk(METER))[-1]
    assert memory.state == folded.after
    assert memory.last_type == folded.type
    assert list(rebuild.compare()) == []


def test_an_event_that_changes_nothing_shown_leaves_the_row_alone(parties: dict[str, world.Party]) -> None:
    elster = parties["elster"]
    elster.send(world.born(1))
    elster.send(world.event("mfg.calibrated", METER))
    with CaptureQueriesContext(
        connection,
    ) as asked:
        elster.send(world.event("mfg.calibrated", METER))
    assert not [query for query in asked.captured_queries if 'UPDATE "custody_meter"' in query["sql"]]
    shown = selectors.meter_of(METER, parties["elster"].api_key)
    assert shown is not None
    assert (shown.last_seq, shown.last_type) == (2, "mfg.calibrated")
    assert shown.last_recorded_at == Entry.objects.get(subject=key_of(METER), seq=2).recorded_at


@pytest.mark.parametrize("memory", [b"", b"{}", b'{"state":{},"last_type":"mfg.assembled"}', b"\xff"])
def test_a_memory_that_was_edited_is_named(parties: dict[str, world.Party], memory: bytes) -> None:
    parties["elster"].send(world.born(1), world.born(2))
    Head.objects.filter(subject=key_of(METER)).update(memory=memory)
    (problem,) = rebuild.compare()
    assert problem.place == f"ledger_head {key_of(METER).hex()}"
    assert problem.detail.startswith("memory is ")
    assert selectors.meter_of(METER, parties["elster"].api_key) is not None  # its page can still be opened
    rebuild.rebuild()
    assert list(rebuild.compare()) == []
    assert meter_memory.read(remembered(METER)).last_type == "mfg.assembled"


def test_other_chains_remember_nothing(parties: dict[str, world.Party]) -> None:
    world.live(parties, [METER], until="delivery.dispatched")
    meters = set(Meter.objects.values_list("subject_key", flat=True))
    others = Head.objects.exclude(subject__in=meters)
    assert others.exists()
    assert set(others.values_list("memory", flat=True)) == {b""}
    stray = others.first()
    assert stray is not None
    Head.objects.filter(subject=stray.subject).update(memory=meter_memory.spell(State(), "mfg.assembled"))
    assert [problem.place for problem in rebuild.compare()] == [f"ledger_head {stray.subject.hex()}"]


def test_a_correction_that_comes_by_a_link_leaves_the_type_of_the_meter(parties: dict[str, world.Party]) -> None:
    """Neither the correction nor the link says what type it is."""
    world.live(parties, [METER], until="delivery.packed")
    before = Meter.objects.get()
    packed = next(step for step in selectors.walk(METER) if step.type == "delivery.packed")
    assert packed.linked, "the meter was packed by an event on its carton"
    stated = packed.stated
    data = {"corrects": stated.hash.hex(), "reason": lifecycle.DID_NOT_OCCUR}
    author = next(party for party in parties.values() if party.api_key.organisation_id == stated.author)
    author.send(world.event("record.corrected", stated.subject, data, corrects=stated.hash.hex()))
    while links.append_links():
        pass
    after = Meter.objects.get()
    assert after.claimed_state != before.claimed_state
    assert (after.meter_type, after.manufacturer, after.profile) == (
        before.meter_type,
        before.manufacturer,
        before.profile,
    )
    assert after.meter_type
    assert list(rebuild.compare()) == []
