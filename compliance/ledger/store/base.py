"""The statements of an append, in the words of the engine at hand.

`append.py` says in which order they run and what they mean; a store only says how. Both stores take and give the same
parallel sequences, one element an entry or a chain, because a thousand small objects cost more than the statement.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Protocol

BEFORE_FIRST_ENTRY: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class ChainHead:
    """A locked chain while a batch is appended: first where it stands, then where it will stand. `seq` -1 is
    "empty".
    """

    key: bytes
    seq: int
    hash: bytes
    recorded_at: datetime


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


class Store(Protocol):
    """What an engine must do. Every method runs inside the caller's transaction."""

    def select(self, statement: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """All rows of a query: bytes as `bytes`, times as the engine gives them (see `stored_time`)."""

    def stored_time(self, moment: datetime) -> object:
        """What `select` gives for `moment`."""

    def any_of(self, column: str, items: Sequence[bytes]) -> tuple[str, list[object]]:
        """A condition that `column` is one of `items`, all of one length, and its parameters."""

    def claim_batch(self, *, batch_id: bytes, payload_sha256: bytes, envelope: bytes, event_hashes: bytes) -> bool:
        """Insert the batch; False if one with this payload is there, also one that commits while we wait for it."""

    def lock_heads(self, keys: Sequence[bytes]) -> list[ChainHead]:
        """Make the heads that do not exist, then lock all of `keys` (sorted, distinct) in that order."""

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
