"""Intake: what is refused, what is recorded, and that nothing lies between."""

import json
from datetime import timedelta

import pytest

from compliance.accounts import actions
from compliance.accounts.models import ApiKey
from compliance.accounts.policy import SYSTEM, NotAllowed
from compliance.custody import intake
from compliance.custody.intake import BatchRefused
from compliance.custody.models import Meter, Violation
from compliance.jobs import clock
from compliance.ledger import selectors as ledger
from compliance.ledger.models import Batch, Entry
from compliance.proof import batch, dsse, receipt
from compliance.proof.keys import PrivateKey
from tests.accounts import world as accounts
from tests.custody import world

pytestmark = [pytest.mark.django_db, pytest.mark.both_engines]
WORDS = world.WORDS
METER = world.title(1)


def refused(send, *args, **options):
    """The refusal of `send`, after which nothing is recorded."""
    before = (Entry.objects.count(), Batch.objects.count())
    with pytest.raises(BatchRefused) as refusal:
        send(*args, **options)
    assert (Entry.objects.count(), Batch.objects.count()) == before
    return refusal.value


def codes(refusal: BatchRefused) -> list[str]:
    return [problem.code for problem in refusal.problems]


SUBJECTS = {
    "meter": METER,
    "meter_type": "meter_type:elster:AS3000",
    "firmware": "firmware:elster:AS3000-4.1.2",
    "component_lot": "component_lot:elster:PCB-88",
    **world.SUBJECT_OF,
}


def _example(code: str) -> dict:
    kinds = sorted(WORDS.events[code].kinds)
    subject = METER if kinds == ["subject_of_the_corrected_entry"] else SUBJECTS[kinds[0]]
    return world.event(code, subject)


@pytest.fixture
def everybody(parties):
    """One organisation with every role."""
    return world.join("alleskoenner", *sorted(set(WORDS.roles) - {"system"}))


def test_every_type_is_recorded_with_its_example(everybody):
    """All is recorded, however wrong the moment; most come before the only meter here is born."""
    for code in sorted(set(WORDS.events) - {"record.corrected"}):
        result = everybody.send(_example(code), keys=2)
        assert [entry.event["type"] for entry in result.appended.entries] == [code]
        assert receipt.read(result.appended.receipt).payload["count"] == 1


def test_every_type_is_refused_without_any_one_required_field(everybody):
    """One batch for all of them: each line comes back with its place."""
    events, expected = [], []
    for code, event_type in WORDS.events.items():
        for name in event_type.required_fields:
            broken = _example(code)
            outer = name.partition("[].")[0]
            del broken["data"][outer]
            expected.append(("event.data", f"/data/{outer}"))
            events.append(broken)
    problems = []
    for first in range(0, len(events), 90):
        refusal = refused(everybody.send, *events[first : first + 90], keys=2)
        assert refusal.status_hint == 422
        assert [problem.line for problem in refusal.problems] == list(range(2, 2 + len(refusal.problems)))
        problems += [(problem.code, problem.pointer) for problem in refusal.problems]
    assert problems == expected


def test_the_sender_needs_a_role_of_the_type(parties):
    """All types but the correction, which anybody may send: the fold judges whose the original was."""
    head_end = world.join("kopfstelle", "head_end")
    foreign = [code for code in sorted(WORDS.events) if code not in ("ops.tamper_alerted", "record.corrected")]
    for sender, types in ((head_end, foreign), (parties["elster"], ["ops.tamper_alerted"])):
        refusal = refused(sender.send, *(_example(code) for code in types), keys=2)
        assert [(p.index, p.code) for p in refusal.problems] == [(place, "role.missing") for place in range(len(types))]
        assert refusal.status_hint == 403


def test_an_illegal_transition_is_recorded_and_flagged(parties):
    parties["elster"].send(world.born(1))
    result = parties["elster"].send(world.event("cell.exited", METER), keys=2)
    assert len(result.appended.entries) == 1
    assert set(Violation.objects.values_list("seq", "code")) == {
        (1, "transition.illegal"),
        (1, "precondition.cell_order"),
    }
    meter = world.meter(METER)
    assert (meter.claimed_state, meter.assured_state, meter.violation_count) == ("provisioned", "assembled", 2)


def test_a_sender_without_standing_is_recorded_and_moves_nothing(parties):
    parties["elster"].send(world.born(1))
    parties["stadtwerk"].send(world.event("exception.lost_or_stolen", METER))
    meter = world.meter(METER)
    assert (meter.claimed_state, meter.holder, meter.violation_count) == ("assembled", "elster", 1)


def test_a_missing_second_signature_is_recorded(parties):
    parties["elster"].send(world.event("cell.session_opened", world.SESSION), keys=1)
    assert list(Violation.objects.values_list("subject", "code")) == [(world.SESSION, "violation.second_signature")]


def test_serial_squatting_is_recorded_and_gives_nothing(parties):
    """T9: letters belong to the organisation that first registered a type with them."""
    parties["elster"].send(world.event("design.type_registered", "meter_type:elster:AS3000"))
    squatter = world.join("falschmann", "manufacturer")
    squatter.send(world.event("mfg.assembled", METER, {"identifiers": []}))
    meter = world.meter(METER)
    assert (meter.claimed_state, meter.manufacturer, meter.violation_count) == ("none", "", 1)
    parties["elster"].send(world.born(1))
    assert world.meter(METER).manufacturer == "elster"


# The batch as such.


def test_the_issuer_is_the_sender(parties):
    signed = parties["elster"].sign(world.born(1))
    refusal = refused(parties["stadtwerk"].hand_in, signed.ndjson)
    assert (codes(refusal), refusal.status_hint) == (["batch.issuer"], 403)


def test_a_batch_for_another_log(parties):
    elster = parties["elster"]
    signed = accounts.sign("elster", [world.born(1)], elster.keys[:1], log="other.example/log")
    assert codes(refused(elster.hand_in, signed.ndjson)) == ["batch.log"]


def test_nobody_speaks_for_the_platform(parties):
    elster = parties["elster"]
    vouched = accounts.sign("platform", [world.born(1)], elster.keys[:1], on_behalf_of="elster", credential="x")
    assert codes(refused(elster.hand_in, vouched.ndjson)) == ["batch.vouching"]
    as_platform = accounts.sign("platform", [world.born(1)], elster.keys[:1])
    assert codes(refused(elster.hand_in, as_platform.ndjson)) == ["batch.vouching"]
    linked = world.event("cell.exited", METER)
    linked.update(
        type="custody.linked",
        data={"cause": {"subject": world.UNIT, "seq": 0, "hash": "0" * 64}, "effect": "delivery.packed"},
    )
    refusal = refused(elster.send, linked)
    assert (codes(refusal), refusal.status_hint) == (["event.authority"], 403)


def test_keys_must_be_registered_valid_and_one_the_issuers(parties):
    elster = parties["elster"]
    unknown = PrivateKey.generate("ed25519")
    signed = accounts.sign("elster", [world.born(1)], [unknown])
    assert codes(refused(elster.hand_in, signed.ndjson)) == ["key.unknown"]
    others = accounts.sign("elster", [world.born(1)], parties["stadtwerk"].keys[:1])
    assert codes(refused(elster.hand_in, others.ndjson)) == ["key.issuer"]
    brief = PrivateKey.generate("ed25519")
    registration = accounts.key_event("elster", brief, valid_until=clock.now() + timedelta(minutes=5))
    elster.hand_in(accounts.sign("elster", [registration], [elster.keys[0], brief]).ndjson)
    afterwards = clock.now() + timedelta(minutes=6)
    with clock.use(lambda: afterwards):
        late = accounts.sign("elster", [world.born(1)], [brief])
        assert codes(refused(elster.hand_in, late.ndjson)) == ["key.not_valid"]
    revoked = elster.keys[1]
    elster.send(
        accounts.event(
            "org.key_revoked",
            f"signing_key:{revoked.public.keyid}",
            {"effective_at": accounts.format_time(clock.now()), "reason_code": "lost", "reason": "left on a train"},
        )
    )
    signed = accounts.sign("elster", [world.born(1)], [revoked])
    assert codes(refused(elster.hand_in, signed.ndjson)) == ["key.revoked"]


def test_a_signature_over_something_else(parties):
    elster = parties["elster"]
    signed = elster.sign(world.born(1))
    envelope = json.loads(signed.envelope)
    other = json.loads(elster.sign(world.born(2)).envelope)
    envelope["signatures"] = other["signatures"]
    data = json.dumps(envelope).encode() + b"\n" + signed.event_lines[0]
    assert codes(refused(elster.hand_in, data)) == ["envelope.signature"]


def test_events_that_are_not_those_that_were_signed(parties):
    elster = parties["elster"]
    signed = elster.sign(world.born(1), world.born(2))
    swapped = b"\n".join([signed.envelope, signed.event_lines[1], signed.event_lines[0]])
    assert codes(refused(elster.hand_in, swapped)) == ["batch.root"]
    missing = b"\n".join([signed.envelope, signed.event_lines[0]])
    assert codes(refused(elster.hand_in, missing)) == ["batch.count"]


def test_an_unsigned_batch_of_an_organisation_that_must_sign(parties):
    line = json.dumps(world.born(1)).encode()
    refusal = refused(parties["elster"].hand_in, line)
    assert codes(refusal) == ["batch.unsigned"]
    assert refusal.concerns_batch


@pytest.mark.parametrize("data", [b"", b"{}", b"\n", b"[" * 100_000, b'{"a":1,"a":2}', b"\xff", b"\xef\xbb\xbf{}"])
def test_bytes_that_are_no_batch(parties, data):
    """F50, F51: a clear refusal, never a crash."""
    assert refused(parties["elster"].hand_in, data).concerns_batch


def test_too_many_events_and_too_many_bytes(parties):
    elster = parties["elster"]
    events = [world.born(number) for number in range(intake.MAX_EVENTS + 1)]
    refusal = refused(elster.send, *events)
    assert (codes(refusal), refusal.status_hint) == (["batch.too_many"], 413)
    refusal = refused(elster.hand_in, b" " * (intake.MAX_BYTES + 1))
    assert (codes(refusal), refusal.status_hint) == (["body.too_large"], 413)


def test_a_credential_without_the_scope_or_revoked(parties):
    elster = parties["elster"]
    reader, _ = accounts.api_key(elster.api_key.organisation, "events:read")
    data = elster.sign(world.born(1)).ndjson
    with pytest.raises(NotAllowed):
        intake.receive_batch(data, media_type=batch.NDJSON, sender=reader)
    actions.revoke_api_key(by=SYSTEM, key=ApiKey.objects.get(pk=elster.api_key.pk))
    assert codes(refused(elster.hand_in, data)) == ["credential.revoked"]


# Modes, lines, places.


def _mixed() -> list[dict]:
    """Good, bad, good, bad, bad, good."""
    return [
        world.born(1),
        world.event("mfg.calibrated", METER, {"result": "maybe"}),
        world.event("mfg.calibrated", METER),
        world.event("install.installed", METER),
        {**world.event("mfg.calibrated", METER), "type": "mfg.polished"},
        world.born(2),
    ]


def test_atomic_says_what_is_wrong_with_each_line(parties):
    refusal = refused(parties["elster"].send, *_mixed())
    assert [(p.line, p.index, p.pointer, p.code) for p in refusal.problems] == [
        (3, 1, "/data/result", "event.data"),
        (5, 3, "/type", "role.missing"),
        (6, 4, "/type", "event.type"),
    ]
    assert refusal.status_hint == 422
    assert not refusal.concerns_batch


def test_proceed_records_the_others_at_their_signed_places(parties):
    result = parties["elster"].send(*_mixed(), mode="proceed")
    assert [entry.index for entry in result.appended.entries] == [0, 2, 5]
    assert result.rejected == 3
    said = receipt.read(result.appended.receipt).payload
    assert said["refused"] == [
        {"index": 1, "code": "event.data"},
        {"index": 3, "code": "role.missing"},
        {"index": 4, "code": "event.type"},
    ]
    assert len(ledger.batch(result.appended.batch_id).event_hashes) == 6


def test_proceed_with_nothing_good_records_nothing(parties):
    refused(parties["elster"].send, *_mixed()[3:5], mode="proceed")


def test_a_line_that_cannot_be_read_refuses_the_batch_in_both_modes(parties):
    """Without the hash of each event the signed root cannot be checked."""
    elster = parties["elster"]
    signed = elster.sign(world.born(1), world.born(2), world.born(3))
    for bad in (b'{"a":1,"a":1}', b"{", b'{"x":1.5}', b"\xff"):
        data = b"\n".join([signed.envelope, signed.event_lines[0], bad, signed.event_lines[2], b""])
        for mode in ("atomic", "proceed"):
            refusal = refused(elster.hand_in, data, mode=mode)
            assert [(p.line, p.index) for p in refusal.problems] == [(3, 1)]


def test_a_hundred_problems_and_the_total(parties):
    events = [world.event("mfg.calibrated", METER, {"result": "maybe"}) for _ in range(150)]
    refusal = refused(parties["elster"].send, *events)
    assert (len(refusal.problems), refusal.total) == (100, 150)


def test_the_json_form_has_no_lines(parties):
    elster = parties["elster"]
    signed = elster.sign(world.event("mfg.calibrated", METER, {"result": "maybe"}))
    body = b'{"envelope":' + signed.envelope + b',"events":[' + signed.event_lines[0] + b"]}"
    refusal = refused(elster.hand_in, body, media_type=batch.JSON_DOCUMENT)
    assert [(p.line, p.index) for p in refusal.problems] == [(None, 0)]


@pytest.mark.parametrize(
    ("subject", "code"),
    [
        ("meter:dlms_system_title:454c530000000001", "subject.form"),
        ("meter:dlms_system_title:454C53", "subject.form"),
        ("meter:din43849:HEMH0012345678", "subject.form"),
        ("shipment:elster:S-1", "event.value"),
        ("logistic_unit:sscc:340123450000000018", "subject.form"),
    ],
)
def test_the_subject_must_be_of_the_right_kind_and_form(parties, subject, code):
    elster = parties["elster"]
    line = json.dumps({**world.event("mfg.calibrated", METER), "subject": subject}).encode()
    refusal = refused(elster.hand_in, _sealed(elster, [line]))
    assert [(p.code, p.pointer) for p in refusal.problems] == [(code, "/subject")]


def _sealed(party: world.Party, lines: list[bytes]) -> bytes:
    """A batch over lines that `batch.build` would not sign."""
    from compliance.proof import merkle
    from compliance.proof.canonical import encode

    canonical = [encode(json.loads(line)) for line in lines]
    payload = {**party.sign(world.born(99)).payload, "count": len(lines)}
    payload["root"] = merkle.root([merkle.leaf_hash(line) for line in canonical]).hex()
    envelope = dsse.sign(payload=encode(payload), payload_type=dsse.BATCH_TYPE, keys=party.keys[:1])
    return b"\n".join([envelope, *canonical, b""])


def test_another_schema_version_is_refused(parties):
    refusal = refused(parties["elster"].send, {**world.born(1), "schema": 2})
    assert [(p.code, p.pointer) for p in refusal.problems] == [("event.type", "/schema")]


# Idempotency.


def test_a_batch_sent_twice_is_stored_once_and_answered_alike(parties):
    elster = parties["elster"]
    data = elster.sign(*_mixed()).ndjson
    first = elster.hand_in(data, mode="proceed")
    again = elster.hand_in(data, mode="proceed")
    assert again.appended.replay
    assert again.appended.receipt == first.appended.receipt
    assert [(e.index, e.hash) for e in again.appended.entries] == [(e.index, e.hash) for e in first.appended.entries]
    assert [(p.line, p.index, p.code) for p in again.problems] == [(p.line, p.index, p.code) for p in first.problems]
    assert again.rejected == first.rejected
    assert Meter.objects.count() == 2


def test_a_replay_is_answered_also_after_the_key_was_revoked(parties):
    elster = parties["elster"]
    data = elster.sign(world.born(1)).ndjson
    first = elster.hand_in(data)
    elster.hand_in(
        accounts.sign(
            "elster",
            [
                accounts.event(
                    "org.key_revoked",
                    f"signing_key:{elster.keys[0].public.keyid}",
                    {"effective_at": accounts.format_time(clock.now()), "reason_code": "ceased", "reason": "x"},
                )
            ],
            elster.keys[1:],
        ).ndjson
    )
    assert elster.hand_in(data).appended.receipt == first.appended.receipt


def test_an_event_of_another_batch_is_a_duplicate(parties):
    elster = parties["elster"]
    event = world.born(1)
    first = elster.send(event)
    second = elster.send(event, world.born(2))
    assert second.appended.duplicates == [(0, first.appended.batch_id)]
    assert [entry.index for entry in second.appended.entries] == [1]


def test_the_same_id_with_other_content(parties):
    elster = parties["elster"]
    event = world.born(1)
    elster.send(event)
    other = {**world.born(2), "id": event["id"]}
    refusal = refused(elster.send, other)
    assert (codes(refusal), refusal.status_hint) == (["event.conflict"], 409)
    result = elster.send(other, world.born(3), mode="proceed")
    assert (result.rejected, [entry.index for entry in result.appended.entries]) == (1, [1])


def test_the_same_id_twice_in_a_batch(parties):
    event = world.born(1)
    other = {**world.born(2), "id": event["id"]}
    assert codes(refused(parties["elster"].send, event, other)) == ["event.id_twice"]
    result = parties["elster"].send(event, other, mode="proceed")
    assert [entry.index for entry in result.appended.entries] == [0]


def test_prev_hint_and_corrects_must_meet_the_chain(parties):
    elster = parties["elster"]
    first = elster.send(world.born(1)).appended.entries[0]
    moved = {**world.event("mfg.calibrated", METER), "prev_hint": "0" * 64}
    assert codes(refused(elster.send, moved)) == ["chain.moved"]
    elster.send({**world.event("mfg.calibrated", METER), "prev_hint": first.hash.hex()})
    nothing = world.event("record.corrected", METER, {"corrects": "0" * 64}, corrects="0" * 64)
    assert codes(refused(elster.send, nothing)) == ["chain.corrects"]
    unnamed = world.event("record.corrected", METER)
    assert [(p.code, p.pointer) for p in refused(elster.send, unnamed).problems] == [("event.data", "/corrects")]


# Names.


def test_an_event_may_name_its_meter_by_a_name_that_joined(parties):
    elster = parties["elster"]
    alias = "meter:dlms_ldn:ELS0000000000001"
    result = elster.send(world.born(1), world.event("mfg.calibrated", alias))
    assert [entry.subject for entry in result.appended.entries] == [METER, METER]
    assert result.appended.entries[1].event["subject"] == alias
    later = elster.send(world.event("mfg.calibrated", alias))
    assert later.appended.entries[0].seq == 2


def test_each_event_finds_its_chain_whether_its_meter_was_heard_of_or_not(parties):
    """One batch about a meter with entries, one known by another name, and one never heard of."""
    elster = parties["elster"]
    elster.send(world.born(1), world.born(2))
    subjects = [METER, "meter:dlms_ldn:ELS0000000000002", world.title(3)]
    result = elster.send(*(world.event("mfg.calibrated", subject) for subject in subjects))
    assert [(entry.subject, entry.seq) for entry in result.appended.entries] == [
        (METER, 1),
        (world.title(2), 1),
        (world.title(3), 0),
    ]


def test_a_name_that_was_only_told_about_can_be_given_in_the_same_batch(parties):
    """The first event is about a name without a chain, the second gives that name to a meter."""
    alias = "meter:dlms_ldn:ELS0000000000009"
    gives = _named(1, "dlms_ldn", "ELS0000000000009")
    result = parties["elster"].send(gives, world.event("mfg.calibrated", alias))
    assert [entry.subject for entry in result.appended.entries] == [METER, METER]


def _named(number: int, scheme: str, value: str) -> dict:
    return world.event("mfg.assembled", world.title(number), {"identifiers": [{"scheme": scheme, "value": value}]})


def test_a_name_belongs_to_one_chain_for_ever(parties):
    elster = parties["elster"]
    elster.send(world.born(1))
    joins = refused(elster.send, _named(2, "dlms_ldn", "ELS0000000000001"))
    assert [(p.code, p.pointer) for p in joins.problems] == [("subject.taken", "/data/identifiers/0/value")]
    assert joins.status_hint == 409
    reborn = refused(elster.send, world.event("mfg.assembled", "meter:dlms_ldn:ELS0000000000001", {"identifiers": []}))
    assert [(p.code, p.pointer) for p in reborn.problems] == [("subject.taken", "/subject")]
    own_name = refused(elster.send, _named(2, "dlms_system_title", METER.rpartition(":")[2]))
    assert codes(own_name) == ["subject.taken"]


def test_two_births_of_one_batch_cannot_share_a_name(parties):
    refusal = refused(
        parties["elster"].send, _named(1, "dlms_ldn", "ELS0000000000009"), _named(2, "dlms_ldn", "ELS0000000000009")
    )
    assert [(p.index, p.code) for p in refusal.problems] == [(1, "subject.taken")]


def test_a_name_of_a_multi_valued_scheme_is_shared(parties):
    parties["elster"].send(_named(1, "mid_mark", "CE M26 0102"), _named(2, "mid_mark", "CE M26 0102"))
    assert Meter.objects.count() == 2


def test_a_second_value_of_a_single_valued_scheme_is_recorded(parties):
    """AN-01: one meter that claims two values."""
    elster = parties["elster"]
    elster.send(world.born(1))
    second = {"identifiers": [{"scheme": "dlms_ldn", "value": "ELS0000000000077"}]}
    elster.send(world.event("mfg.calibrated", METER, second))
    assert list(Violation.objects.values_list("code", flat=True)) == ["identifier.second_value"]


def test_a_name_given_without_standing_joins_nothing(parties):
    parties["elster"].send(world.born(1))
    second = {"identifiers": [{"scheme": "dlms_ldn", "value": "ELS0000000000078"}]}
    other = world.join("falschmann", "manufacturer")
    other.send(world.event("mfg.calibrated", METER, second))
    assert set(Violation.objects.values_list("code", flat=True)) == {"standing.missing", "identifier.second_value"}
    parties["elster"].send(_named(2, "dlms_ldn", "ELS0000000000078"))
    assert world.meter(world.title(2)).violation_count == 0


def test_a_name_in_the_range_of_another_maker_is_refused(parties):
    """T9: else a stranger's meter could take the names of meters that are still to be born."""
    parties["elster"].send(world.event("design.type_registered", "meter_type:elster:AS3000"))
    other = world.join("falschmann", "manufacturer")
    names = {"identifiers": [{"scheme": "dlms_ldn", "value": "ELS0000000000078"}]}
    said = refused(other.send, world.event("mfg.assembled", "meter:dlms_system_title:58585800000003E7", names))
    assert [(p.code, p.pointer) for p in said.problems] == [("subject.taken", "/data/identifiers/0/value")]
    assert said.problems[0].detail == "meter:dlms_ldn:ELS0000000000078 lies in the serial range of elster"
    parties["elster"].send(world.event("mfg.assembled", METER, {"identifiers": []}))
    other.send(world.event("mfg.calibrated", METER, names))  # its own maker's letters: recorded
    assert set(Violation.objects.values_list("code", flat=True)) == {"standing.missing"}
    parties["elster"].send(_named(2, "dlms_ldn", "ELS0000000000078"))


# Vouching.


@pytest.fixture
def unsigned(parties):
    """An organisation that may send without a signature."""
    return world.join("kleinwerk", "manufacturer", signature_policy="accepted")


def _lines(*events: dict) -> bytes:
    return b"\n".join(json.dumps(event).encode() for event in events) + b"\n"


def test_the_platform_vouches_for_unsigned_events(unsigned):
    result = unsigned.hand_in(_lines(world.born(1), world.event("mfg.calibrated", METER)))
    envelope = ledger.batch(result.appended.batch_id).envelope
    payload = json.loads(dsse.read_envelope(envelope, payload_type=dsse.BATCH_TYPE).payload)
    assert (payload["issuer"], payload["on_behalf_of"]) == ("platform", "kleinwerk")
    assert payload["credential"] == unsigned.api_key.public_id
    assert world.meter(METER).manufacturer == "kleinwerk"


def test_unsigned_events_are_idempotent_by_their_ids(unsigned):
    data = _lines(world.born(1))
    first = unsigned.hand_in(data)
    again = unsigned.hand_in(data)
    assert again.appended.duplicates == [(0, first.appended.batch_id)]
    assert not again.appended.entries


def test_unsigned_events_that_need_two_people_are_recorded_as_violations(unsigned):
    unsigned.hand_in(_lines(world.event("cell.session_opened", "cell_session:kleinwerk:S1")))
    assert list(Violation.objects.values_list("code", flat=True)) == ["violation.second_signature"]


def test_unsigned_problems_name_the_lines_as_sent(unsigned):
    bad = world.event("mfg.calibrated", METER, {"result": "maybe"})
    refusal = refused(unsigned.hand_in, _lines(world.born(1), bad))
    assert [(p.line, p.index, p.code) for p in refusal.problems] == [(2, 1, "event.data")]
    conflicting = {**world.born(3), "id": "taken"}
    unsigned.hand_in(_lines({**world.born(2), "id": "taken"}))
    result = unsigned.hand_in(_lines(bad, conflicting, world.born(1)), mode="proceed")
    assert [(p.line, p.index, p.code) for p in result.problems] == [(1, 0, "event.data"), (2, 1, "event.conflict")]
    assert [entry.event["subject"] for entry in result.appended.entries] == [METER]


def test_keys_cannot_be_registered_unsigned(unsigned):
    key = PrivateKey.generate("ed25519")
    refusal = refused(unsigned.hand_in, _lines(accounts.key_event("kleinwerk", key)))
    assert codes(refusal) == ["event.authority"]
