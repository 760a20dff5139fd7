"""Fail at the n-th call, for n = 1, 2, 3 ... until the scenario ends with no fault; look at everything each time.

The method is SQLite's (sqlite.org/testing.html, "anomaly testing"): no fault is chosen, so none is forgotten.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Protocol

import psycopg
from django.db import Error as DatabaseError
from django.db import IntegrityError

from compliance.custody.intake import BatchRefused
from compliance.ledger import fsck, signer, startup, tasks, tiles
from compliance.ledger.append import Appended
from compliance.ledger.errors import ClockJumped, SignerRefused
from compliance.ledger.models import Batch, Entry, EventKey, Head, LeafRange, LogState, Pending, Receipt
from compliance.proof import layout, merkle, note
from compliance.proof import receipt as receipt_format
from compliance.proof.checkpoint import Checkpoint
from compliance.proof.layout import TILE_WIDTH
from compliance.proof.subject import key_of
from tests.faults import databases, files, outside
from tests.faults.counting import Countdown

Fault = Callable[[Countdown], AbstractContextManager[None]]

ENDLESS = 5_000  # a scenario that still finds a call to fail after so many goes round in circles
# What a fault may look like to the caller. psycopg's own: closing a server-side cursor is not wrapped by Django.
MAY_BE_SAID = (DatabaseError, psycopg.OperationalError, OSError, ClockJumped, SignerRefused)
# A clock before the key was registered, or after the API key ran out; no other fault may refuse.
REFUSED_BY_THE_CLOCK = ("key.not_valid", "credential.revoked")
AN_HOUR_BACK = timedelta(hours=-1)
TEN_YEARS_AHEAD = timedelta(days=3_650)


def once(folder: Path) -> dict[str, Fault]:
    """Every kind of fault of one single call, by its name."""
    return {
        "statement fails": databases.statements_fail,
        "answer is lost": databases.answers_are_lost,
        "deadlock": databases.database_asks_again,
        "file fails": lambda countdown: files.files_fail(countdown, folder),
        "network fails": outside.network_fails,
        "clock back": lambda countdown: outside.clock_jumps(countdown, AN_HOUR_BACK),
        "clock ahead": lambda countdown: outside.clock_jumps(countdown, TEN_YEARS_AHEAD),
    }


class Attempt(Protocol):
    """One go at a scenario, with input that nothing else uses. `run` may be called again after it failed.

    `publishes`: it writes files of the log, which are then looked at after each call.
    """

    publishes: bool

    def run(self) -> None:
        """What is to survive. Whatever it was told is done, it notes in `Acknowledged`."""

    def check(self) -> None:
        """After a run without a fault: all is there."""


class Acknowledged:
    """What senders were told is recorded. It may never be missing, changed or there twice."""

    def __init__(self) -> None:
        self._receipts: dict[str, bytes] = {}
        self._looked_at: set[str] = set()

    def note(self, appended: Appended) -> Appended:
        """A receipt left the house."""
        before = self._receipts.setdefault(appended.batch_id, appended.receipt)
        assert before == appended.receipt, "the same batch was given two receipts"
        return appended

    def require(self, *, again: bool = False) -> None:
        """Compare what is stored with each new receipt; with `again`, with all of them."""
        for batch_id in self._receipts if again else self._receipts.keys() - self._looked_at:
            self._require_one(batch_id)
            self._looked_at.add(batch_id)

    def _require_one(self, batch_id: str) -> None:
        stored = Receipt.objects.get(batch=bytes.fromhex(batch_id), first=0)
        assert stored.envelope == self._receipts[batch_id], f"the receipt of batch {batch_id} is another"
        said = receipt_format.read(stored.envelope).payload["entries"]
        rows = {row.index: row for row in Entry.objects.filter(batch=bytes.fromhex(batch_id))}
        assert rows.keys() == {item["index"] for item in said}, f"batch {batch_id} has other entries than acknowledged"
        for item in said:
            row = rows[item["index"]]
            assert (row.subject, row.seq, row.hash.hex()) == (key_of(item["subject"]), item["seq"], item["hash"])


def require_sound() -> None:
    """A restart works, and fsck finds nothing."""
    startup.verify_state()
    problems = fsck.run(comparisons=()).problems
    assert problems == [], problems


def require_chains_and_root() -> list[tuple[bytes, bytes]]:
    """A restart works and the rows fit, said in few words and without fsck: a second opinion, quick enough for every
    call. Returns hash and bytes of each leaf in the order of the log.
    """
    startup.verify_state()
    ends: dict[bytes, tuple[int, bytes | None]] = {}
    leaves: dict[bytes, list[tuple[bytes, bytes]]] = {}
    events: set[tuple[str, str]] = set()
    columns = ("subject", "seq", "prev", "hash", "body", "batch", "index")
    for subject, seq, prev, hash_, body, batch, index in Entry.objects.order_by(*columns[:2]).values_list(*columns):
        said = json.loads(body)
        before = ends.get(subject, (-1, None))
        assert hashlib.sha256(b"\0" + body).digest() == hash_
        assert (seq, prev) == (before[0] + 1, before[1]) == (said["seq"], _bytes_or_none(said["prev"]))
        assert (batch.hex(), index) == (said["batch"], said["index"])
        ends[subject] = (seq, hash_)
        events.add((said["event"]["id"], said["subject"]))
    for batch, hash_, body in Entry.objects.order_by("batch", "index").values_list("batch", "hash", "body"):
        leaves.setdefault(batch, []).append((hash_, body))
    assert len(events) == sum(map(len, leaves.values())) == EventKey.objects.count(), "an event is recorded twice"
    assert {head.subject: (head.seq, head.hash) for head in Head.objects.all()} == ends
    batches = set(Batch.objects.values_list("id", flat=True))
    assert batches == set(Receipt.objects.values_list("batch", flat=True)) >= leaves.keys()
    placed = list(LeafRange.objects.order_by("first_index").values_list("batch", flat=True))
    waiting = list(Pending.objects.values_list("batch", flat=True))
    assert sorted([*placed, *waiting]) == sorted(leaves), "a batch has no place, or two"
    state, order = LogState.objects.get(), [leaf for batch in placed for leaf in leaves[batch]]
    assert (len(order), merkle.root([hash_ for hash_, _ in order])) == (state.size, state.root)
    return order


def require_whole_files(order: Sequence[tuple[bytes, bytes]]) -> None:
    """Every file below its final name is whole, and the checkpoint shown is true: no half file, whenever it failed.

    The signer may be ahead of what is shown, by one checkpoint.
    """
    levels = [[hash_ for hash_, _ in order]]
    while len(levels[-1]) >= TILE_WIDTH:
        full = len(levels[-1]) // TILE_WIDTH
        levels.append([merkle.root(levels[-1][at * TILE_WIDTH : (at + 1) * TILE_WIDTH]) for at in range(full)])
    for path in log_files():
        parts = path.relative_to(tiles.folder()).parts
        if parts[0] == tiles.BATCHES:
            row = Batch.objects.get(id=bytes.fromhex(path.stem))
            assert path.read_bytes() == tiles.batch_file(row.envelope, row.event_hashes)
        elif parts[0] == "tile":
            index, width = _place(parts[2:])
            piece = slice(index * TILE_WIDTH, index * TILE_WIDTH + width)
            if parts[1] == "entries":
                whole = layout.encode_entry_bundle([body for _, body in order[piece]])
            else:
                whole = b"".join(levels[int(parts[1])][piece])
            assert path.read_bytes() == whole, f"{path} is not whole"
    shown, signed = tiles.read_checkpoint(), signer.last_signed()
    if shown is not None:
        checkpoint = Checkpoint.from_text(note.split(shown)[0])
        assert checkpoint.root == merkle.root(levels[0][: checkpoint.size])
        assert signed is not None
        assert checkpoint.size <= signed.checkpoint.size
    if signed is not None:
        assert signed.checkpoint.root == merkle.root(levels[0][: signed.checkpoint.size])


def _place(parts: Sequence[str]) -> tuple[int, int]:
    """Index and width of a tile whose index is below a thousand."""
    if parts[0].endswith(".p"):
        return int(parts[0].removesuffix(".p")), int(parts[1])
    return int(parts[0]), TILE_WIDTH


def _bytes_or_none(text: str | None) -> bytes | None:
    return None if text is None else bytes.fromhex(text)


def sweep(
    prepare: Callable[[], Attempt], fault: Fault, acknowledged: Acknowledged, *, lasting: bool = False, every: int = 1
) -> int:
    """How many calls there were to fail. Raises AssertionError with the number of the call whose fault did harm.

    `lasting`: from the n-th on, all calls fail. `every`: of a long scenario, only each so many-th n.
    """
    for number in count(1, every):
        assert number < ENDLESS
        countdown = Countdown(number, lasting)
        attempt = prepare()
        try:
            _fail_once(attempt, fault, countdown)
            acknowledged.require()
            if not countdown.failed:
                attempt.check()
                break
            order = require_chains_and_root()
            if attempt.publishes:
                require_whole_files(order)
            attempt.run()
            attempt.check()
            acknowledged.require()
        except BaseException as error:
            error.add_note(f"after call {number} failed: {countdown.failed[:3]}")
            raise
    return countdown.calls


def sweep_all(
    prepare: Callable[[], Attempt],
    kinds: Mapping[str, Fault],
    acknowledged: Acknowledged,
    *,
    lasting: bool = False,
    every: int = 1,
) -> dict[str, int]:
    """Sweep with each kind of fault; how many calls each found. At the end, all that was ever acknowledged is there."""
    found = {}
    for kind, fault in kinds.items():
        try:
            found[kind] = sweep(prepare, fault, acknowledged, lasting=lasting, every=every)
        except BaseException as error:
            error.add_note(f"fault: {kind}")
            raise
    tasks.integrate_and_publish()
    require_sound()
    acknowledged.require(again=True)
    return found


def _fail_once(attempt: Attempt, fault: Fault, countdown: Countdown) -> None:
    try:
        with fault(countdown):
            attempt.run()
    except MAY_BE_SAID as error:
        if not countdown.failed or isinstance(error, IntegrityError):
            raise
    except BatchRefused as refusal:
        if refusal.problems[0].code not in REFUSED_BY_THE_CLOCK or set(countdown.failed) != {"clock"}:
            raise
    finally:
        databases.settle()


def log_files() -> Iterator[Path]:
    """Every file of the published log; what begins with a dot is a temporary one that nobody reads."""
    return (path for path in tiles.folder().rglob("*") if path.is_file() and not path.name.startswith("."))
