"""T13: batches in flight at the same moment are judged in the order in which the log has them, also by facts of chains
that they do not share. In each test one batch stands still in its transaction while another comes.
"""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from compliance.accounts import actions as accounts_actions
from compliance.accounts.models import Organisation
from compliance.accounts.policy import SYSTEM
from compliance.custody import links, rebuild
from compliance.custody.intake import IntakeResult
from compliance.custody.lifecycle import DID_NOT_OCCUR
from compliance.custody.models import Link, Violation
from compliance.custody.vocabulary import CORRECTED
from compliance.jobs import failpoints
from compliance.ledger import setup
from tests.custody import world

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_engines]

METER = world.title(1)
TYPE = "meter_type:elster:AS3000"
BEFORE_COMMIT = "ledger.append.commit"  # what it says is written, and nobody sees it
AFTER_ITS_TIME = "ledger.append.event_keys"  # it is not judged yet
LONGEST_SECONDS = 20


@pytest.fixture
def parties(transactional_db: None, folders: Path) -> dict[str, world.Party]:
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has one writer at a time")
    setup.create_log()
    return world.make()


def overlap(first: Callable[[], Any], second: Callable[[], Any], *, at: str) -> None:
    """Run `second` while `first` stands still at the point `at`, until the second is done or waits for the first."""
    stands, may_go = threading.Event(), threading.Event()
    failures: list[BaseException] = []
    first_thread = threading.Thread(target=lambda: run(first))

    def run(work: Callable[[], Any]) -> None:
        try:
            work()
        except BaseException as error:
            failures.append(error)
        finally:
            connection.close()

    def stand() -> None:
        if threading.current_thread() is first_thread and not stands.is_set():
            stands.set()
            assert may_go.wait(LONGEST_SECONDS)

    with failpoints.arm(at, stand):
        first_thread.start()
        assert stands.wait(LONGEST_SECONDS), failures
        second_thread = threading.Thread(target=lambda: run(second))
        second_thread.start()
        while second_thread.is_alive() and not somebody_waits():
            second_thread.join(0.02)
        may_go.set()
        for thread in (first_thread, second_thread):
            thread.join(LONGEST_SECONDS)
            assert not thread.is_alive()
    assert not failures


def somebody_waits() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return bool(cursor.fetchone()[0])


def replayed_alike() -> None:
    while links.append_links():
        pass
    assert list(rebuild.compare()) == []


@pytest.mark.parametrize("at", [BEFORE_COMMIT, AFTER_ITS_TIME])
@pytest.mark.parametrize("birth_first", [True, False])
def test_a_type_is_registered_while_a_meter_is_born(
    parties: dict[str, world.Party], at: str, birth_first: bool
) -> None:
    """The serial range is elster's from then on, and falschmann gives birth to a meter in it."""
    stranger = world.join("falschmann", "manufacturer")
    birth = stranger.sign(world.event("mfg.assembled", METER, {"identifiers": []})).ndjson
    registration = parties["elster"].sign(world.event("design.type_registered", TYPE)).ndjson
    steps = [lambda: stranger.hand_in(birth), lambda: parties["elster"].hand_in(registration)]
    overlap(*(steps if birth_first else steps[::-1]), at=at)
    wrong = set(Violation.objects.values_list("code", flat=True))
    assert wrong == (set() if birth_first else {"standing.missing"})
    replayed_alike()


@pytest.mark.parametrize("at", [BEFORE_COMMIT, AFTER_ITS_TIME])
@pytest.mark.parametrize("event_first", [True, False])
def test_an_organisation_loses_a_role_while_it_sends(
    parties: dict[str, world.Party], at: str, event_first: bool
) -> None:
    """A regulator may quarantine a meter that is not his; who is an installer only is no party to it."""
    parties["elster"].send(world.event("mfg.assembled", METER, {"identifiers": []}))
    office = world.join("amt", "regulator")
    said = office.sign(world.event("exception.quarantined", METER)).ndjson
    organisation = Organisation.objects.get(pk="amt")

    def resign() -> None:
        accounts_actions.change_organisation(
            by=SYSTEM,
            organisation=organisation,
            name=organisation.name,
            roles=["installer"],
            first_key=organisation.first_key,
            signature_policy=organisation.signature_policy,
        )

    steps: list[Callable[[], Any]] = [lambda: office.hand_in(said), resign]
    overlap(*(steps if event_first else steps[::-1]), at=at)
    wrong = set(Violation.objects.values_list("code", flat=True))
    assert wrong == (set() if event_first else {"standing.missing"})
    replayed_alike()


@pytest.mark.parametrize("at", [BEFORE_COMMIT, AFTER_ITS_TIME])
@pytest.mark.parametrize("birth_first", [True, False])
def test_a_meter_is_packed_while_it_is_born(parties: dict[str, world.Party], at: str, birth_first: bool) -> None:
    elster = parties["elster"]
    birth = elster.sign(world.event("mfg.assembled", METER, {"identifiers": []})).ndjson
    packing = elster.sign(world.event("delivery.packed", world.UNIT, {"children": [METER]})).ndjson
    steps = [lambda: elster.hand_in(birth), lambda: elster.hand_in(packing)]
    overlap(*(steps if birth_first else steps[::-1]), at=at)
    assert Link.objects.filter(meter=METER).exists() is birth_first
    replayed_alike()


@pytest.mark.parametrize("at", [BEFORE_COMMIT, AFTER_ITS_TIME])
@pytest.mark.parametrize("inner_first", [True, False])
def test_a_carton_is_filled_while_its_pallet_is_sent(
    parties: dict[str, world.Party], at: str, inner_first: bool
) -> None:
    elster = parties["elster"]
    carton, pallet = "logistic_unit:sscc:340123450000000024", world.UNIT
    elster.send(world.event("mfg.assembled", METER, {"identifiers": []}))
    elster.send(world.event("delivery.packed", pallet, {"children": [carton]}))
    fills = elster.sign(world.event("delivery.packed", carton, {"children": [METER]})).ndjson
    sends = elster.sign(world.event("delivery.dispatched", world.SHIPMENT, {"units": [pallet]})).ndjson
    steps = [lambda: elster.hand_in(fills), lambda: elster.hand_in(sends)]
    overlap(*(steps if inner_first else steps[::-1]), at=at)
    reached = Link.objects.filter(meter=METER, effect="delivery.dispatched")
    assert reached.exists() is inner_first
    replayed_alike()


@pytest.mark.parametrize("at", [BEFORE_COMMIT, AFTER_ITS_TIME])
@pytest.mark.parametrize("begins_first", [True, False])
def test_a_meter_is_packed_while_its_chain_begins_without_a_birth(
    parties: dict[str, world.Party], at: str, begins_first: bool
) -> None:
    """The first entry of a chain names it, whatever type it has."""
    elster = parties["elster"]
    enters = elster.sign(world.event("cell.entered", METER)).ndjson
    packing = elster.sign(world.event("delivery.packed", world.UNIT, {"children": [METER]})).ndjson
    steps = [lambda: elster.hand_in(enters), lambda: elster.hand_in(packing)]
    overlap(*(steps if begins_first else steps[::-1]), at=at)
    assert Link.objects.filter(meter=METER).exists() is begins_first
    replayed_alike()


@pytest.mark.parametrize("at", [BEFORE_COMMIT, AFTER_ITS_TIME])
@pytest.mark.parametrize("type_first", [True, False])
@pytest.mark.parametrize("by_unit", [True, False])
def test_a_type_is_corrected_while_a_meter_is(
    parties: dict[str, world.Party], at: str, type_first: bool, by_unit: bool
) -> None:
    """Its birth is judged again then: in whose serial range does it lie? Also if it is an event on its unit."""
    stranger, elster = world.join("falschmann", "manufacturer"), parties["elster"]
    registered = elster.send(world.event("design.type_registered", TYPE))
    stranger.send(world.event("mfg.assembled", METER, {"identifiers": []}))
    if by_unit:
        packed = stranger.send(world.event("delivery.packed", world.UNIT, {"children": [METER]}))
        while links.append_links():
            pass
        stranger.send(correction(world.UNIT, packed))
        corrects_meter: Callable[[], Any] = links.append_links
    else:
        of_meter = stranger.sign(correction(METER, stranger.send(world.event("cell.entered", METER)))).ndjson
        corrects_meter = lambda: stranger.hand_in(of_meter)  # noqa: E731
    of_type = elster.sign(correction(TYPE, registered)).ndjson
    steps = [lambda: elster.hand_in(of_type), corrects_meter]
    overlap(*(steps if type_first else steps[::-1]), at=at)
    birth = Violation.objects.get(subject=METER, seq=0, code="standing.missing")
    assert (birth.settled_seq is not None) is type_first
    replayed_alike()


def correction(subject: str, of: IntakeResult) -> dict[str, Any]:
    """The event of `of` did not occur."""
    corrects = of.appended.entries[0].hash.hex()
    return world.event(CORRECTED, subject, {"corrects": corrects, "reason": DID_NOT_OCCUR}, corrects=corrects)
