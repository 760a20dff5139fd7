"""Index tables of the cell, the firmware register, the key registry and the seals: what an append writes into them."""

from datetime import timedelta

import pytest

from compliance.custody import rebuild
from compliance.custody.models import Violation
from compliance.jobs import clock
from compliance.ledger.integrate import integrate
from compliance.provisioning import selectors
from compliance.provisioning.models import PROJECTIONS, CellVisit, KeyRegistryEntry
from tests.custody import tampering, world

pytestmark = [pytest.mark.django_db, pytest.mark.both_engines]
METERS = [world.title(number) for number in (1, 2, 3)]
FIRMWARE = "firmware:elster:AS3000-4.1.2"


def correct(parties, entry, **members):
    """Declare that what `entry` told did not occur; sent by `by`, usually its author."""
    sender = members.pop("by", parties[entry.author])
    data = {"corrects": entry.hash.hex(), "reason": "did_not_occur", **members}
    return sender.send(world.event("record.corrected", entry.subject, data, corrects=entry.hash.hex()))


# The secured cell


def test_a_session_is_opened_and_closed(parties):
    elster = parties["elster"]
    world.live(parties, METERS, until="cell.exited")
    open_session = selectors.session(world.SESSION)
    assert open_session is None, "the honest life uses a session that nobody opened"
    opened = elster.send(world.event("cell.session_opened", world.SESSION), keys=2).appended.entries[0]
    session = selectors.session(world.SESSION)
    example = world.WORDS.events["cell.session_opened"].example
    assert (session.organisation, session.cell_id, session.hsm_id) == ("elster", "C1", "hsm-1")
    assert session.operators == list(example["operators"])
    assert (session.planned_quantity, session.production_order) == (12, "PO-7")
    assert (session.opened_seq, session.opened_at) == (0, opened.recorded_at)
    assert session.reconciled_at is None
    closed = elster.send(world.event("cell.session_reconciled", world.SESSION), keys=2).appended.entries[0]
    session = selectors.session(world.SESSION)
    assert (session.reconciled_seq, session.reconciled_at) == (1, closed.recorded_at)
    assert session.counts["entered"] == 12
    assert session.opened_seq == 0
    assert [each.subject for each in selectors.sessions(organisation="elster")] == [world.SESSION]
    assert not selectors.sessions(organisation="stadtwerk").exists()


def test_the_balance_of_a_session_is_counted_from_the_meters_own_chains(parties):
    """Four meters enter: one leaves, one goes to rework, one is scrapped, one stays inside."""
    elster = parties["elster"]
    meters = [world.title(number) for number in range(1, 5)]
    elster.send(*(world.born(number) for number in range(1, 5)))
    elster.send(*(world.event("cell.entered", meter) for meter in meters))
    elster.send(world.event("cell.exited", meters[0]), keys=2)
    for meter, outcome in ((meters[1], "rework"), (meters[2], "scrap")):
        elster.send(world.event("mfg.rejected", meter, {"outcome": outcome}), keys=2)
    counted = selectors.count_visits(world.SESSION)
    assert (counted.entered, counted.exited, counted.reworked, counted.scrapped) == (4, 1, 1, 1)
    assert counted.still_inside == 1
    steps = [(visit.meter, visit.event_type, visit.outcome) for visit in selectors.visits(world.SESSION)]
    assert len(steps) == 7
    assert steps[-2:] == [(meters[1], "mfg.rejected", "rework"), (meters[2], "mfg.rejected", "scrap")]
    assert selectors.count_visits("cell_session:elster:another").entered == 0


def test_a_rejection_outside_a_session_is_no_visit(parties):
    parties["elster"].send(world.born(1))
    parties["elster"].send(world.event("mfg.rejected", METERS[0], {"session_id": None}), keys=2)
    assert not CellVisit.objects.exists()


# Keys


def _provision(parties, meter, *keys):
    parties["elster"].send(world.event("cell.keys_provisioned", meter, {"keys": list(keys)}), keys=2)


def _symmetric(tag, **members):
    key = {"role": "GUEK", "origin": "hsm", "commitment": "c" * 64, "public_key_sha256": None}
    return {**key, "registry_tag": tag, "generation": 1, **members}


def test_every_key_is_registered_with_its_place(parties):
    parties["elster"].send(world.born(1), world.born(2))
    asymmetric = {
        "role": "DS_SIGNING",
        "origin": "device",
        "commitment": None,
        "public_key_sha256": "d" * 64,
        "registry_tag": None,
        "generation": 1,
    }
    _provision(parties, METERS[0], _symmetric("a" * 64), asymmetric)
    _provision(parties, METERS[1], _symmetric("b" * 64, shared=True, role="GBEK", commitment="e" * 64))
    keys = selectors.keys_of(METERS[0])
    assert [(key.role, key.ordinal, key.registry_tag, key.public_key_sha256) for key in keys] == [
        ("GUEK", 0, "a" * 64, ""),
        ("DS_SIGNING", 1, "", "d" * 64),
    ]
    assert {key.organisation for key in keys} == {"elster"}
    assert [key.shared for key in selectors.keys_of(METERS[1])] == [True]
    assert [key.subject for key in selectors.keys_by_tag(["a" * 64, ""])["a" * 64]] == [METERS[0]]
    assert [key.role for key in selectors.keys_by_public_key(["d" * 64])["d" * 64]] == ["DS_SIGNING"]
    assert [key.subject for key in selectors.keys_by_commitment(["e" * 64])["e" * 64]] == [METERS[1]]
    assert selectors.keys_by_tag([""]) == {}


def test_equal_keys_are_found_also_where_they_came_with_a_violation(parties):
    """AN-02: the same tag on two meters, one of them never born; and the same public key."""
    parties["elster"].send(world.born(1))
    for meter in METERS[:2]:
        _provision(parties, meter, _symmetric("a" * 64), _symmetric(None, public_key_sha256="d" * 64))
    _provision(parties, METERS[2], _symmetric("b" * 64))
    assert Violation.objects.exists()
    assert selectors.repeated_tags() == ["a" * 64]
    assert selectors.repeated_public_keys() == ["d" * 64]
    assert [key.subject for key in selectors.keys_by_tag(["a" * 64])["a" * 64]] == METERS[:2]


def test_rotated_keys_name_what_they_replace(parties):
    parties["elster"].send(world.born(1))
    _provision(parties, METERS[0], _symmetric("a" * 64))
    new = {"role": "GUEK", "commitment": "f" * 64, "replaces": "c" * 64, "registry_tag": "b" * 64, "generation": 2}
    parties["stadtwerk"].send(world.event("keys.rotated", METERS[0], {"keys": [new]}))
    first, second = selectors.keys_of(METERS[0])
    assert (second.replaces, second.generation, second.organisation) == (first.commitment, 2, "stadtwerk")


@pytest.mark.parametrize(
    ("code", "changes", "destroyed"),
    [
        ("mfg.rejected", {"keys_destroyed": True}, True),
        ("mfg.rejected", {"keys_destroyed": False}, False),
        ("eol.sanitised", {"keys_erased": True}, True),
        ("eol.sanitised", {"keys_erased": False}, False),
        ("exception.released", {"decision": "scrapped"}, True),
        ("exception.released", {"decision": "released"}, False),
    ],
)
def test_keys_are_marked_destroyed_where_an_event_says_so(parties, code, changes, destroyed):
    parties["elster"].send(world.born(1), world.born(2))
    for meter in METERS[:2]:
        _provision(parties, meter, _symmetric("a" * 64))
    sender = parties["recycler"] if code == "eol.sanitised" else parties["elster"]
    told = sender.send(world.event(code, METERS[0], changes), keys=2).appended.entries[0]
    key = selectors.keys_of(METERS[0])[0]
    assert (key.destroyed_seq, key.destroyed_at) == ((told.seq, told.recorded_at) if destroyed else (None, None))
    assert selectors.keys_of(METERS[1])[0].destroyed_seq is None
    _provision(parties, METERS[0], _symmetric("b" * 64))
    assert selectors.keys_of(METERS[0])[-1].destroyed_seq is None, "keys made later live"


# Seals


def test_seals_of_the_factory_and_of_the_installer(parties):
    world.live(parties, METERS[:1], until="install.installed")
    seals = selectors.seals_of(METERS[0])
    assert [(seal.event_type, seal.organisation) for seal in seals] == [
        ("cell.sealed", "elster"),
        ("install.installed", "installateur"),
    ]
    number = seals[0].number
    assert [seal.subject for seal in selectors.seals_by_number([number])[number]] == METERS[:1]
    assert selectors.repeated_seals() == []


def test_a_seal_number_on_two_meters_is_found(parties):
    """AN-10."""
    parties["elster"].send(world.born(1), world.born(2))
    parties["elster"].send(*(world.event("cell.sealed", meter) for meter in METERS[:2]))
    example = [seal["number"] for seal in world.WORDS.events["cell.sealed"].example["seals"]]
    assert selectors.repeated_seals() == sorted(example)


# Firmware


def test_the_last_word_about_an_image_counts_from_its_record_on(parties):
    elster = parties["elster"]
    released = elster.send(world.event("design.firmware_released", FIRMWARE), keys=2).appended.entries[0]
    image = world.WORDS.events["design.firmware_released"].example["image_sha256"]
    revoked = elster.send(world.event("design.firmware_released", FIRMWARE, {"status": "revoked"}), keys=2)
    said = selectors.firmware_by_digest(image)
    assert [(release.status, release.seq, release.organisation) for release in said] == [
        ("released", 0, "elster"),
        ("revoked", 1, "elster"),
    ]
    assert selectors.firmware_status(image, at=clock.now()).status == "revoked"
    assert selectors.firmware_status(image, at=revoked.appended.entries[0].recorded_at).status == "revoked"
    assert selectors.firmware_status(image, at=released.recorded_at).status == "released"
    assert selectors.firmware_status(image, at=released.recorded_at - timedelta(microseconds=1)) is None
    assert selectors.firmware_status("0" * 64, at=clock.now()) is None


# Corrections


def test_what_did_not_occur_is_taken_out_and_the_rest_stays(parties):
    parties["elster"].send(world.born(1))
    _provision(parties, METERS[0], _symmetric("a" * 64))
    sent = world.event("cell.keys_provisioned", METERS[0], {"keys": [_symmetric("b" * 64)]})
    wrong = parties["elster"].send(sent, keys=2).appended.entries[0]
    scrapped = world.event("mfg.rejected", METERS[0], {"outcome": "scrap"})
    rejected = parties["elster"].send(scrapped, keys=2).appended.entries[0]
    assert not KeyRegistryEntry.objects.filter(destroyed_seq=None).exists()
    correct(parties, wrong)
    assert [key.registry_tag for key in selectors.keys_of(METERS[0])] == ["a" * 64]
    assert selectors.count_visits(world.SESSION).scrapped == 1
    correct(parties, rejected)
    assert [key.destroyed_seq for key in selectors.keys_of(METERS[0])] == [None]
    assert selectors.count_visits(world.SESSION).scrapped == 0
    assert list(rebuild.compare()) == []


def test_a_session_that_was_not_opened_is_gone(parties):
    opened = parties["elster"].send(world.event("cell.session_opened", world.SESSION), keys=2).appended.entries[0]
    correct(parties, opened)
    assert selectors.session(world.SESSION) is None
    assert list(rebuild.compare()) == []


def test_a_correction_by_somebody_else_takes_nothing_out(parties):
    parties["elster"].send(world.born(1))
    _provision(parties, METERS[0], _symmetric("a" * 64))
    sealed = parties["elster"].send(world.event("cell.sealed", METERS[0])).appended.entries[0]
    correct(parties, sealed, by=parties["stadtwerk"])
    assert Violation.objects.filter(event_type="record.corrected").exists()
    assert len(selectors.seals_of(METERS[0])) == 2
    assert len(selectors.keys_of(METERS[0])) == 1


def test_a_correction_of_a_value_leaves_the_row(parties):
    """Only what did not occur is taken out; another value stands in the log beside the first."""
    parties["elster"].send(world.born(1))
    sealed = parties["elster"].send(world.event("cell.sealed", METERS[0])).appended.entries[0]
    correct(parties, sealed, reason="incorrect_data")
    assert len(selectors.seals_of(METERS[0])) == 2


# All of them again from the log


def _everything(parties):
    elster = parties["elster"]
    elster.send(world.event("design.firmware_released", FIRMWARE), keys=2)
    elster.send(world.event("cell.session_opened", world.SESSION), keys=2)
    world.live(parties, METERS[:2], until="cell.exited")
    elster.send(world.event("cell.session_reconciled", world.SESSION), keys=2)


def test_a_replay_makes_the_same_rows(parties):
    _everything(parties)
    integrate()
    world.live(parties, METERS[2:], until="cell.exited")  # not integrated yet
    before = {table: _rows(table) for table in PROJECTIONS}
    assert all(before.values())
    assert list(rebuild.compare()) == []
    rebuild.rebuild()
    assert {table: _rows(table) for table in PROJECTIONS} == before


def _rows(table):
    """All columns but the database's own counter."""
    rows = [{name: value for name, value in row.items() if name != "id"} for row in table.objects.values()]
    return sorted(rows, key=repr)


def test_every_changed_column_is_found(parties):
    _everything(parties)
    assert tampering.found_in_every_column(PROJECTIONS) > 50
