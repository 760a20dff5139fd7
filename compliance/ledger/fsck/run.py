"""The order of an fsck, on one snapshot of the database."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from django.db import connection, transaction

from compliance.ledger import guards, key_history, keys, startup
from compliance.ledger.errors import LedgerError
from compliance.ledger.fsck import relations
from compliance.ledger.fsck.bytes_pass import BytesPass
from compliance.ledger.fsck.problems import FsckResult, Problem
from compliance.ledger.fsck.published import PublishedLog, look
from compliance.ledger.models import LogState
from compliance.proof.log_keys import LogKeys

Comparison = Callable[[], Iterable[Problem]]
_comparisons: list[Comparison] = []


def register_fsck(function: Comparison) -> None:
    """Let another room compare its own tables with the ledger, as part of every fsck."""
    if function not in _comparisons:
        _comparisons.append(function)


def run(
    *, comparisons: Sequence[Comparison] | None = None, progress: Callable[[int, int], None] | None = None
) -> FsckResult:
    """Compare everything with everything, also with what other rooms registered, or with `comparisons` in their place.

    `progress(done, total)` is called now and then with entries.
    """
    started = time.monotonic()
    result = FsckResult()
    shown = look(result)  # before the snapshot, so that the snapshot is not older
    with _snapshot():
        state = LogState.objects.filter(id=1).first()
        if state is None:
            _expect_nothing(result)
        else:
            log_keys = _log_keys(result)
            published = PublishedLog(result, shown, log_keys)
            BytesPass(result, state, published, log_keys, progress).run()
            published.finish()
            relations.compare(result)
        for name in guards.missing():
            result.add(
                "guard.missing", name, "the database lets recorded rows be changed; put it up: manage.py ledger guards"
            )
        for comparison in _comparisons if comparisons is None else comparisons:
            for problem in comparison():
                result.add(problem.code, problem.place, problem.detail)
    result.seconds = time.monotonic() - started
    return result


def _log_keys(result: FsckResult) -> LogKeys:
    """The keys that the log names. The private ones here must be among them: somebody else's log has other keys."""
    try:
        named = key_history.read()
        mine = {key.keyid for key in keys.known(keys.LOG)}
    except LedgerError as error:
        result.add("log.keys", "entries about the log's keys", str(error))
        return LogKeys([])
    if mine and not mine & {verifier.key.keyid for verifier in named.verifiers}:
        result.add("log.keys", "entries about the log's keys", "they name none of the log keys that are here")
    return named


def _expect_nothing(result: FsckResult) -> None:
    try:
        startup.compare_with_signer()
    except LedgerError as error:
        result.add("log_state.missing", "log_state", str(error))
    if relations.count("ledger_entry"):
        result.add("log_state.missing", "log_state", "there are entries but no log")


@contextmanager
def _snapshot() -> Iterator[None]:
    """One state of the database from beginning to end, without keeping anybody from writing."""
    if connection.in_atomic_block:
        yield
    elif connection.vendor == "postgresql":
        with transaction.atomic(), connection.cursor() as cursor:
            # Not READ ONLY: rooms that compare a rebuild with their tables make it in temporary ones.
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            yield
    else:
        connection.ensure_connection()  # Django reads the mode from the settings as it connects
        mode, connection.transaction_mode = connection.transaction_mode, "DEFERRED"  # type: ignore[attr-defined]
        try:
            with transaction.atomic():
                yield
        finally:
            connection.transaction_mode = mode  # type: ignore[attr-defined]
