"""Where the time of a batch goes, by the functions that spend it. Watching costs time itself: shares, not rates."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest import mock

import psycopg

from compliance.accounts.models import ApiKey
from compliance.custody import intake
from compliance.ledger import append
from compliance.proof import batch, canonical, dsse, entry, merkle, receipt

PARSE, CANONICAL, SIGNATURE, RULES, HASH, DATABASE = "parse", "canonical form", "signature", "rules", "hash", "database"
REST = "the rest"
WATCHED: tuple[tuple[str, Any, str], ...] = (
    (PARSE, canonical, "_decode"),
    (CANONICAL, canonical, "_read_fast"),
    (CANONICAL, entry.Template, "build"),
    (CANONICAL, receipt.ReceiptEntry, "spell"),
    (SIGNATURE, intake, "_verify"),
    (SIGNATURE, dsse, "sign"),
    (RULES, batch, "check_event"),
    (RULES, batch, "check_authority"),
    (RULES, intake, "_judge"),
    (RULES, append, "run_appliers"),
    (HASH, merkle, "leaf_hash"),
    (HASH, merkle, "root"),
    (HASH, append, "leaf_hash"),
    (HASH, append, "event_key"),
    (DATABASE, psycopg.Connection, "wait"),
)


def measure(batches: Sequence[bytes], sender: ApiKey) -> dict[str, float]:
    """Take in `batches` in this process; which part of the time each kind of work had."""
    spent: dict[str, float] = defaultdict(float)
    with _watching(spent):
        started = time.perf_counter()
        for data in batches:
            intake.receive_batch(data, media_type=batch.NDJSON, sender=sender)
        total = time.perf_counter() - started
    shares = {kind: spent[kind] / total for kind in (PARSE, CANONICAL, SIGNATURE, RULES, HASH, DATABASE)}
    return {**shares, REST: 1 - sum(shares.values())}


@contextmanager
def _watching(spent: dict[str, float]) -> Iterator[None]:
    """Count time for the innermost watched function that runs."""
    open_since: list[list[float]] = []  # of each watched function that runs: time that belongs to those inside it

    def watched(kind: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            inside = [0.0]
            open_since.append(inside)
            started = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                took = time.perf_counter() - started
                open_since.pop()
                spent[kind] += took - inside[0]
                if open_since:
                    open_since[-1][0] += took

        return run

    patches = [mock.patch.object(owner, name, watched(kind, getattr(owner, name))) for kind, owner, name in WATCHED]
    for patch in patches:
        patch.start()
    try:
        yield
    finally:
        for patch in patches:
            patch.stop()
