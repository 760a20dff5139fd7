"""Projections: what the append writes is what the fold says, and what a replay of the log makes again."""

import contextlib
import hashlib
import io
import itertools
import json
from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import call_command
from django.db import connection

from compliance.accounts.models import SigningKey
from compliance.custody import facts, links, profiles, rebuild, selectors, vocabulary
from compliance.custody.intake import BatchRefused
from compliance.custody.lifecycle import fold
from compliance.custody.models import PROJECTIONS, Cause, Identifier, Link, Meter, Violation, Visibility
from compliance.evidence import storage
from compliance.jobs import clock
from compliance.ledger.integrate import integrate
from compliance.provisioning.models import KeyRegistryEntry
from tests.custody import tampering, world

pytestmark = [pytest.mark.django_db, pytest.mark.both_engines]
METERS = [world.title(number) for number in (1, 2, 3)]


def test_the_honest_life_of_three_meters(parties):
    world.live(parties, METERS)
    assert list(Violation.objects.values_list("subject", "seq", "code", "detail")) == []
    for subject in METERS:
        meter = world.meter(subject)
        assert (meter.claimed_state, meter.assured_state) == ("disposed", "disposed")
        assert (meter.holder, meter.owner, meter.controller) == ("", "", "")
        assert meter.manufacturer == "elster"
        assert meter.meter_type == "AS3000"
    assert not links.is_behind()
    assert list(rebuild.compare()) == []


def test_a_replay_makes_the_same_rows(parties):
    world.live(parties, METERS, until="install.commissioned")
    integrate()
    world.live({**parties}, [world.title(9)], until="mfg.calibrated")  # not integrated yet
    before = list(Meter.objects.order_by("subject").values())
    assert list(rebuild.compare()) == []
    made = rebuild.rebuild()
    assert list(Meter.objects.order_by("subject").values()) == before
    assert made.rows["custody_meter"] == 4
    assert made.entries > 60


LOOKS_AT_THE_CLOCK = 12  # more than intake takes at one batch


@contextlib.contextmanager
def going_back(looked):
    """The clock is an hour late at that look, and right at the others."""
    looks = itertools.count()
    with clock.use(lambda: datetime.now(UTC) - timedelta(hours=next(looks) == looked)):
        yield
    assert next(looks) < LOOKS_AT_THE_CLOCK


@pytest.mark.parametrize("looked", range(LOOKS_AT_THE_CLOCK))
def test_a_clock_that_goes_back_places_no_event_beside_the_registration_of_its_key(parties, looked):
    """F45: at the same moment the log could have it before its author had a role, and a replay finds no standing."""
    elster = parties["elster"]
    registered = max(SigningKey.objects.get(pk=key.public.keyid).registered_at for key in elster.keys)
    with going_back(looked), contextlib.suppress(BatchRefused):
        elster.send(world.born(1), keys=2)
    assert all(recorded > registered for recorded in Meter.objects.values_list("first_recorded_at", flat=True))
    integrate()
    assert list(rebuild.compare()) == []


@pytest.mark.parametrize("looked", range(LOOKS_AT_THE_CLOCK))
def test_a_clock_that_goes_back_places_no_unit_before_the_meters_in_it(parties, looked):
    """F45: what waits for its place in the log gets it in the order of its times, so these follow each other."""
    elster = parties["elster"]
    elster.send(world.born(1), world.born(2))
    packed = world.event("delivery.packed", world.UNIT, {"children": METERS[:2], "unit_id": world.UNIT})
    with going_back(looked), contextlib.suppress(BatchRefused):
        elster.send(packed)
    integrate()
    assert list(rebuild.compare()) == []


def test_the_projection_is_the_fold_of_the_chain(parties):
    world.live(parties, METERS, until="keys.rotated")
    for subject in METERS:
        _, seen = facts.chain_facts(subject)
        state = fold(seen, words=vocabulary.load(), profiles=profiles.active()).state
        meter = world.meter(subject)
        assert (meter.claimed_state, meter.assured_state) == (state.claimed, state.assured)
        assert (meter.holder, meter.owner, meter.controller) == (state.holder, state.owner, state.controller)
        assert (meter.key_state, meter.seal_state, meter.trust) == (state.key_state, state.seal_state, state.trust)


def test_every_changed_column_is_found(parties):
    """fsck finds each edited column, each row that is gone and each that was added, and names the table."""
    parties["elster"].send(world.event("design.type_registered", "meter_type:elster:AS3000"))
    world.live(parties, METERS[:1], until="ownership.transferred")
    parties["elster"].send(world.event("cell.exited", METERS[0]), keys=2)
    assert tampering.found_in_every_column(PROJECTIONS) > 90
    assert list(rebuild.compare()) == []


def test_a_rebuild_mends_what_was_changed(parties):
    world.live(parties, METERS[:1], until="delivery.packed")
    with connection.cursor() as cursor:
        cursor.execute("UPDATE custody_meter SET holder = 'thief'")
        cursor.execute("DELETE FROM custody_packing")
    assert {problem.place.split()[0] for problem in rebuild.compare()} == {"custody_meter", "custody_packing"}
    call_command("rebuild_projections", verbosity=0)
    assert list(rebuild.compare()) == []


def test_names_lead_to_the_chain_they_joined(parties):
    world.live(parties, METERS[:1], until="mfg.assembled")
    assert dict(Identifier.objects.values_list("alias", "subject")) == {
        METERS[0]: METERS[0],
        "meter:dlms_ldn:ELS0000000000001": METERS[0],
    }


def test_links_say_how_each_meter_was_reached(parties):
    world.live(parties, METERS, until="ownership.transferred")
    reached = list(Link.objects.filter(meter=METERS[0]).order_by("id").values_list("effect", flat=True))
    assert reached == [
        "delivery.packed",
        "keys.bundle_released",
        "delivery.dispatched",
        "delivery.received",
        "delivery.inspected",
        "keys.bundle_acknowledged",
        "ownership.transferred",
    ]
    assert not Link.objects.filter(seq=None).exists()


def test_a_batch_reaches_only_so_many_meters(parties, monkeypatch):
    """T3: some hundred events on a full unit would else be a flood of linked entries."""
    world.live(parties, METERS, until="delivery.packed")
    before = Link.objects.count()
    quarantines = [world.event("exception.quarantined", world.UNIT) for _ in range(2)]
    monkeypatch.setattr(links, "MAX_REACH", 5)
    with pytest.raises(BatchRefused) as refused:
        parties["elster"].send(*quarantines)
    assert [problem.code for problem in refused.value.problems] == ["batch.reach"]
    assert "reach 6 meters in all, at most 5" in refused.value.problems[0].detail
    assert refused.value.status_hint == 413
    assert Link.objects.count() == before
    for event in quarantines:
        parties["elster"].send(event)
    assert Link.objects.count() == before + 2 * len(METERS)


def test_a_member_list_that_nobody_can_read_keeps_nobody_waiting(parties, monkeypatch):
    """T26: what one organisation uploads must not stop the links of all others."""
    poison = [b"[" * 100_000, b'["\\ud800"]', b'["not a subject"]', b'{"meters": 7}', b"\xff"]
    fine = json.dumps(METERS[:1]).encode()
    world.live(parties, METERS[:1], until="mfg.assembled")
    for number, content in enumerate([*poison, fine]):
        changes = {"members_sha256": hashlib.sha256(content).hexdigest(), "meter_count": 1}
        release = world.event("keys.bundle_released", f"key_bundle:elster:KB-{number}", changes)
        release["data"].pop("meters", None)
        parties["elster"].send(release, keys=2)
    waiting = Cause.objects.filter(waiting=True)
    assert waiting.count() == len(poison) + 1
    for content in [*poison, fine]:
        storage.store(io.BytesIO(content))
    listed = links._listed

    def fails_once(digest: str) -> list[str] | None:
        if digest == hashlib.sha256(poison[0]).hexdigest():
            raise RuntimeError("whatever it may be")
        return listed(digest)

    with monkeypatch.context() as patch:
        patch.setattr(links, "_listed", fails_once)
        assert links.resolve_waiting() == len(poison)
    assert waiting.count() == 1
    assert list(Link.objects.values_list("meter", flat=True)) == METERS[:1]
    assert links.resolve_waiting() == 1
    assert not waiting.exists()


@pytest.mark.parametrize("born_late", [False, True])
def test_a_member_list_that_comes_late_reaches_whom_a_replay_reaches(parties, born_late):
    """Who was born between the release and the list was not known when the keys were released."""
    content = json.dumps(METERS[:2]).encode()
    changes = {"members_sha256": hashlib.sha256(content).hexdigest(), "meter_count": 2}
    release = world.event("keys.bundle_released", world.BUNDLE, changes)
    release["data"].pop("meters", None)
    world.live(parties, METERS[: 1 if born_late else 2], until="mfg.assembled")
    parties["elster"].send(release, keys=2)
    if born_late:
        world.live(parties, METERS[1:2], until="mfg.assembled")
    storage.store(io.BytesIO(content))
    assert links.resolve_waiting() == 1
    while links.append_links():
        pass
    reached = Link.objects.order_by("id").values_list("meter", flat=True)
    assert list(reached) == METERS[: 1 if born_late else 2]
    assert list(rebuild.compare()) == []


def test_visibility_follows_custody(parties):
    world.live(parties, METERS[:1], until="ownership.transferred")
    seen = dict(Visibility.objects.values_list("organisation", "to_seq"))
    assert seen.keys() == {"elster", "spedition", "stadtwerk"}
    assert seen["stadtwerk"] is None
    assert seen["elster"] is not None
    assert seen["spedition"] is not None


def test_who_handed_a_meter_on_sees_it_as_it_was(parties):
    """T20: neither its present state nor a name that it was given later."""
    world.live(parties, METERS[:1], until="install.commissioned")
    maker, owner = parties["elster"].api_key, parties["stadtwerk"].api_key
    until = Visibility.objects.get(organisation="elster").to_seq
    Identifier.objects.create(
        alias="meter:gb_mpan:1", scheme="gb_mpan", value="1", subject=METERS[0],
        subject_key=world.meter(METERS[0]).subject_key, seq=until + 1, recorded_at=clock.now(),
    )  # fmt: skip
    [seen] = selectors.as_seen_by(maker, selectors.meters_visible_to(maker).order_by("subject")[:5])
    [now] = selectors.as_seen_by(owner, selectors.meters_visible_to(owner))
    assert now.claimed_state == world.meter(METERS[0]).claimed_state != seen.claimed_state
    assert seen.last_seq <= until
    assert "gb_mpan" not in {name.scheme for name in selectors.identifiers_of(seen, maker)}
    assert "gb_mpan" in {name.scheme for name in selectors.identifiers_of(now, owner)}


def test_keys_are_marked_destroyed_with_the_meter(parties):
    world.live(parties, METERS[:1], until="eol.sanitised")
    assert KeyRegistryEntry.objects.count() > 0
    assert not KeyRegistryEntry.objects.filter(destroyed_seq=None).exists()
