"""The statements of an append, in the words of the engine at hand.

`append.py` says in which order they run and what they mean; a store only says how. Both stores take and give the same
parallel sequences, one element an entry or a chain, because a thousand small objects cost more than the statement.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Protocol

import msgspec

BEFORE_FIRST_ENTRY: Final = datetime(1970, 1, 1, tzinfo=UTC)


class ChainHead(msgspec.Struct, gc=False):
    """A locked chain while a batch is appended: first where it stands, then where it will stand. `seq` -1 is
    "empty". `memory` is what the room whose chain it is remembers of it.
    """

    key: bytes
    seq: int
    hash: bytes
    memory: bytes = b""


@dataclass(frozen=True, slots=True)
class KnownEvent:
    """What is on record under an event key."""

    event_hash: bytes
    subject: bytes
    seq: int


@dataclass(frozen=True, slots=True)
class EntryRows:
    """Rows of `ledger_entry` that share batch and time."""

    batch: bytes
    recorded_at: datetime
    subjects: Sequence[bytes]
    seqs: Sequence[int]
    prevs: Sequence[bytes | None]
    hashes: Sequence[bytes]
    bodies: Sequence[bytes]
    indexes: Sequence[int]


Begin = Callable[..., "Future[Any]"]
"""Begins `function(*args)`, which reads with this store, and gives what will come of it."""


class Store(Protocol):
    """What an engine must do. Every method runs inside the caller's transaction."""

    def background(self) -> AbstractContextManager[Begin]:
        """Reading while the caller computes, if the engine can. Leaving the block waits for all that was begun."""

    def select(self, statement: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """All rows of a query: bytes as `bytes`, times as `time_column` says."""

    def pages(self, statement: str, *, size: int) -> Iterator[list[tuple[Any, ...]]]:
        """As `select`, `size` rows at a time: of a query with more rows than fit into memory."""

    def time_column(self, column: str) -> str:
        """How to ask `select` for a column that holds a time: as the engine stores it, without making a datetime."""

    def stored_time(self, moment: datetime) -> object:
        """What `select` gives for the `time_column` of `moment`."""

    def time_text(self, stored: object) -> str:
        """How an entry spells such a time. What `stored_time` never gives may come out as any text, or ValueError."""

    def any_of(self, column: str, items: Sequence[bytes]) -> tuple[str, list[object]]:
        """A condition that `column` is one of `items`, all of one length, and its parameters."""

    def claim_batch(self, *, batch_id: bytes, payload_sha256: bytes, envelope: bytes, event_hashes: bytes) -> bool:
        """Insert the batch; False if one with this payload is there, also one that commits while we wait for it."""

    def without_entries(self, keys: Sequence[bytes]) -> set[bytes]:
        """Those of `keys` whose chain has no entry yet. The others have one for ever."""

    def lock_heads(self, keys: Sequence[bytes]) -> tuple[dict[bytes, ChainHead], datetime]:
        """Lock the heads of `keys` (sorted, distinct) in that order. Gives those that there are, and the latest time at
        which something was recorded in one of these chains.
        """

    def add_heads(self, heads: Sequence[ChainHead], recorded_at: datetime) -> bool:
        """Insert heads of new chains, sorted by key; False if one was made meanwhile, and then the transaction cannot
        be committed.
        """

    def known_events(self, keys: Sequence[bytes]) -> dict[bytes, KnownEvent]:
        """Those of `keys` under which an event is on record."""

    def claim_event_keys(
        self, *, keys: Sequence[bytes], event_hashes: Sequence[bytes], subjects: Sequence[bytes], seqs: Sequence[int]
    ) -> bool:
        """Insert the event keys; False if one of them was taken, and then the transaction cannot be committed."""

    def insert_entries(self, rows: EntryRows) -> None:
        """Insert the entries."""

    def move_heads(self, heads: Sequence[ChainHead], recorded_at: datetime) -> None:
        """Write the new positions of locked heads."""

    def queue(self, batch: bytes, recorded_at: datetime) -> None:
        """Note that the batch waits for its place in the log."""

    def insert_receipt(self, batch: bytes, first: int, envelope: bytes) -> None:
        """Keep the receipt as it will be given."""
