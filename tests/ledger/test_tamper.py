"""The tamper drill: whatever a database administrator edits, deletes, inserts or swaps, fsck finds it and says where.

G3, T12, F15. The guards are taken down first, as an administrator would; they are a fence, not the proof. What cannot
be found without an outside checkpoint stands in docs/ledger.md.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection, models

from compliance.ledger import integrate, publish, setup, signer, startup, tasks
from compliance.ledger.append import append_batch
from compliance.ledger.drill import rows
from compliance.ledger.drill.files import HARMS
from compliance.ledger.drill.histories import cut, forge_state, rewritten
from compliance.ledger.drill.rows import write
from compliance.ledger.drill.trial import RefusedByDatabase, problems, run, take_down_guards, undone
from compliance.ledger.errors import LedgerError, StateRefused
from compliance.ledger.models import Anchoring, Batch, Entry, Head, LeafRange, LogState, Pending, Receipt
from compliance.ledger.models import Checkpoint as CheckpointRow
from compliance.proof.errors import ProofError
from compliance.proof.subject import key_of
from compliance.proof.verify import verify_file
from tests.ledger.world import Factory, found, meter, received, stamp_all

pytestmark = [pytest.mark.slow, pytest.mark.django_db, pytest.mark.both_engines]


@pytest.fixture
def drill(alone: None, log: Path) -> Factory:
    """A log with every kind of row: several checkpoints, duplicates, refusals, a batch that waits. Guards are down."""
    factory = Factory()
    known = factory.event(meter(0))
    factory.send([known, *(factory.event(meter(number % 40)) for number in range(1, 290))])
    integrate.integrate()
    publish.publish()
    tasks.anchor()
    signed = factory.sign([factory.event(meter(1)), known, factory.event(meter(2)), factory.event(meter(1))])
    append_batch(received(signed, leave_out=[2]), refused={2: "event.value"})
    factory.send([known])
    integrate.integrate()
    publish.publish()
    tasks.anchor()
    factory.send([factory.event(meter(3)), factory.event(meter(99))])
    factory.send([factory.event(meter(3))])
    assert found() == []
    take_down_guards()
    return factory


@pytest.mark.parametrize("model", rows.TABLES, ids=lambda model: model._meta.db_table)
def test_whatever_is_done_to_rows_is_found(drill: Factory, model: type[models.Model]) -> None:
    """Each column edited, rows deleted, added, and columns swapped between two rows: found, with the place."""
    trials = list(rows.trials(model))
    done = {trial.kind for trial in trials}
    assert done >= {"edit", "delete", "insert"}
    edited = {trial.target.partition(".")[2] for trial in trials if trial.kind == "edit"}
    assert edited == {str(field.column) for field in model._meta.concrete_fields}
    refused = []
    for trial in trials:
        if trial.target == rows.OF_ITS_ROOM:
            continue  # these chains are of no room: tests/custody/test_meter_memory.py
        try:
            outcome = run(trial)
        except RefusedByDatabase:
            refused.append(trial)
            continue
        assert outcome.problems, f"{trial.what} was not found"
        assert outcome.named, f"{trial.what} was found, but the place was not named: {outcome.problems[:5]}"
    one_row = {(trial.kind, trial.target.partition(".")[2]) for trial in refused if trial.kind != "swap"}
    assert one_row == ({("edit", "id"), ("insert", "")} if model in (LogState, Anchoring) else set())
    assert problems() == []


def test_a_second_row_where_there_is_one_is_found(drill: Factory) -> None:
    """The database refuses it, until somebody takes the constraint down."""
    with undone(), without_constraints():
        for model in (LogState, Anchoring):
            row = model.objects.get()
            row.pk = 2
            row.save(force_insert=True)
        assert {problem.place for problem in problems()} == {"log_state 2", "anchoring 2"}


@contextmanager
def without_constraints() -> Iterator[None]:
    """The database takes rows that its checks forbid. On PostgreSQL whoever calls rolls back."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            for model in (LogState, Anchoring):
                table, (constraint,) = model._meta.db_table, model._meta.constraints
                cursor.execute(f"ALTER TABLE {table} DROP CONSTRAINT {constraint.name}")
            yield
            return
        cursor.execute("PRAGMA ignore_check_constraints = 1")
        try:
            yield
        finally:
            cursor.execute("PRAGMA ignore_check_constraints = 0")


def test_deleting_either_row_of_a_batch_without_entries_is_found(drill: Factory) -> None:
    silent = Batch.objects.exclude(id__in=Entry.objects.values("batch")).get()
    for either in (Batch.objects.filter(id=silent.id), Receipt.objects.filter(batch=silent.id)):
        with undone():
            either.delete()
            assert any(silent.id.hex() in problem.place for problem in problems())


def test_a_chain_rewritten_with_all_its_hashes_is_found(drill: Factory) -> None:
    """Level L1: body, hashes, head and state all fit; the tree does not."""
    with undone():
        prev = None
        for row in Entry.objects.filter(subject=key_of(meter(5))).order_by("seq"):
            rewritten(row, prev)
            row.save(force_update=True)
            prev = row.hash
        Head.objects.filter(subject=key_of(meter(5))).update(hash=prev)
        forge_state()
        codes = {problem.code for problem in problems()}
        assert {"tile.hash", "checkpoint.root", "entries.wrong", "receipt.entries"} <= codes
        assert any(problem.place.startswith("tile/0/") and "leaf" in problem.detail for problem in problems())
        with pytest.raises(StateRefused):
            startup.compare_with_signer()


def test_a_tail_cut_with_everything_that_belongs_to_it_is_found(drill: Factory) -> None:
    """Level L2: the database is of one piece again, only the signer knows that there was more."""
    with undone():
        last = LeafRange.objects.order_by("-first_index")[0]
        gone = [last.batch, *Pending.objects.values_list("batch", flat=True)]
        cut(gone)
        CheckpointRow.objects.order_by("-size")[0].delete()
        forge_state()
        codes = {problem.code for problem in problems()}
        assert {"checkpoint.row", "checkpoint.missing", "file.unexpected"} <= codes
        with pytest.raises(StateRefused, match="older than the log that was signed"):
            startup.compare_with_signer()


def test_a_tail_cut_before_it_was_indexed_is_known_to_its_sender_alone(drill: Factory) -> None:
    """Said in the docs: only the receipt shows it. This test keeps the sentence true, so that nobody promises more."""
    with undone():
        cut(list(Pending.objects.values_list("batch", flat=True)))
        assert problems() == []


# Files


Harm = tuple[str, Callable[[Path], object]]


@pytest.mark.parametrize("harm", HARMS, ids=lambda harm: harm[0])
def test_every_damaged_file_of_the_log_is_found(drill: Factory, harm: Harm) -> None:
    folder = settings.METERPROOF["LOG_DIR"]
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        before = path.read_bytes()
        harm[1](path)
        name = path.relative_to(folder).as_posix()
        named = [problem for problem in problems() if name in problem.place]
        assert named, f"{name} {harm[0]} and not found, or not named: {problems()[:5]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(before)
    assert problems() == []


def test_a_stranger_finds_every_damaged_file(factory: Factory) -> None:
    """With nothing but the published files and the trust folder, and told which file it is."""
    factory.register()
    for size in (3, 260):
        factory.send([factory.event(meter(number)) for number in range(size)])
        integrate.integrate()
        publish.publish()
    stamp_all()
    folder, trust = settings.METERPROOF["LOG_DIR"], settings.METERPROOF["TRUST_DIR"]
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    assert {path.relative_to(folder).parts[0] for path in files} == {
        "batches",
        "checkpoint",
        "checkpoint.anchored",
        "checkpoint.tsr",
        "tile",
    }
    for path in files:
        name, before = path.relative_to(folder).as_posix(), path.read_bytes()
        for harm in HARMS:
            harm[1](path)
            error = verify_file(folder, trust).error
            assert error is not None, f"{name} {harm[0]} and not found"
            assert told_where(name, error), f"{name} {harm[0]}: {error}"
            path.write_bytes(before)
    assert verify_file(folder, trust).error is None


def told_where(name: str, error: ProofError) -> bool:
    """Whether the place is the file: by its path, its batch, its tile, or as the checkpoint's own reason."""
    if name == "checkpoint":
        return error.code.startswith(("note.", "checkpoint.", "tile.", "file."))
    said = f"{error.place} {error.detail}"
    return name in said or Path(name).stem in said


def test_swapped_and_added_files_are_found(drill: Factory) -> None:
    folder = settings.METERPROOF["LOG_DIR"]
    first, second = sorted((folder / "batches").iterdir())[:2]
    mine, theirs = first.read_bytes(), second.read_bytes()
    first.write_bytes(theirs)
    second.write_bytes(mine)
    assert {first.name, second.name} <= {problem.place.removeprefix("batches/") for problem in problems()}
    first.write_bytes(mine)
    second.write_bytes(theirs)
    for added in ("tile/0/007", "tile/0/000.p/300", "tile/0/001.p/250", "tile/9/000", "notes.txt", "batches/00.json"):
        (folder / added).parent.mkdir(parents=True, exist_ok=True)
        (folder / added).write_bytes(b"x")
        assert added in [problem.place for problem in problems()], added
        (folder / added).unlink()
    (folder / "tile/0/.000.0123456789abcdef").write_bytes(b"half a tile, left by a crash")
    assert problems() == []


def test_an_older_checkpoint_in_place_of_the_published_one_is_found(drill: Factory) -> None:
    oldest = CheckpointRow.objects.order_by("size")[0]
    (settings.METERPROOF["LOG_DIR"] / "checkpoint").write_text(oldest.note)
    assert [problem.code for problem in problems()] == ["checkpoint.file"]


def test_a_note_under_another_key_is_found(drill: Factory) -> None:
    """Whoever has the database and the files, but not the key, cannot make a checkpoint."""
    from compliance.proof import note
    from compliance.proof.keys import PrivateKey
    from compliance.proof.note import NoteSigner

    last = CheckpointRow.objects.order_by("-size")[0]
    text = note.split(last.note)[0]
    forged = note.sign(text, [NoteSigner(settings.METERPROOF["ORIGIN"], PrivateKey.generate())])
    with undone():
        write(last, "note", forged)
        (settings.METERPROOF["LOG_DIR"] / "checkpoint").write_text(forged)
        memory = settings.METERPROOF["SIGNER_DIR"] / signer.MEMORY
        memory.write_text(json.dumps(json.loads(memory.read_text()) | {"note": forged}))
        assert "note.unknown_key" in {problem.code for problem in problems()}


@pytest.mark.parametrize("harm", HARMS, ids=lambda harm: harm[0])
def test_a_damaged_signer_memory_is_found(drill: Factory, harm: Harm) -> None:
    harm[1](settings.METERPROOF["SIGNER_DIR"] / signer.MEMORY)
    assert any("signer" in problem.place for problem in problems())
    with pytest.raises(LedgerError):
        startup.compare_with_signer()


# Bytes that are gone


def test_bytes_are_only_gone_where_an_entry_says_why(drill: Factory) -> None:
    row = Entry.objects.get(subject=key_of(meter(5)), seq=2)
    leaf = (
        LeafRange.objects.get(batch=row.batch).first_index
        + Entry.objects.filter(batch=row.batch, index__lt=row.index).count()
    )
    write(row, "body", b"")
    assert "redaction.unexplained" in {problem.code for problem in problems()}
    from compliance.ledger.platform_log import platform_batch

    with platform_batch(actor=setup.PLATFORM_ACTOR) as log:
        log.record(
            f"log:origin:{settings.METERPROOF['ORIGIN']}",
            "entry.redacted",
            {
                "subject": meter(5),
                "seq": 2,
                "hash": row.hash.hex(),
                "leaf": leaf,
                "authority": "a court",
                "reason": "case 1",
            },
        )
    remaining = {problem.code for problem in problems()}
    assert remaining == {"entries.wrong"}, "the published bundle still has the bytes"
