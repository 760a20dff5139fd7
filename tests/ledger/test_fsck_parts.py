"""fsck in parts: however many processes read, and whatever is broken, the problems and their order are the same."""

import json
import os
import random
import shutil
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import msgspec
import pytest
from django.conf import settings
from django.db import connection

from compliance.config.celery import app
from compliance.jobs import worker
from compliance.ledger import fsck, integrate, publish, store
from compliance.ledger.fsck import bytes_pass, event_keys, parts, processes
from compliance.ledger.fsck.entries import EntryReader, Row, read_id
from compliance.ledger.fsck.event_keys import new_secret
from compliance.ledger.fsck.parts import PartResult, Reading
from compliance.ledger.fsck.run import read_part
from compliance.ledger.models import Batch, Entry, LeafRange
from compliance.ledger.store import Store
from compliance.proof import merkle
from compliance.proof.layout import TILE_WIDTH
from compliance.proof.subject import key_of
from tests.conftest import FOLDERS, take_down_guards
from tests.ledger.world import Factory, meter
from tests.services.process import running
from tests.services.redis import broker

pytestmark = [pytest.mark.both_engines]

PROJECT = Path(__file__).resolve().parents[2]
SMALL = 256  # entries of a part, so that a log of a test has several


@pytest.fixture
def several_parts(committed_log: Path, monkeypatch: pytest.MonkeyPatch) -> Factory:
    """A log of four parts whose ends are no ends of tiles, with a checkpoint after each."""
    monkeypatch.setattr(parts, "ENTRIES", SMALL)
    factory = Factory()
    for _ in range(4):
        for size in (150, 140):
            factory.send([factory.event(meter(number % 70)) for number in range(size)])
        integrate.integrate()
        publish.publish()
    factory.send([factory.event(meter(3))])
    return factory


def said(result: fsck.FsckResult) -> dict[str, Any]:
    """All of a result but how long it took."""
    return result.to_object() | {"seconds": 0}


@contextmanager
def a_worker() -> Iterator[None]:
    """Somebody who does the jobs that are queued meanwhile."""
    stop = threading.Event()

    def work() -> None:
        while not stop.wait(0.05):
            worker.run_due()
        connection.close()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def edit_bodies() -> None:
    """In three parts, so that the order of what is found can be wrong."""
    for number in (40, 300, 900):
        row = list(Entry.objects.order_by("batch", "index"))[number]
        Entry.objects.filter(subject=row.subject, seq=row.seq).update(body=row.body[:-3] + b"2}}")


def swap_bundles() -> None:
    """A file of the first part and one of the last."""
    folder = settings.METERPROOF["LOG_DIR"] / "tile" / "entries"
    (folder / "000").write_bytes(b"")
    (folder / "004.p").rename(folder / "moved.p")


def lose_a_place() -> None:
    """The tree of all later parts begins elsewhere."""
    LeafRange.objects.order_by("first_index")[3].delete()


def add_to_a_batch() -> None:
    """An entry more than the range says, at the end of the second part."""
    batch = LeafRange.objects.order_by("first_index")[3].batch
    row = Entry.objects.filter(batch=batch).order_by("-index")[0]
    row.seq, row.index = row.seq + 1_000, row.index + 1
    row.save(force_insert=True)


@pytest.mark.parametrize("harm", [None, edit_bodies, swap_bundles, lose_a_place, add_to_a_batch])
@pytest.mark.django_db(transaction=True)
def test_the_result_does_not_depend_on_who_reads(
    several_parts: Factory, harm: Callable[[], None] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if harm is not None:
        take_down_guards()
        harm()
    cut = list(parts.cut())
    assert len(cut) >= 3, "the log must have several parts"
    alone = fsck.run(comparisons=())
    assert alone.sound == (harm is None)
    assert alone.entries >= 1_160
    with a_worker():
        by_workers = fsck.run(comparisons=(), readers=processes.workers())
    assert said(by_workers) == said(alone)
    if harm is edit_bodies:  # once: beginning processes costs most of the time
        monkeypatch.setattr(processes, "PARTS_WORTH_A_PROCESS", 2)
        with processes.processes(3) as readers:
            assert said(fsck.run(comparisons=(), readers=readers)) == said(alone)


@pytest.mark.django_db(transaction=True)
def test_columns_are_read_beside_the_bytes_in_the_same_state(
    several_parts: Factory, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = sys.modules["compliance.ledger.fsck.run"]  # the package has a function of this name
    begun = threading.Event()
    read_columns, read_placed = run._read_columns, bytes_pass.BytesPass.read_placed

    def append() -> None:
        several_parts.send([several_parts.event(meter(number)) for number in range(20)])
        connection.close()

    def append_first(reading: Reading) -> Any:
        if connection.vendor == "postgresql":  # SQLite has one connection read it all
            writer = threading.Thread(target=append)
            writer.start()
            writer.join()
        begun.set()
        return read_columns(reading)

    def after_the_columns_were_begun(self: bytes_pass.BytesPass, part: parts.Part, *, last: bool) -> PartResult:
        assert begun.wait(10)
        return read_placed(self, part, last=last)

    monkeypatch.setattr(run, "_read_columns", append_first)
    monkeypatch.setattr(bytes_pass.BytesPass, "read_placed", after_the_columns_were_begun)
    monkeypatch.setattr(run, "_look_up_keys", lambda *_: pytest.fail("the columns were those of another state"))
    assert fsck.run(comparisons=()).sound


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_celery_workers_of_two_hosts_find_what_one_process_finds(
    several_parts: Factory, tmp_path: Path, settings: Any
) -> None:
    """Each host has its own copy of the published log, and must have read parts of it; on a real Redis."""
    take_down_guards()
    edit_bodies()
    swap_bundles()
    alone = fsck.run(comparisons=())
    assert len({problem.place for problem in alone.problems}) >= 4
    mirror = tmp_path / "mirror"
    shutil.copytree(settings.METERPROOF["LOG_DIR"], mirror)
    with broker() as redis, ExitStack() as hosts:
        settings.CELERY_BROKER_URL = redis.url
        hosts.enter_context(broker_address(redis.url))
        logs = [tmp_path / "north.log", tmp_path / "south.log"]
        for log, folder in zip(logs, (settings.METERPROOF["LOG_DIR"], mirror), strict=True):
            hosts.enter_context(celery_worker(log, f"reader@{log.stem}", redis.url, folder))
        together = fsck.run(comparisons=(), readers=processes.workers())
    assert said(together) == said(alone)
    done = [log.read_text().count("succeeded in") for log in logs]
    assert all(done), f"one host read nothing: {done}"
    assert sum(done) == len(list(parts.cut()))


@contextmanager
def broker_address(url: str) -> Iterator[None]:
    """Let this process ring there."""
    before, app.conf.broker_url = app.conf.broker_url, url
    try:
        yield
    finally:
        app.conf.broker_url = before


@contextmanager
def celery_worker(log: Path, name: str, broker_url: str, log_folder: Path) -> Iterator[None]:
    """A Celery worker of this installation, as on a host called `name`, with a log folder of its own."""
    database = connection.settings_dict["NAME"]
    server = urlsplit(os.environ.get("DATABASE_URL", ""))
    sqlite = connection.vendor == "sqlite"
    environment = {
        **{variable: os.environ[variable] for variable in ("PATH", "HOME", "LANG") if variable in os.environ},
        **{f"METERPROOF_{name}": str(settings.METERPROOF[name]) for name in FOLDERS},
        "METERPROOF_LOG_DIR": str(log_folder),
        "METERPROOF_VAR": str(log.parent / "var"),
        "DATABASE_URL": f"sqlite:///{database}" if sqlite else urlunsplit(server._replace(path=f"/{database}")),
        "DJANGO_SETTINGS_MODULE": "compliance.config.settings.embedded",
        "CELERY_BROKER_URL": broker_url,
        "PYTHONPATH": str(PROJECT),
    }
    command = [sys.executable, "-m", "celery", "-A", "compliance.config", "worker", "-n", name, "-c", "1"]
    ready = lambda: log.exists() and "ready." in log.read_text(errors="replace")  # noqa: E731
    with running([*command, "--loglevel", "INFO"], answers=ready, log=log, environment=environment):
        yield


@pytest.mark.django_db(transaction=True)
def test_a_small_log_is_read_without_further_processes(several_parts: Factory, monkeypatch: pytest.MonkeyPatch) -> None:
    """To begin one takes longer than to read the log."""
    monkeypatch.delattr(processes, "ProcessPoolExecutor")
    with processes.processes(8) as readers:
        assert said(fsck.run(comparisons=(), readers=readers)) == said(fsck.run(comparisons=()))


class Held(bytes):
    """Bytes of a row, counted while somebody holds them."""

    now = most = 0

    def __new__(cls, data: bytes) -> "Held":
        Held.now += 1
        Held.most = max(Held.most, Held.now)
        return super().__new__(cls, data)

    def __del__(self) -> None:
        Held.now -= 1


@pytest.mark.django_db
def test_no_pass_holds_the_log(alone: None, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of entries and event keys no more are held than a few pages and the last tile have, however long the log is."""
    factory, batch, page = Factory(), 40, 50
    for number in range(50):
        factory.send([factory.event(meter(number + 7 * other)) for other in range(batch)])
    integrate.integrate()
    publish.publish()
    monkeypatch.setattr(bytes_pass, "PAGE", page)
    monkeypatch.setattr(event_keys, "KEYS_A_PAGE", page)
    engine = type(store.current())
    select, pages = engine.select, engine.pages

    def watched_select(self: Store, statement: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        rows = select(self, statement, parameters)
        return [(*row[:6], Held(row[6]), *row[7:]) for row in rows] if " body," in statement else rows

    def watched_pages(self: Store, statement: str, *, size: int) -> Iterator[list[tuple[Any, ...]]]:
        for rows in pages(self, statement, size=size):
            yield [(Held(row[0]), *row[1:]) for row in rows]

    monkeypatch.setattr(engine, "select", watched_select)
    monkeypatch.setattr(engine, "pages", watched_pages)
    Held.now = Held.most = 0
    result = fsck.run(comparisons=())
    assert result.sound
    assert result.entries >= 50 * batch
    assert 0 < Held.most <= 4 * (page + batch) + TILE_WIDTH, "more is held than what is being read"
    assert Held.now == 0, "rows are held after the end"


@pytest.mark.django_db
def test_a_part_travels_as_json(alone: None, log: Path) -> None:
    factory = Factory()
    factory.send([factory.event(meter(number)) for number in range(300)])
    integrate.integrate()
    publish.publish()
    (part,) = parts.cut()
    read = read_part(part, Reading(301, new_secret()), first=True, last=True)
    assert read.event_keys.count == read.result.entries
    assert read.roots
    assert read.seen
    read.redacted.append(parts.Redacted(b"k" * 16, 7, b"h" * 32, 12, "entry"))
    read.result.add("entry.hash", "entry", "as a job's result has it")
    assert PartResult.from_object(json.loads(json.dumps(read.to_object()))) == read


@pytest.mark.django_db
def test_what_is_recognised_is_what_the_strict_reader_reads(alone: None, log: Path) -> None:
    """The reader that compares spellings may only ever say what the one that parses says.

    For odd ids, texts and subjects, and with each byte of each entry changed in turn and hashed again.
    """
    factory = Factory()
    subjects = [meter(1), "cell_session:acme:OSN%C3%84-1", "shipment:acme:a~b+c/d"]
    odd = {"note": 'ä " \\ ü {"id":"x"},"index":1', "empty": "", "none": None, "list": [1, -2, True]}
    events = [factory.event(text, id=f"e.{number}:_-", data=odd) for number, text in enumerate(subjects)]
    factory.send([*events, factory.event(meter(1))])
    batch = Batch.objects.get(id=Entry.objects.get(subject=key_of(subjects[1])).batch)
    hashes = [batch.event_hashes[at : at + 32] for at in range(0, len(batch.event_hashes), 32)]
    rows = stored_rows(batch.id)
    assert recognised(batch.id, rows, hashes) == read_strictly(rows, hashes)
    assert len(recognised(batch.id, rows, hashes)) == 4
    for position, (*before, _, body, moment) in enumerate(rows):
        for at in range(len(body)):
            changed = body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]
            forged = [*rows]
            forged[position] = (*before, merkle.leaf_hash(changed), changed, moment)
            if said := recognised(batch.id, forged, hashes):
                assert said == read_strictly(forged, hashes), body[at - 20 : at + 20]
        for column in range(len(rows[position])):
            forged = [*rows]
            forged[position] = (*rows[position][:column], rows[position - 1][column], *rows[position][column + 1 :])
            if said := recognised(batch.id, forged, hashes):
                assert said == read_strictly(forged, hashes), column


def stored_rows(batch: bytes) -> list[Row]:
    """The entries of a batch as the bytes pass reads them."""
    statements = store.current()
    condition, parameters = statements.any_of("batch", [batch])
    columns = 'batch, "index", subject, seq, prev, hash, body, ' + statements.time_column("recorded_at")
    return sorted(statements.select(f"SELECT {columns} FROM ledger_entry WHERE {condition}", parameters))  # noqa: S608


def recognised(batch: bytes, rows: list[Row], hashes: list[bytes]) -> list[tuple[str, bytes]]:
    """Ids and event hashes, nothing if the quick reader cannot tell."""
    found = EntryReader(fsck.FsckResult(), store.current()).recognise(batch, rows, hashes)
    return list(zip(found.event_ids, found.event_hashes, strict=True)) if found else []


def read_strictly(rows: list[Row], hashes: list[bytes]) -> list[tuple[str, bytes]]:
    """Ids and event hashes, nothing if something is wrong."""
    result = fsck.FsckResult()
    found = EntryReader(result, store.current()).read(rows, hashes, signed=True)
    return [said[:2] for said in found if said] if result.sound else []


def test_the_id_is_read_as_a_whole_parser_reads_it() -> None:
    """The decoder that makes nothing but the id refuses what the one that makes everything refuses."""
    sample = rb'{"actor":{"station":"l"},"data":{"a":[1,-3,true,null,"x\u00e9\n"],"id":"no"},"id":"abc-1","v":1}'
    alphabet = rb'"\{}[]:,0123456789-+.eEtfnu ' + b"\x00\x01\x1f"
    numbers = random.Random(20261122)  # noqa: S311
    agreed = 0
    for _ in range(20_000):
        text = bytearray(sample)
        for _ in range(numbers.choice((1, 1, 2))):
            at = numbers.randrange(len(text))
            text[at : at + numbers.randrange(2)] = bytes([numbers.choice(alphabet)]) * numbers.randrange(2)
        whole = attempt(msgspec.json.decode, bytes(text))
        quick = attempt(read_id, bytes(text))
        expected = whole.get("id") if isinstance(whole, dict) and isinstance(whole.get("id"), str) else None
        assert (quick.id if quick is not None else None) == expected, bytes(text)
        agreed += expected is not None
    assert agreed > 1_000


def attempt(decode: Callable[[bytes], Any], text: bytes) -> Any:
    """None for what the decoder refuses."""
    try:
        return decode(text)
    except msgspec.DecodeError:
        return None
