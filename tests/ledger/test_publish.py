"""From committed batches to a log that strangers verify."""

import itertools
import json
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings

from compliance.jobs import clock
from compliance.ledger import integrate, key_history, proofs, publish, selectors, signer, startup, tasks, tiles
from compliance.ledger.errors import Damaged, SignerRefused, StateRefused
from compliance.ledger.models import Checkpoint as CheckpointRow
from compliance.ledger.models import Entry, LeafRange, LogState, Pending
from compliance.proof import cose_receipt, layout, merkle, note, tile_proofs
from compliance.proof.checkpoint import Checkpoint
from compliance.proof.note import NoteVerifier
from compliance.proof.verify import verify_file
from compliance.proof.witness_protocol import AddCheckpoint
from tests.ledger.world import Factory, found, meter

pytestmark = [pytest.mark.django_db, pytest.mark.both_engines]


def put_on_record(factory: Factory, *sizes: int) -> None:
    """Batches of these sizes, each integrated and published by itself."""
    for size in sizes:
        factory.send([factory.event(meter(number % 50)) for number in range(size)])
        integrate.integrate()
        publish.publish()


def test_integration_follows_the_order_of_commits(factory: Factory) -> None:
    factory.send([factory.event(meter(1)), factory.event(meter(2))])
    factory.send([factory.event(meter(1))])
    assert selectors.leaf_index(meter(1), 0) is None
    assert integrate.integrate() == 6  # three of the first batch of the log, and these
    assert [
        selectors.leaf_index(meter(1), 0),
        selectors.leaf_index(meter(2), 0),
        selectors.leaf_index(meter(1), 1),
    ] == [
        3,
        4,
        5,
    ]
    assert integrate.integrate() == 0
    assert not Pending.objects.exists()


def test_consistency_between_any_two_published_sizes(factory: Factory) -> None:
    """Also where partial tiles were taken over by full ones: every pair of checkpoints, as proof and as receipt."""
    put_on_record(factory, 3, 200, 100, 250, 1)
    roots = {
        row.size: Checkpoint.from_text(note.split(row.note)[0]).root for row in CheckpointRow.objects.order_by("size")
    }
    assert len(roots) == 5
    assert {size // 256 for size in roots} == {0, 1, 2}
    receipt_keys = key_history.read().receipt_keys
    for old, new in itertools.combinations(roots, 2):
        proof = AddCheckpoint.from_bytes(proofs.consistency_proof(old, new))
        assert Checkpoint.from_text(note.split(proof.checkpoint)[0]).root == roots[new]
        merkle.verify_consistency(
            first_size=old, second_size=new, first_root=roots[old], second_root=roots[new], path=proof.proof
        )
        read = cose_receipt.read(proofs.consistency_receipt(old, new))
        assert isinstance(read, cose_receipt.ConsistencyReceipt)
        assert read.verify(receipt_keys, log=settings.METERPROOF["ORIGIN"], first_root=roots[old]) == roots[new]
    for first, second in [(0, 5), (new, old), (old, new + 1)]:
        with pytest.raises(proofs.NotPublished):
            proofs.consistency_receipt(first, second)


def test_the_root_is_that_of_all_entries_in_their_order(factory: Factory) -> None:
    put_on_record(factory, 3, 1, 300)
    hashes = [
        entry.hash
        for item in LeafRange.objects.order_by("first_index")
        for entry in Entry.objects.filter(batch=item.batch).order_by("index")
    ]
    state = LogState.objects.get()
    assert (state.size, state.root) == (len(hashes), merkle.root(hashes))


def test_a_batch_without_new_events_takes_no_place(factory: Factory) -> None:
    factory.send([known := factory.event(meter(1))])
    factory.send([known])
    assert integrate.integrate() == 4
    assert LeafRange.objects.count() == 2


def test_many_waiting_batches_are_taken_in_rounds(factory: Factory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(integrate, "BATCHES_A_ROUND", 3)
    for _ in range(10):
        factory.send([factory.event(meter(1))])
    assert integrate.integrate() == 13
    assert found() == []


def test_the_integrator_stops_at_bytes_that_do_not_fit(factory: Factory) -> None:
    """It never trusts a stored hash or column. Guards are down here only as far as INSERT goes: rows are forged,
    not changed.
    """
    factory.send([factory.event(meter(1))])
    entry = Entry.objects.get(subject=Entry.objects.order_by("recorded_at").last().subject)  # type: ignore[union-attr]
    forged = Entry(
        subject=entry.subject, seq=1, prev=entry.hash, hash=entry.hash, body=entry.body, batch=b"f" * 32, index=0,
        recorded_at=entry.recorded_at,
    )  # fmt: skip
    forged.save(force_insert=True)
    Pending.objects.create(batch=b"f" * 32, recorded_at=entry.recorded_at + timedelta(seconds=1))
    with pytest.raises(Damaged) as stop:
        integrate.integrate()
    assert f"{entry.subject.hex()}/1" in stop.value.place
    assert LogState.objects.get().size == 0


def test_published_files_are_those_of_c2sp(factory: Factory) -> None:
    """70,000 entries would take long; the rules are the same at 256 and 257: full tiles, partial ones, a level
    above.
    """
    put_on_record(factory, 253)
    folder = settings.METERPROOF["LOG_DIR"]
    assert sorted(path.relative_to(folder).as_posix() for path in (folder / "tile").rglob("*") if path.is_file()) == [
        "tile/0/000",
        "tile/1/000.p/1",
        "tile/entries/000",
    ]
    put_on_record(factory, 1)
    wanted = {layout.tile_path(*tile) for tile in layout.tiles_of(257)} | {"tile/entries/000", "tile/entries/001.p/1"}
    assert {path.relative_to(folder).as_posix() for path in (folder / "tile").rglob("*") if path.is_file()} == wanted
    assert (folder / "tile/0/000").stat().st_size == 256 * 32
    bundle = layout.decode_entry_bundle((folder / "tile/entries/000").read_bytes())
    assert [merkle.leaf_hash(body) for body in bundle] == layout.split_tile((folder / "tile/0/000").read_bytes())
    assert tile_proofs.root(tiles.read_tile, 257) == LogState.objects.get().root


def test_every_published_size_stays_provable(factory: Factory) -> None:
    put_on_record(factory, 7, 200, 100, 600)
    roots = {0: merkle.EMPTY_ROOT} | {
        row.size: selectors.checkpoint_at(row.size).root for row in CheckpointRow.objects.all()
    }  # type: ignore[union-attr]
    for first, first_root in roots.items():
        assert tiles.root(first) == first_root
        for second, second_root in roots.items():
            if first <= second:
                merkle.verify_consistency(
                    first_size=first,
                    second_size=second,
                    first_root=first_root,
                    second_root=second_root,
                    path=tile_proofs.consistency_path(tiles.read_tile, first, second),
                )


def test_checkpoint_is_signed_by_the_log_key_in_the_trust_folder(factory: Factory) -> None:
    put_on_record(factory, 5)
    vkey = (settings.METERPROOF["TRUST_DIR"] / "log.vkey").read_text().strip()
    text = (settings.METERPROOF["LOG_DIR"] / "checkpoint").read_text()
    checkpoint = Checkpoint.from_text(note.open_note(text, [NoteVerifier.from_vkey(vkey)]).text)
    latest = selectors.latest_checkpoint()
    assert latest is not None
    assert (
        (latest.note, latest.size, latest.root) == (text, checkpoint.size, checkpoint.root) == (text, 8, tiles.root(8))
    )
    assert latest.published_at is not None
    assert abs(latest.published_at - clock.now()) < timedelta(minutes=1)


def test_nothing_new_means_nothing_signed(factory: Factory) -> None:
    put_on_record(factory, 5)
    before = signer.last_signed()
    assert publish.publish() is None
    assert signer.last_signed() == before


def test_the_log_folder_verifies_offline(factory: Factory) -> None:
    factory.register()
    put_on_record(factory, 10, 300)
    verdict = verify_file(settings.METERPROOF["LOG_DIR"], settings.METERPROOF["TRUST_DIR"])
    assert verdict.error is None, verdict.error
    command = [sys.executable, "-m", "compliance.proof", "verify", settings.METERPROOF["LOG_DIR"]]
    done = subprocess.run(
        [*command, "--policy", settings.METERPROOF["TRUST_DIR"]],
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "VERIFIED" in done.stdout


def test_files_can_be_derived_from_rows_again(factory: Factory) -> None:
    put_on_record(factory, 7, 200, 100, 300, 50, 100)  # past the second full tile: level 1 has two partial ones
    folder = settings.METERPROOF["LOG_DIR"]
    before = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    shutil.rmtree(folder)
    assert publish.rebuild() is None
    after = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert after == before


def test_a_file_with_other_bytes_stops_the_publisher(factory: Factory) -> None:
    put_on_record(factory, 300)
    path = settings.METERPROOF["LOG_DIR"] / "tile/1/000.p/1"
    path.write_bytes(b"x" * 32)
    factory.send([factory.event(meter(1))])
    integrate.integrate()
    with pytest.raises(Damaged):
        publish.publish()
    assert CheckpointRow.objects.count() == 1


def test_a_checkpoint_that_was_signed_but_not_shown_is_shown_next_time(factory: Factory) -> None:
    put_on_record(factory, 5)
    before = signer.last_signed()
    assert before is not None
    put_on_record(factory, 5)
    newest = signer.last_signed()
    assert newest is not None
    (settings.METERPROOF["LOG_DIR"] / "checkpoint").write_text(before.note)
    assert publish.publish() is None
    assert (settings.METERPROOF["LOG_DIR"] / "checkpoint").read_text() == newest.note


# The signer


def edge_of(*hashes: bytes) -> merkle.RightEdge:
    """The right edge of a tree of these leaves."""
    edge = merkle.RightEdge()
    edge.extend(hashes)
    return edge


def log_keys() -> tuple[NoteVerifier, ...]:
    """The keys of a log that is not published yet."""
    return key_history.read().verifiers


LEAVES = [bytes([number]) * 32 for number in range(20)]


@pytest.fixture
def signed(log: Path) -> Checkpoint:
    """A signer that has signed eight leaves."""
    with signer.exclusive(wait=True):
        signer.sign(expected=None, edge=edge_of(*LEAVES[:8]), consistency=[], at=clock.now(), verifiers=log_keys())
    last = signer.last_signed()
    assert last is not None
    return last.checkpoint


def refused(expected: Checkpoint, leaves: list[bytes], consistency: list[bytes], **at: float) -> str:
    """Why the signer refuses this."""
    with signer.exclusive(wait=True), pytest.raises(SignerRefused) as refusal:
        signer.sign(
            expected=expected,
            edge=edge_of(*leaves),
            consistency=consistency,
            at=clock.now() + timedelta(**at),
            verifiers=log_keys(),
        )
    last = signer.last_signed()
    assert last is not None
    assert last.checkpoint == expected
    return str(refusal.value)


def test_signer_goes_on_from_what_it_signed(signed: Checkpoint) -> None:
    with signer.exclusive(wait=True):
        signer.sign(
            expected=signed,
            edge=edge_of(*LEAVES),
            consistency=merkle.consistency_path(LEAVES, 8),
            at=clock.now(),
            verifiers=log_keys(),
        )
    last = signer.last_signed()
    assert last is not None
    assert (last.checkpoint.size, last.number) == (20, 2)


def test_signer_refuses_what_does_not_follow(signed: Checkpoint) -> None:
    """T12, T13, T17: smaller, forked, without proof, with the clock set back."""
    right = merkle.consistency_path(LEAVES, 8)
    assert "shrank" in refused(signed, LEAVES[:7], [])
    assert "another root" in refused(signed, LEAVES[1:9], [])
    assert "not a continuation" in refused(signed, LEAVES, [])
    forked = [b"\xff" * 32, *LEAVES[1:]]
    assert "not a continuation" in refused(signed, forked, merkle.consistency_path(forked, 8))
    assert "clock went back" in refused(signed, LEAVES, right, seconds=-60)


def test_signer_compares_and_swaps(signed: Checkpoint) -> None:
    """Two publishers that both think the log ends at zero: the second is refused."""
    with signer.exclusive(wait=True), pytest.raises(SignerRefused, match="last signed a log of 8"):
        signer.sign(expected=None, edge=edge_of(*LEAVES), consistency=[], at=clock.now(), verifiers=log_keys())


def test_only_one_holds_the_signer(log: Path) -> None:
    with signer.exclusive(wait=True) as first, signer.exclusive(wait=False) as second:
        assert first
        assert not second
    with signer.exclusive(wait=False) as third:
        assert third


@pytest.mark.parametrize("member", ["origin", "size", "root", "right_edge", "note", "signed_at", "number"])
def test_an_edited_memory_is_not_believed(signed: Checkpoint, member: str) -> None:
    path = settings.METERPROOF["SIGNER_DIR"] / signer.MEMORY
    memory = json.loads(path.read_text())
    memory[member] = 7 if member in ("size", "number") else memory[member][:-3]
    path.write_text(json.dumps(memory))
    if member == "number":
        assert any(problem.code == "checkpoint.missing" for problem in found())
    else:
        with pytest.raises(StateRefused):
            signer.last_signed()


# Starting


def test_a_lost_memory_stops_everything(factory: Factory) -> None:
    put_on_record(factory, 5)
    shutil.rmtree(settings.METERPROOF["SIGNER_DIR"])
    with pytest.raises(StateRefused, match="does not remember"):
        startup.verify_state()
    with pytest.raises(StateRefused):
        publish.publish()


def test_another_origin_stops_everything(factory: Factory, settings: object) -> None:
    put_on_record(factory, 5)
    settings.METERPROOF = {**settings.METERPROOF, "ORIGIN": "other.example/log"}  # type: ignore[attr-defined]
    with pytest.raises(StateRefused, match="keeps its origin for ever"):
        startup.verify_state()


def test_a_memory_older_than_the_published_file_stops_everything(factory: Factory) -> None:
    put_on_record(factory, 5)
    memory = settings.METERPROOF["SIGNER_DIR"] / signer.MEMORY
    old = memory.read_bytes()
    put_on_record(factory, 5)
    memory.write_bytes(old)
    with pytest.raises(StateRefused, match=r"Put .* back"):
        startup.verify_state()


def test_everything_in_order_may_start(factory: Factory) -> None:
    put_on_record(factory, 5)
    factory.send([factory.event(meter(1))])
    integrate.integrate()
    startup.verify_state()


# The worker


def test_the_worker_integrates_and_publishes(factory: Factory) -> None:
    factory.send([factory.event(meter(1))])
    tasks.integrate_and_publish()
    latest = selectors.latest_checkpoint()
    assert latest is not None
    assert latest.size == 4


def test_the_worker_does_nothing_before_there_is_a_log(db: None) -> None:
    tasks.integrate_and_publish()
    assert selectors.latest_checkpoint() is None
