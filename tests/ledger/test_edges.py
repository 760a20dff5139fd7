"""Append, integration, signer and log folder at their edges: what is just allowed, and what is missing or waits."""

import json
import shutil
import stat
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.conf import settings

from compliance.jobs import clock, failpoints
from compliance.ledger import append, integrate, key_history, publish, signer, store, tiles
from compliance.ledger.errors import ClockJumped, Conflict, Damaged, Refused, SignerRefused, StateRefused
from compliance.ledger.models import Batch, LogState, Pending
from compliance.ledger.models import Checkpoint as CheckpointRow
from compliance.ledger.platform_log import platform_batch
from compliance.ledger.setup import PLATFORM_ACTOR
from compliance.proof import layout, merkle
from tests.ledger.world import Factory, meter, received

pytestmark = [pytest.mark.django_db, pytest.mark.both_engines]


def test_a_batch_that_waits_for_its_predecessor_holds_up_nobody(factory: Factory) -> None:
    """Should the order of two batches of a chain ever be wrong, the earlier one is taken first all the same."""
    integrate.integrate()  # what the log begins with
    for _ in range(2):
        factory.send([factory.event(meter(1))])
    first, second = Pending.objects.order_by("recorded_at")
    Pending.objects.filter(batch=first.batch).update(recorded_at=second.recorded_at + timedelta(seconds=1))
    assert integrate.integrate() == 2
    assert not Pending.objects.exists()


def test_what_is_refused_says_which_event_and_which_member(factory: Factory) -> None:
    factory.send([known := factory.event(meter(1))])
    for member, event, kind in (
        ("/prev_hint", factory.event(meter(1), prev_hint=None), Conflict),
        ("/corrects", factory.event(meter(1), corrects="00" * 32), Refused),
    ):
        with pytest.raises(kind) as refusal:
            factory.send([factory.event(meter(2)), event, event | {"id": "another"}])
        assert [(problem.index, problem.pointer) for problem in refusal.value.problems] == [(1, member), (2, member)]
    with pytest.raises(Conflict) as conflict:
        factory.send([factory.event(meter(2)), known | {"data": {"a": 1}}])
    assert [(problem.index, problem.pointer) for problem in conflict.value.problems] == [(1, "/id")]


def test_a_log_may_be_signed_twice_at_one_moment(log: object) -> None:
    moment, verifiers = clock.now(), key_history.read().verifiers
    edge, last = merkle.RightEdge(), None
    leaves = [bytes([number]) * 32 for number in range(3)]
    for size, leaf in enumerate(leaves):
        edge.append(leaf)
        consistency = merkle.consistency_path(leaves[: size + 1], size) if last else []
        with signer.exclusive(wait=True):
            signer.sign(expected=last, edge=edge, consistency=consistency, at=moment, verifiers=verifiers)
        signed = signer.last_signed()
        assert signed is not None
        last = signed.checkpoint
    assert last is not None
    assert last.size == 3
    with signer.exclusive(wait=True), pytest.raises(SignerRefused, match="clock went back"):
        signer.sign(
            expected=last, edge=edge, consistency=[], at=moment - timedelta(microseconds=1), verifiers=verifiers
        )


def test_the_signers_memory_is_for_its_owner_alone(factory: Factory) -> None:
    factory.send([factory.event(meter(1))])
    integrate.integrate()
    publish.publish()
    folder = settings.METERPROOF["SIGNER_DIR"]
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.iterdir())}
    assert modes == {folder.name: 0o700, signer.MEMORY: 0o600, signer.LOCK: 0o600}


def test_only_an_installation_that_never_signed_takes_over_a_log(factory: Factory) -> None:
    factory.send([factory.event(meter(1))])
    integrate.integrate()
    publish.publish()
    last = signer.last_signed()
    assert last is not None
    edge = merkle.RightEdge.from_bytes(last.right_edge)
    with pytest.raises(StateRefused):
        signer.take_over(signed=last.note, edge=edge, number=last.number, at=last.signed_at)
    (settings.METERPROOF["SIGNER_DIR"] / signer.MEMORY).unlink()
    signer.take_over(signed=last.note, edge=edge, number=last.number, at=last.signed_at)
    assert signer.last_signed() == last


def test_every_batch_is_published_as_it_was_signed(factory: Factory) -> None:
    sent = [factory.send([factory.event(meter(number)), factory.event(meter(3))]) for number in (1, 2)]
    integrate.integrate()
    publish.publish()
    names = sorted(path.name for path in (tiles.folder() / tiles.BATCHES).iterdir())
    assert names == sorted(f"{batch.hex()}.json" for batch in Batch.objects.values_list("id", flat=True))
    for appended in sent:
        said = json.loads((tiles.folder() / tiles.BATCHES / f"{appended.batch_id}.json").read_bytes())
        assert said.keys() == {"envelope", "event_hashes"}
        assert said["event_hashes"] == [entry.event_hash.hex() for entry in appended.entries]


def test_a_tile_that_is_gone_is_damage_and_the_full_one_stands_in_for_a_partial(factory: Factory) -> None:
    leaves = [bytes([number % 256]) * 32 for number in range(layout.TILE_WIDTH)]
    whole = tiles.folder() / layout.tile_path(0, 0)
    whole.parent.mkdir(parents=True)
    whole.write_bytes(b"".join(leaves))
    assert tiles.read_tile(0, 0, 3) == b"".join(leaves[:3])
    bundle = tiles.folder() / layout.entries_path(0)
    bundle.parent.mkdir(parents=True)
    bundle.write_bytes(layout.encode_entry_bundle([b"one", b"two", b"three"]))
    assert layout.decode_entry_bundle(tiles.read_entry_bundle(0, 2)) == [b"one", b"two"]
    for path, read in (
        (whole, tiles.read_tile),
        (bundle, lambda _, index, width: tiles.read_entry_bundle(index, width)),
    ):
        path.unlink()
        with pytest.raises(Damaged) as damage:
            read(0, 0, 2)
        assert str(path) in str(damage.value)


def test_redaction_empties_the_entry_wherever_it_is_published(log: object) -> None:
    folder = tiles.folder()
    whole, partial = folder / layout.entries_path(0), folder / layout.entries_path(0, 2)
    short = folder / layout.entries_path(0, 1)
    for path, bodies in ((whole, [b"a", b"b", b"c"]), (partial, [b"a", b"b"]), (short, [b"a"])):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(layout.encode_entry_bundle(bodies))
    for _ in range(2):
        tiles.redact(1)
        assert layout.decode_entry_bundle(whole.read_bytes()) == [b"a", b"", b"c"]
        assert layout.decode_entry_bundle(partial.read_bytes()) == [b"a", b""]
        assert layout.decode_entry_bundle(short.read_bytes()) == [b"a"]


def test_a_hook_that_is_registered_twice_is_called_once(factory: Factory) -> None:
    called = []

    def apply(context: append.AppendContext, entries: Sequence[append.AppendedEntry]) -> None:
        called.append("applier")

    def lock(batch: append.IncomingBatch, begins: bool, held: dict[str, Any]) -> None:
        called.append("lock")

    with append.hooks():
        for _ in range(2):
            append.register_applier("mfg.", apply)
            append.register_lock(lock)
        factory.send([factory.event(meter(1))])
    factory.send([factory.event(meter(1))])
    assert called == ["lock", "applier"]


def test_a_lock_hook_is_told_whether_a_chain_begins(factory: Factory) -> None:
    told = []

    def lock(batch: append.IncomingBatch, begins: bool, held: dict[str, Any]) -> None:
        told.append(begins)

    with append.hooks(locks=[lock]):
        for numbers in ([1], [1], [1, 2], [2, 1]):
            factory.send([factory.event(meter(number)) for number in numbers])
    assert told == [True, False, True, False]


def test_an_event_of_the_platform_has_the_members_of_the_format(factory: Factory) -> None:
    before = factory.send([factory.event(meter(1))]).entries[0].hash
    moment = datetime(2026, 4, 14, 8, tzinfo=UTC)
    evidence = [{"sha256": "00" * 32, "size": 1, "media_type": "text/plain", "name": "a.txt"}]
    with platform_batch(actor=PLATFORM_ACTOR) as log:
        log.record(meter(1), "mfg.checked", {"a": 1}, occurred_at=moment, evidence=evidence, corrects=before)
        log.record(meter(1), "mfg.checked", {})
    assert log.appended is not None
    whole, plain = (entry.event for entry in log.appended.entries)
    assert {name: value for name, value in whole.items() if name != "id"} == {
        "v": 1,
        "type": "mfg.checked",
        "schema": 1,
        "subject": meter(1),
        "occurred_at": "2026-04-14T08:00:00.000000Z",
        "actor": dict(PLATFORM_ACTOR),
        "data": {"a": 1},
        "evidence": evidence,
        "corrects": before.hex(),
    }
    assert whole.keys() - plain.keys() == {"evidence", "corrects"}


def test_a_checkpoint_on_record_with_another_note_is_damage(factory: Factory) -> None:
    integrate.integrate()
    publish.publish()
    shown = tiles.read_checkpoint()
    factory.send([factory.event(meter(1))])
    integrate.integrate()
    size = LogState.objects.get().size

    def forge() -> None:
        CheckpointRow.objects.create(size=size, note="another\n")

    with failpoints.arm("ledger.publish.signed", forge), pytest.raises(Damaged, match=f"checkpoint {size}"):
        publish.publish()
    assert tiles.read_checkpoint() == shown


def test_a_batch_that_loses_every_race_is_a_conflict_and_leaves_nothing(
    factory: Factory, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def lose(*_: object, **__: object) -> bool:
        tried.append(1)
        return False

    monkeypatch.setattr(type(store.current()), "claim_event_keys", lose)
    batches = Batch.objects.count()
    with pytest.raises(Conflict) as conflict:
        factory.send([factory.event(meter(1))])
    assert conflict.value.code == "event.conflict"
    assert len(tried) == append.MAX_SPARED_RACES
    assert Batch.objects.count() == batches


def test_an_entry_may_be_as_large_as_the_format_allows(factory: Factory, monkeypatch: pytest.MonkeyPatch) -> None:
    size = len(factory.send([factory.event(meter(1))]).entries[0].body)
    monkeypatch.setattr(append, "MAX_ENTRY_BYTES", size)
    assert len(factory.send([factory.event(meter(2))]).entries[0].body) == size
    monkeypatch.setattr(append, "MAX_ENTRY_BYTES", size - 1)
    with pytest.raises(Refused):
        factory.send([factory.event(meter(3))])


@pytest.mark.parametrize("left_out", [[1], [0, 1, 2]])
def test_a_batch_sent_again_is_answered_in_full_whatever_is_left_out_now(factory: Factory, left_out: list[int]) -> None:
    """Entries, duplicates and refusals are those of then, also where their events do not come along again."""
    known = factory.event(meter(1))
    first = factory.send([known]).batch_id
    signed = factory.sign([factory.event(meter(1)), factory.event(meter(2)), known])
    then = append.append_batch(received(signed, leave_out=[1]), refused={1: "event.value"})
    again = append.append_batch(
        received(signed, leave_out=left_out), refused=dict.fromkeys(left_out, "event.type_unknown")
    )
    assert again.replay
    assert (again.duplicates, again.refused) == ([(2, first)], [(1, "event.value")])
    assert again.entries == then.entries
    assert (again.receipt, again.spelled) == (then.receipt, then.spelled)


def test_a_round_ends_with_the_batch_that_fills_it(factory: Factory, monkeypatch: pytest.MonkeyPatch) -> None:
    integrate.integrate()
    for size in (2, 2, 1, 5, 1):
        factory.send([factory.event(meter(number)) for number in range(size)])
    monkeypatch.setattr(integrate, "ENTRIES_A_ROUND", 4)
    sizes = []
    with failpoints.arm("ledger.integrate.state", lambda: sizes.append(LogState.objects.get().size)):
        assert integrate.integrate() == 11
    assert sizes == [7, 13, 14]


def test_without_a_log_there_is_nothing_to_integrate(alone: None, db: None) -> None:
    assert integrate.integrate() == 0


def test_a_clock_that_jumped_signs_nothing(factory: Factory) -> None:
    integrate.integrate()
    now = clock.now()
    with clock.use(lambda: now + timedelta(hours=25)), pytest.raises(ClockJumped):
        publish.publish()
    assert signer.last_signed() is None
    assert tiles.read_checkpoint() is None


def test_who_publishes_is_told_what_is_published(factory: Factory) -> None:
    for publisher in (publish.publish, publish.rebuild):
        factory.send([factory.event(meter(1))])
        integrate.integrate()
        checkpoint, state = publisher(), LogState.objects.get()
        assert checkpoint is not None
        assert (checkpoint.size, checkpoint.root) == (state.size, state.root)
        assert str(tiles.read_checkpoint()).startswith(checkpoint.to_text())
        assert publisher() is None


def test_the_folder_is_the_same_in_pieces_of_any_size(factory: Factory, monkeypatch: pytest.MonkeyPatch) -> None:
    factory.send([factory.event(meter(number)) for number in range(2 * layout.TILE_WIDTH + 1)])
    integrate.integrate()
    size = LogState.objects.get().size
    tiles.extend(0, size)
    whole = {path: path.read_bytes() for path in tiles.folder().rglob("*") if path.is_file()}
    shutil.rmtree(tiles.folder())
    monkeypatch.setattr(tiles, "PIECE", layout.TILE_WIDTH)
    tiles.extend(0, size)
    pieces = {path: path.read_bytes() for path in tiles.folder().rglob("*") if path.is_file()}
    assert whole.items() <= pieces.items()
    assert tiles.root(size) == LogState.objects.get().root
