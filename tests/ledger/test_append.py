"""Appending: what is promised to whoever sends a batch."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import rfc8785
from django.conf import settings
from django.db import connection
from django.test.utils import CaptureQueriesContext

from compliance.jobs import clock
from compliance.jobs.models import SignOfLife
from compliance.ledger import append, clock_guard, integrate, keys, selectors
from compliance.ledger.append import AppendContext, AppendedEntry, IncomingBatch, append_batch
from compliance.ledger.errors import ClockJumped, Conflict, NoLog, Refused, WrongAboutChains
from compliance.ledger.models import Batch, Entry, EventKey, Head, Pending, Receipt
from compliance.ledger.platform_log import platform_batch
from compliance.ledger.setup import PLATFORM_ACTOR
from compliance.proof import dsse, merkle, receipt
from compliance.proof.keys import PrivateKey
from compliance.proof.subject import key_of
from tests.ledger.world import Factory, meter, received

pytestmark = [pytest.mark.django_db, pytest.mark.both_engines]


def rows() -> dict[str, int]:
    """How many rows each table of the append has."""
    return {model.__name__: model.objects.count() for model in (Batch, Entry, EventKey, Head, Pending, Receipt)}


def test_entries_chain_and_heads_follow(factory: Factory) -> None:
    first = factory.send([factory.event(meter(1)), factory.event(meter(2)), factory.event(meter(1))])
    second = factory.send([factory.event(meter(1))])
    chain = selectors.chain(meter(1))
    assert [entry.seq for entry in chain] == [0, 1, 2]
    assert [entry.prev for entry in chain] == [None, chain[0].hash, chain[1].hash]
    assert [entry.hash for entry in chain] == [merkle.leaf_hash(entry.body) for entry in chain]
    assert [entry.batch_id for entry in chain] == [first.batch_id, first.batch_id, second.batch_id]
    head = selectors.head(meter(1))
    assert head is not None
    assert (head.seq, head.hash) == (2, chain[2].hash)
    assert selectors.head(meter(3)) is None


def test_stored_bytes_are_canonical_and_hold_the_event_unchanged(factory: Factory) -> None:
    sent = factory.event(meter(1), data={"text": "Zähler \U0001f600", "nested": {"list": [1, None, True]}})
    entry = factory.send([sent]).entries[0]
    stored = selectors.entry(meter(1), 0)
    assert stored is not None
    assert rfc8785.dumps(stored.value) == stored.body == entry.body
    assert stored.event == sent
    assert entry.event_hash == merkle.leaf_hash(rfc8785.dumps(sent))
    assert len(bytes.fromhex(stored.value["salt"])) == 16


def test_salts_differ(factory: Factory) -> None:
    entries = factory.send([factory.event(meter(number)) for number in range(20)]).entries
    assert len({entry.body[entry.body.index(b'"salt":') :][:41] for entry in entries}) == 20


def test_receipt_names_every_position_and_verifies(factory: Factory) -> None:
    factory.send([known := factory.event(meter(1))])
    first_batch = selectors.chain(meter(1))[0].batch_id
    signed = factory.sign([factory.event(meter(2)), known, factory.event(meter(3))])
    appended = append_batch(received(signed, leave_out=[2]), refused={2: "event.value"})
    read = receipt.read(appended.receipt)
    read.verify({keys.receipt_key().public.keyid: keys.receipt_key().public}, log=settings.METERPROOF["ORIGIN"])
    assert [item["index"] for item in read.payload["entries"]] == [0]
    assert read.payload["duplicates"] == [{"index": 1, "batch": first_batch}]
    assert read.payload["refused"] == [{"index": 2, "code": "event.value"}]
    assert read.payload["count"] == 3
    promised = datetime.fromisoformat(read.payload["merge_by"]) - datetime.fromisoformat(read.payload["issued_at"])
    assert promised == timedelta(seconds=settings.METERPROOF["MAX_MERGE_DELAY_SECONDS"])
    assert selectors.receipt(appended.batch_id) == appended.receipt
    assert read.payload["entries"][0]["hash"] == selectors.chain(meter(2))[0].hash.hex()


def test_batch_sent_twice_is_stored_once_and_answered_alike(factory: Factory) -> None:
    """F1, F2: whatever the sender missed, sending again does no harm and brings the first answer."""
    factory.send([known := factory.event(meter(9))])
    batch = received(factory.sign([factory.event(meter(1)), known]))
    first = append_batch(batch)
    before = rows()
    again = append_batch(batch)
    assert rows() == before
    assert again.replay
    assert not first.replay
    assert again.receipt == first.receipt
    assert again.entries == first.entries
    assert again.duplicates == first.duplicates
    assert again.refused == first.refused


def test_same_payload_under_other_signatures_is_a_conflict(factory: Factory) -> None:
    signed = factory.sign([factory.event(meter(1))])
    append_batch(received(signed))
    other = PrivateKey.generate("ecdsa_p256_sha256")
    payload = dsse.read_envelope(signed.envelope, payload_type=dsse.BATCH_TYPE).payload
    twin = type(signed)(
        dsse.sign(payload=payload, payload_type=dsse.BATCH_TYPE, keys=[factory.key, other]),
        signed.payload,
        signed.event_lines,
    )
    with pytest.raises(Conflict) as refusal:
        append_batch(received(twin))
    assert refusal.value.code == "batch.conflict"
    assert signed.batch_id in refusal.value.detail


def test_event_known_from_another_batch_is_a_duplicate(factory: Factory) -> None:
    factory.send([known := factory.event(meter(1))])
    appended = factory.send([known, factory.event(meter(1))])
    assert [entry.index for entry in appended.entries] == [1]
    assert appended.duplicates == [(0, selectors.chain(meter(1))[0].batch_id)]
    assert len(selectors.chain(meter(1))) == 2


def test_batch_of_known_events_leaves_a_receipt_and_nothing_else(factory: Factory) -> None:
    factory.send([known := factory.event(meter(1))])
    before = rows()
    appended = factory.send([known])
    assert appended.entries == []
    after = rows()
    assert {name: after[name] - before[name] for name in after if after[name] != before[name]} == {
        "Batch": 1,
        "Receipt": 1,
    }


def test_same_event_id_with_other_content_is_a_conflict(factory: Factory) -> None:
    factory.send([first := factory.event(meter(1)), second := factory.event(meter(2))])
    before = rows()
    events = [{**first, "data": {"a": 1}}, factory.event(meter(3)), {**second, "data": {"a": 1}}]
    with pytest.raises(Conflict) as refusal:
        factory.send(events)
    assert [(problem.code, problem.index) for problem in refusal.value.problems] == [
        ("event.conflict", 0),
        ("event.conflict", 2),
    ]
    assert rows() == before


def test_event_ids_are_unique_per_author_only(factory: Factory) -> None:
    other = Factory("borough")
    factory.send([factory.event(meter(1), id="one")])
    other.send([other.event(meter(2), id="one")])
    mine, theirs = selectors.find_event("acme", "one"), selectors.find_event("borough", "one")
    assert mine is not None
    assert theirs is not None
    assert (mine.subject, theirs.subject) == (meter(1), meter(2))
    assert selectors.find_event("acme", "two") is None


def test_event_id_twice_in_a_batch_is_refused(factory: Factory) -> None:
    """Intake says so first; the ledger does not rely on it."""
    batch = received(factory.sign([factory.event(meter(1)), factory.event(meter(2))]))
    twice = batch.events[0].value | {"subject": meter(2)}
    broken = [batch.events[0], type(batch.events[0])(1, twice, b"{}", b"", meter(2))]
    with pytest.raises(Refused) as refusal:
        append_batch(type(batch)(**{name: getattr(batch, name) for name in batch.__slots__} | {"events": broken}))
    assert refusal.value.code == "event.id_twice"


@pytest.mark.parametrize("hint", ["right", "none", "stale"])
def test_prev_hint_is_the_head_before_the_batch(factory: Factory, hint: str) -> None:
    factory.send([factory.event(meter(1))])
    stale = selectors.chain(meter(1))[0].hash.hex()
    factory.send([factory.event(meter(1))])
    head = selectors.head(meter(1))
    assert head is not None
    said = {"right": head.hash.hex(), "none": None, "stale": stale}[hint]
    events = [factory.event(meter(1), prev_hint=said), factory.event(meter(2), prev_hint=None)]
    if hint == "right":
        assert len(factory.send(events).entries) == 2
        return
    with pytest.raises(Conflict) as refusal:
        factory.send(events)
    assert (refusal.value.code, refusal.value.index) == ("chain.moved", 0)
    assert head.hash.hex() in refusal.value.detail


def test_a_correction_names_an_earlier_entry_of_its_chain(factory: Factory) -> None:
    factory.send([factory.event(meter(1)), factory.event(meter(2))])
    mine, other = selectors.chain(meter(1))[0].hash.hex(), selectors.chain(meter(2))[0].hash.hex()
    factory.send([factory.event(meter(1), corrects=mine)])
    with pytest.raises(Refused) as refusal:
        factory.send([factory.event(meter(1), corrects=other)])
    assert refusal.value.code == "chain.corrects"


def test_entry_goes_to_the_chain_that_intake_names(factory: Factory) -> None:
    """An alias: the event keeps its own subject, the entry has the chain's."""
    signed = factory.sign([factory.event("meter:din43849:1EMH0012345678")])
    entry = append_batch(received(signed, chains=[meter(1)])).entries[0]
    stored = selectors.chain(meter(1))[0]
    assert stored.value["subject"] == entry.subject == meter(1)
    assert stored.event["subject"] == "meter:din43849:1EMH0012345678"


def test_a_chain_that_was_taken_for_begun_and_is_not_records_nothing(factory: Factory) -> None:
    """Its head is not made on the way either; asked for, it is."""
    factory.send([factory.event(meter(1))])
    batch = received(factory.sign([factory.event(meter(1)), factory.event(meter(2))]))
    before = Head.objects.count(), Entry.objects.count(), Batch.objects.count()
    with pytest.raises(WrongAboutChains):
        append_batch(replace(batch, begun=frozenset({key_of(meter(1)), key_of(meter(2))})))
    assert (Head.objects.count(), Entry.objects.count(), Batch.objects.count()) == before
    appended = append_batch(replace(batch, begun=frozenset({key_of(meter(1))})))
    assert [entry.seq for entry in appended.entries] == [1, 0]


def test_a_chain_that_was_taken_for_new_and_is_not_records_nothing(factory: Factory) -> None:
    factory.send([factory.event(meter(1))])
    batch = received(factory.sign([factory.event(meter(1)), factory.event(meter(2))]))
    before = Head.objects.count(), Entry.objects.count(), Batch.objects.count()
    with pytest.raises(WrongAboutChains):
        append_batch(replace(batch, new=frozenset({key_of(meter(1)), key_of(meter(2))})))
    assert (Head.objects.count(), Entry.objects.count(), Batch.objects.count()) == before
    appended = append_batch(replace(batch, new=frozenset({key_of(meter(2))})))
    assert [entry.seq for entry in appended.entries] == [1, 0]


def test_what_an_applier_puts_into_the_memory_comes_back_with_the_chain(factory: Factory) -> None:
    seen: list[dict[bytes, bytes]] = []

    def remember(context: AppendContext, entries: Sequence[AppendedEntry]) -> None:
        seen.append(dict(context.memory))
        context.memory[entries[0].key] += b"%d" % entries[-1].seq

    with append.hooks(appliers=[("", remember)]):
        for number in (1, 1, 2):
            factory.send([factory.event(meter(number))])
    one, two = key_of(meter(1)), key_of(meter(2))
    assert seen == [{one: b""}, {one: b"0"}, {two: b""}]
    assert dict(Head.objects.values_list("subject", "memory")) | {one: b"01", two: b"0"} == dict(
        Head.objects.values_list("subject", "memory")
    )


def test_time_never_goes_back_within_a_chain(factory: Factory, caplog: pytest.LogCaptureFixture) -> None:
    """F45: a clock an hour behind flags and goes on; the order of the chain is not touched."""
    factory.send([factory.event(meter(1))])
    before = selectors.chain(meter(1))[0].recorded_at
    with clock.use(lambda: before - timedelta(hours=1)), caplog.at_level(logging.WARNING):
        factory.send([factory.event(meter(1)), factory.event(meter(2))])
    assert selectors.chain(meter(1))[1].recorded_at == before + timedelta(microseconds=1)
    assert selectors.chain(meter(2))[0].recorded_at == before + timedelta(microseconds=1)
    assert "the clock is behind the log" in caplog.text


def test_a_clock_that_jumps_ahead_stops_appends(factory: Factory) -> None:
    """F45, T28: a date ten years ahead would pin every chain it touches."""
    factory.send([factory.event(meter(1))])
    before = rows()
    now = clock.now()
    for ahead in (timedelta(hours=25), timedelta(days=3653)):
        with clock.use(lambda ahead=ahead: now + ahead), pytest.raises(ClockJumped):
            factory.send([factory.event(meter(1))])
    assert rows() == before
    with clock.use(lambda: now + timedelta(hours=23)):
        factory.send([factory.event(meter(1))])


def test_a_long_pause_is_accepted_at_start_but_ten_years_only_by_the_operator(factory: Factory) -> None:
    now = clock.now()
    with clock.use(lambda: now + timedelta(days=9)):
        clock_guard.accept()
        factory.send([factory.event(meter(1))])
    with clock.use(lambda: now + timedelta(days=3653)):
        with pytest.raises(ClockJumped):
            clock_guard.accept()
        clock_guard.accept(however_long=True)
        factory.send([factory.event(meter(1))])


def test_the_clock_guard_does_not_rest_on_its_sign_of_life_alone(factory: Factory) -> None:
    """Whoever removes it gains nothing: what was recorded last says that the log was alive then."""
    factory.send([factory.event(meter(1))])
    integrate.integrate()
    SignOfLife.objects.all().delete()
    now = clock.now()
    with clock.use(lambda: now + timedelta(hours=25)), pytest.raises(ClockJumped):
        factory.send([factory.event(meter(1))])
    factory.send([factory.event(meter(1))])
    clock_guard.accept()
    assert SignOfLife.objects.get().at == clock_guard.latest_seen()


def test_without_a_log_nothing_can_be_appended(alone: None, db: None) -> None:
    keys.make_missing()
    factory = Factory()
    with pytest.raises(NoLog):
        factory.send([factory.event(meter(1))])
    assert set(rows().values()) == {0}


def test_appliers_see_their_entries_and_share_the_transaction(factory: Factory) -> None:
    seen: list[tuple[str, list[str]]] = []

    def note(name: str) -> append.Applier:
        def applier(context: AppendContext, entries: Sequence[AppendedEntry]) -> None:
            assert selectors.entry(entries[0].subject, entries[0].seq) is not None
            assert context.author == "acme"
            seen.append((name, [entry.event["type"] for entry in entries]))

        return applier

    events = [factory.event(meter(1)), factory.event(meter(1), type="delivery.shipped"), factory.event(meter(2))]
    with append.hooks(appliers=[("mfg.", note("made")), ("", note("all")), ("eol.", note("never"))]):
        factory.send(events)
    types = [event["type"] for event in events]
    assert seen == [("made", [types[0], types[2]]), ("all", types)]


def test_an_applier_can_refuse_and_then_nothing_is_stored(factory: Factory) -> None:
    def refuse(_context: AppendContext, entries: Sequence[AppendedEntry]) -> None:
        raise Refused("serial.foreign", "not your serial", index=entries[-1].index, pointer="/subject")

    before = rows()
    with append.hooks(appliers=[("", refuse)]), pytest.raises(Refused) as refusal:
        factory.send([factory.event(meter(1)), factory.event(meter(2))])
    assert (refusal.value.code, refusal.value.index, refusal.value.pointer) == ("serial.foreign", 1, "/subject")
    assert rows() == before


def test_a_lock_hook_can_refuse_and_can_ask_for_a_later_time(factory: Factory) -> None:
    """F48: a key revoked meanwhile refuses the whole batch; what a batch relies on was registered before it."""
    later = clock.now() + timedelta(minutes=5)

    def revoked(batch: IncomingBatch, begins: bool, held: dict[str, Any]) -> None:
        assert batch.signers == (factory.key.public.keyid,)
        raise Refused("key.revoked", "revoked a moment ago")

    before = rows()
    with append.hooks(locks=[revoked]), pytest.raises(Refused):
        factory.send([factory.event(meter(1))])
    assert rows() == before
    with append.hooks(locks=[lambda *_: later, lambda *_: None]):
        factory.send([factory.event(meter(1))])
    assert selectors.chain(meter(1))[0].recorded_at == later + append.TICK


def test_too_large_an_entry_is_refused(factory: Factory) -> None:
    """An event of the largest size fits; the ledger still looks, since a bundle cannot hold more."""
    signed = factory.sign([factory.event(meter(1), data={"text": ["x" * 8_000] * 7})])
    assert append_batch(received(signed)).entries
    batch = received(factory.sign([factory.event(meter(2))]))
    item = batch.events[0]
    huge = type(item)(0, item.value, b"{" + b" " * 65_500 + b"}", item.event_hash, item.subject)
    with pytest.raises(Refused) as refusal:
        append_batch(type(batch)(**{name: getattr(batch, name) for name in batch.__slots__} | {"events": [huge]}))
    assert refusal.value.code == "event.size"


def test_every_position_must_be_accounted_for(factory: Factory) -> None:
    batch = received(factory.sign([factory.event(meter(1)), factory.event(meter(2))]), leave_out=[0])
    with pytest.raises(ValueError, match="every position"):
        append_batch(batch)
    with pytest.raises(ValueError, match="every position"):
        append_batch(batch, refused={0: "event.value", 1: "event.value"})


def test_what_the_platform_says_is_one_batch_of_its_own(factory: Factory) -> None:
    with platform_batch(actor=PLATFORM_ACTOR) as log:
        log.record("evidence:platform:evd_1", "evidence.received", {"kind": "test"})
        log.record(
            "evidence:platform:evd_1",
            "evidence.accepted",
            {"reason": "right"},
            occurred_at=datetime(2026, 1, 1, tzinfo=UTC),
        )
        assert log.appended is None
    assert log.appended is not None
    chain = selectors.chain("evidence:platform:evd_1")
    assert [entry.event["type"] for entry in chain] == ["evidence.received", "evidence.accepted"]
    assert chain[1].event["occurred_at"] == "2026-01-01T00:00:00.000000Z"
    assert {entry.batch_id for entry in chain} == {log.appended.batch_id}
    assert log.appended.entries[0].author == "platform"


def test_a_decision_that_fails_records_nothing(factory: Factory) -> None:
    def fail_to_decide() -> None:
        with platform_batch(actor=PLATFORM_ACTOR) as log:
            log.record("evidence:platform:evd_1", "evidence.received", {})
            raise LookupError("the evidence is gone")

    before = rows()
    with pytest.raises(LookupError):
        fail_to_decide()
    with platform_batch(actor=PLATFORM_ACTOR) as silent:
        pass
    assert silent.appended is None
    assert rows() == before


@pytest.mark.parametrize("size", [1, 1_000])
def test_query_budget(factory: Factory, size: int) -> None:
    """The number of statements does not grow with the batch."""
    factory.send([factory.event(meter(number)) for number in range(0, size, 2)])
    batch = received(factory.sign([factory.event(meter(number)) for number in range(size)]))
    with CaptureQueriesContext(
        connection,
    ) as queries:
        append_batch(batch)
    statements: list[dict[str, Any]] = queries.captured_queries
    budget = 20 if connection.vendor == "sqlite" else 10  # the fast path's own cursors are not counted on PostgreSQL
    assert len(statements) <= budget, "\n".join(query["sql"][:120] for query in statements)


def test_subject_key_is_the_prefix_of_the_texts_hash(factory: Factory) -> None:
    factory.send([factory.event(meter(1))])
    assert Head.objects.filter(subject=key_of(meter(1))).exists()
    assert len(key_of(meter(1))) == 16
