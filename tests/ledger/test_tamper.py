"""The tamper drill: whatever a database administrator edits, deletes, inserts or swaps, fsck finds it and says where.

G3, T12, F15. The guards are taken down first, as an administrator would; they are a fence, not the proof. What cannot
be found without an outside checkpoint stands in docs/ledger.md.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import IntegrityError, connection, models, transaction

from compliance.ledger import integrate, publish, setup, signer, startup, tasks
from compliance.ledger.append import append_batch
from compliance.ledger.errors import LedgerError, StateRefused
from compliance.ledger.models import (
    INSERT_ONLY,
    Batch,
    Entry,
    EventKey,
    Head,
    LeafRange,
    LogState,
    Pending,
    Receipt,
    TimeToken,
)
from compliance.ledger.models import Checkpoint as CheckpointRow
from compliance.proof import entry as entry_format
from compliance.proof import merkle
from compliance.proof.canonical import encode
from compliance.proof.errors import ProofError
from compliance.proof.subject import key_of
from compliance.proof.verify import verify_file
from tests.conftest import take_down_guards
from tests.ledger.world import Factory, found, meter, received

pytestmark = [pytest.mark.django_db, pytest.mark.both_engines]

TABLES: tuple[type[models.Model], ...] = (*INSERT_ONLY, Head, LogState, Pending)
NOT_DERIVED = {(LogState, "seen_at")}  # a sign of life of the clock guard; nothing is claimed by it


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


@contextmanager
def undone() -> Iterator[None]:
    """Everything inside is rolled back."""
    point = transaction.savepoint()
    try:
        yield
    finally:
        transaction.savepoint_rollback(point)


def problems() -> list[Any]:
    """What fsck finds besides the guards that the drill took down."""
    return [problem for problem in found() if problem.code != "guard.missing"]


def changed(value: Any) -> Any:
    """Another value of the same type."""
    if isinstance(value, bytes):
        return value[:-1] + bytes([value[-1] ^ 1]) if value else b"\x01"
    if isinstance(value, datetime):
        return value + timedelta(seconds=1)
    if isinstance(value, int):
        return value + 1_000
    if isinstance(value, str):
        return value[:-3] + ("A" if value[-3] != "A" else "B") + value[-2:]
    return b"\x01" * 32  # prev of a first entry


def name_of(row: models.Model) -> str:
    """How fsck names the row."""
    match row:
        case Entry():
            return f"entry {row.subject.hex()}/{row.seq}"
        case Batch():
            return row.id.hex()
        case EventKey():
            return f"{row.subject.hex()}/{row.seq}"
        case Receipt() | Pending():
            return row.batch.hex()
        case LeafRange():
            return f"leaf_range {row.first_index}"
        case CheckpointRow():
            return f"checkpoint {row.size}"
        case TimeToken():
            return f"time_token {row.number}"
        case Head():
            return f"{row.subject.hex()}"
        case _:
            return "log_state"


def columns_of(model: type[models.Model]) -> list[Any]:
    return [field for field in model._meta.concrete_fields if (model, field.name) not in NOT_DERIVED]


def sample(model: type[models.Model]) -> list[Any]:
    """First, middle and last row, in the order of the key."""
    rows = list(model._default_manager.order_by("pk"))
    return [rows[position] for position in sorted({0, len(rows) // 2, len(rows) - 1})]


def write(row: models.Model, column: str, value: Any) -> None:
    """UPDATE one column of one row, past the ORM's opinion of keys."""
    fields = row._meta.pk_fields
    table = connection.ops.quote_name(row._meta.db_table)
    where = " AND ".join(f"{connection.ops.quote_name(str(field.column))} = %s" for field in fields)
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {table} SET {connection.ops.quote_name(column)} = %s WHERE {where}",  # noqa: S608
            [_adapted(value), *(_adapted(getattr(row, field.name)) for field in fields)],
        )
        assert cursor.rowcount == 1


def _adapted(value: Any) -> Any:
    return connection.ops.adapt_datetimefield_value(value) if isinstance(value, datetime) else value


def assert_found(what: str, *rows: models.Model) -> None:
    """fsck reports something, and one report names one of the rows, or an entry or place that they stand for."""
    reports = problems()
    assert reports, f"{what} was not found"
    places = " ".join(f"{problem.place} {problem.detail}" for problem in reports)
    assert any(name in places for row in rows for name in (name_of(row), *also_named(row))), (
        f"{what} was found, but the place was not named: {reports[:5]}"
    )


def also_named(row: models.Model) -> list[str]:
    """Other names of the same thing: the batch of an entry, the chain of a head."""
    match row:
        case EventKey():
            return [row.key.hex()]
        case LeafRange():
            return [row.batch.hex(), f"(leaf {row.first_index})"]
        case Entry():
            return [f"{row.subject.hex()}/{row.seq + 1}", f"(batch {row.batch.hex()[:16]}, index {row.index})"]
        case Pending():
            return [f"entry {entry.subject.hex()}/{entry.seq}" for entry in Entry.objects.filter(batch=row.batch)]
        case Receipt():
            return [row.batch.hex()]
        case CheckpointRow():
            return ["one before it is missing", f"checkpoint {changed(row.size)}"]
        case TimeToken():
            return [f"time_token {row.number + 1}"]
        case _:
            return []


@pytest.mark.parametrize("model", TABLES, ids=lambda model: model._meta.db_table)
def test_every_edited_column_is_found(drill: Factory, model: type[models.Model]) -> None:
    for row in sample(model):
        for column in columns_of(model):
            if model is LogState and column.name == "id":
                continue  # a constraint of the table keeps it at 1
            with undone():
                write(row, str(column.column), changed(getattr(row, column.name)))
                assert_found(f"{model.__name__}.{column.name} edited in {name_of(row)}", row)
    assert problems() == []


@pytest.mark.parametrize("model", TABLES, ids=lambda model: model._meta.db_table)
def test_every_deleted_row_is_found(drill: Factory, model: type[models.Model]) -> None:
    for row in sample(model):
        if model in (Batch, Receipt) and not Entry.objects.filter(batch=getattr(row, "batch", row.pk)).exists():
            continue  # of a batch without entries only its sender's receipt can tell; both rows are tried alone below
        named = [name_of(row), *also_named(row)]
        with undone():
            model._default_manager.filter(pk=row.pk).delete()
            reports = problems()
            assert reports, f"{name_of(row)} deleted and not found"
            places = " ".join(f"{problem.place} {problem.detail}" for problem in reports)
            assert any(name in places for name in named), reports[:5]


def test_deleting_either_row_of_a_batch_without_entries_is_found(drill: Factory) -> None:
    silent = Batch.objects.exclude(id__in=Entry.objects.values("batch")).get()
    for rows in (Batch.objects.filter(id=silent.id), Receipt.objects.filter(batch=silent.id)):
        with undone():
            rows.delete()
            assert_found("half a batch deleted", silent)


@pytest.mark.parametrize("model", TABLES, ids=lambda model: model._meta.db_table)
def test_every_inserted_row_is_found(drill: Factory, model: type[models.Model]) -> None:
    """A copy of a row under another key."""
    if model is LogState:
        return  # a constraint of the table keeps it at one row
    for row in sample(model):
        copy = model(**{field.name: getattr(row, field.name) for field in model._meta.concrete_fields})
        keys = {field.name for field in model._meta.pk_fields} | {
            field.name for field in model._meta.concrete_fields if field.unique and field.name != "pk"
        }
        for name in keys:
            setattr(copy, name, changed(getattr(row, name)))
        with undone():
            copy.save(force_insert=True)
            assert_found(f"a forged {model.__name__}", copy, row)


@pytest.mark.parametrize("model", TABLES, ids=lambda model: model._meta.db_table)
def test_every_swapped_column_is_found(drill: Factory, model: type[models.Model]) -> None:
    """The values of one column exchanged between two rows, keys included."""
    rows = sample(model)
    if len(rows) < 2:
        return
    first, second = rows[0], rows[-1]
    for column in columns_of(model):
        mine, theirs = getattr(first, column.name), getattr(second, column.name)
        if mine == theirs:
            continue
        with suppress(IntegrityError), undone():  # the unique index refuses some of these by itself
            if column.unique or column.name in {field.name for field in model._meta.pk_fields}:
                write(first, str(column.column), changed(theirs))  # out of the way of the unique index
                moved = type(first)._default_manager.get(
                    **{
                        field.name: getattr(first, field.name) if field.name != column.name else changed(theirs)
                        for field in model._meta.pk_fields
                    }
                )
                write(second, str(column.column), mine)
                write(moved, str(column.column), theirs)
            else:
                write(first, str(column.column), theirs)
                write(second, str(column.column), mine)
            assert_found(f"{model.__name__}.{column.name} swapped", first, second)


def rewritten(row: Entry, prev: bytes | None) -> Entry:
    """The entry with another salt and this `prev`, hash and columns made to fit."""
    value = entry_format.read(row.body) | {"salt": "00" * 16, "prev": None if prev is None else prev.hex()}
    row.body = encode(value)
    row.prev, row.hash = prev, merkle.leaf_hash(row.body)
    return row


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


def forge_state() -> None:
    """Make the integrator's state fit the entries as they are now."""
    edge = merkle.RightEdge()
    for item in LeafRange.objects.order_by("first_index"):
        edge.extend(list(Entry.objects.filter(batch=item.batch).order_by("index").values_list("hash", flat=True)))
    LogState.objects.update(size=edge.size, root=edge.root(), right_edge=edge.to_bytes())


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


def cut(batches: list[bytes]) -> None:
    """Remove batches with all their rows and set heads back."""
    touched = set(Entry.objects.filter(batch__in=batches).values_list("subject", flat=True))
    for row in Entry.objects.filter(batch__in=batches):
        EventKey.objects.filter(subject=row.subject, seq=row.seq).delete()
    for model, name in ((Entry, "batch"), (Receipt, "batch"), (Pending, "batch"), (LeafRange, "batch"), (Batch, "id")):
        model._default_manager.filter(**{f"{name}__in": batches}).delete()
    for subject in touched:
        end = Entry.objects.filter(subject=subject).order_by("-seq").first()
        if end is None:
            Head.objects.filter(subject=subject).delete()
        else:
            Head.objects.filter(subject=subject).update(seq=end.seq, hash=end.hash, recorded_at=end.recorded_at)


def test_a_tail_cut_before_it_was_indexed_is_known_to_its_sender_alone(drill: Factory) -> None:
    """Said in the docs: only the receipt shows it. This test keeps the sentence true, so that nobody promises more."""
    with undone():
        cut(list(Pending.objects.values_list("batch", flat=True)))
        assert problems() == []


# Files


@dataclass(frozen=True)
class Harm:
    """One way to damage a file."""

    name: str
    do: Callable[[Path], None]


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


HARMS = (
    Harm("flipped", flip),
    Harm("cut", lambda path: path.write_bytes(path.read_bytes()[:-2])),
    Harm("longer", lambda path: path.write_bytes(path.read_bytes() + b"x")),
    Harm("deleted", lambda path: path.unlink()),
    Harm("emptied", lambda path: path.write_bytes(b"")),
)


@pytest.mark.parametrize("harm", HARMS, ids=lambda harm: harm.name)
def test_every_damaged_file_of_the_log_is_found(drill: Factory, harm: Harm) -> None:
    folder = settings.METERPROOF["LOG_DIR"]
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        before = path.read_bytes()
        harm.do(path)
        name = path.relative_to(folder).as_posix()
        named = [problem for problem in problems() if name in problem.place]
        assert named, f"{name} {harm.name} and not found, or not named: {problems()[:5]}"
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
    tasks.anchor()
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
            harm.do(path)
            error = verify_file(folder, trust).error
            assert error is not None, f"{name} {harm.name} and not found"
            assert told_where(name, error), f"{name} {harm.name}: {error}"
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


@pytest.mark.parametrize("harm", HARMS, ids=lambda harm: harm.name)
def test_a_damaged_signer_memory_is_found(drill: Factory, harm: Harm) -> None:
    harm.do(settings.METERPROOF["SIGNER_DIR"] / signer.MEMORY)
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
    from compliance.ledger.append import platform_batch

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
