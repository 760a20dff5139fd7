"""The order of an fsck, on one snapshot of the database."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

from django.conf import settings

from compliance.ledger import guards, key_history, keys, mirror, selectors, startup, store
from compliance.ledger.errors import LedgerError
from compliance.ledger.fsck import event_keys, memory, relations, time_stamps
from compliance.ledger.fsck.bytes_pass import BytesPass
from compliance.ledger.fsck.event_keys import KeySum
from compliance.ledger.fsck.parts import Part, PartResult, Reading, Redacted, cut, edge_before
from compliance.ledger.fsck.problems import FsckResult, Problem
from compliance.ledger.fsck.published import PublishedLog, look
from compliance.ledger.fsck.snapshot import beside, snapshot
from compliance.ledger.fsck.tree import Edge
from compliance.ledger.models import LogState
from compliance.proof import merkle
from compliance.proof.errors import ProofError
from compliance.proof.log_keys import LogKeys
from compliance.proof.subject import key_of
from compliance.proof.subject import log as log_subject

Comparison = Callable[[], Iterable[Problem]]
Readers = Callable[[Sequence[Part], Reading], Iterable[tuple[int, PartResult]]]
"""Begins to read parts of the log, and gives the number and the result of each as it is done."""

_comparisons: list[Comparison] = []
_beyond_the_log: list[Comparison] = []


def register_fsck(function: Comparison, *, beyond_the_log: bool = False) -> None:
    """Let another room compare its own tables with the ledger, as part of every fsck.

    What compares rows that the log alone cannot give (`beyond_the_log`) is left out on a mirror, which has none.
    """
    if function not in _comparisons:
        _comparisons.append(function)
        if beyond_the_log:
            _beyond_the_log.append(function)


def run(
    *,
    comparisons: Sequence[Comparison] | None = None,
    progress: Callable[[int, int], None] | None = None,
    readers: Readers | None = None,
) -> FsckResult:
    """Compare everything with everything, also with what other rooms registered, or with `comparisons` in their place.

    `progress(done, total)` is called now and then with entries. `readers` read the parts of the log at the same time;
    without any, this process reads one after the other. The result is the same.
    """
    started = time.monotonic()
    result = FsckResult()
    shown = look(result)  # before the snapshot, so that the snapshot is not older
    with snapshot() as shared:
        state = LogState.objects.filter(id=1).first()
        if state is None:
            _expect_nothing(result)
        else:
            log_keys = _log_keys(result)
            published = PublishedLog(result, shown, log_keys)
            with memory.kept():
                _compare_log(
                    result, state, published, log_keys, progress or (lambda _done, _total: None), readers, shared
                )
            time_stamps.compare(result, log_keys)
        for name in guards.missing():
            result.add("guard.missing", name, f"{guards.HARM}; put it up: manage.py ledger guards")
        for comparison in _registered() if comparisons is None else comparisons:
            for problem in comparison():
                result.add(problem.code, problem.place, problem.detail)
    result.seconds = time.monotonic() - started
    return result


def _compare_log(
    result: FsckResult,
    state: LogState,
    published: PublishedLog,
    log_keys: LogKeys,
    progress: Callable[[int, int], None],
    readers: Readers | None,
    shared: str | None,
) -> None:
    reading = Reading(published.size, event_keys.new_secret())
    with beside(shared, partial(_read_columns, reading)) as columns:
        expected = _read_log(result, state, published, log_keys, progress, readers, reading)
    keys_agree = columns.result().event_keys.is_of_the_same_keys(expected)
    if not keys_agree:
        _look_up_keys(result, published.size, log_keys)
    relations.compare(result, columns.result().counts, keys_agree=keys_agree)


def _read_log(
    result: FsckResult,
    state: LogState,
    published: PublishedLog,
    log_keys: LogKeys,
    progress: Callable[[int, int], None],
    readers: Readers | None,
    reading: Reading,
) -> event_keys.Total:
    """Read all bytes, and give the total of the event keys that there must be."""
    redacted: list[Redacted] = []
    expected = event_keys.Total()

    def join(part: PartResult) -> None:
        nonlocal expected
        published.join(part)
        redacted.extend(part.redacted)
        expected += part.event_keys
        progress(result.entries, state.size)

    def read_in_turn() -> None:
        for part in _in_turn(reading, log_keys, lambda done: progress(result.entries + done, state.size)):
            join(part)

    if readers is None:
        read_in_turn()
    else:
        found: dict[int, PartResult] = {}
        for number, part in readers(list(cut()), reading):
            found[number] = part
            progress(sum(one.result.entries for one in found.values()), state.size)
        in_order = [found[number] for number in sorted(found)]
        if _one_goes_on_where_the_other_ended(in_order):
            for part in in_order:
                join(part)
        else:
            read_in_turn()
    _compare_state(result, state, published.edge())
    unplaced = _unplaced(reading, log_keys)
    result.absorb(unplaced.result)
    redacted += unplaced.redacted
    _explain_redactions(result, redacted)
    published.finish()
    return expected + unplaced.event_keys


@dataclass(frozen=True, slots=True)
class _Columns:
    """What the database says without its bytes being read."""

    counts: relations.Counts
    event_keys: event_keys.Total


def _read_columns(reading: Reading) -> _Columns:
    return _Columns(relations.counts(), event_keys.stored(store.current(), reading.secret))


def _in_turn(reading: Reading, log_keys: LogKeys, progress: Callable[[int], None]) -> Iterator[PartResult]:
    edge = Edge()
    parts = list(cut())
    for part in parts:
        keys = KeySum(reading.secret)
        read = BytesPass(edge, reading.published, log_keys, keys, progress).read_placed(part, last=part is parts[-1])
        read.event_keys = keys.total()
        yield read


def _unplaced(reading: Reading, log_keys: LogKeys) -> PartResult:
    keys = KeySum(reading.secret)
    read = BytesPass(Edge(), reading.published, log_keys, keys).read_unplaced()
    read.event_keys = keys.total()
    return read


def _look_up_keys(result: FsckResult, published: int, log_keys: LogKeys) -> None:
    """Read everything once more and note which event keys are wrong. All else was noted before."""
    lookup = event_keys.KeyLookup(result, store.current())
    edge = Edge()
    for part in cut():
        BytesPass(edge, published, log_keys, lookup).read_placed(part, last=False)
    BytesPass(Edge(), published, log_keys, lookup).read_unplaced()


def read_part(part: Part, reading: Reading, *, first: bool, last: bool) -> PartResult:
    """Read one part alone, in any process that has the database and the published log."""
    log_keys = _log_keys(FsckResult())  # what is wrong with them, whoever joins the parts has noted
    edge = Edge() if first else edge_before(part)
    keys = KeySum(reading.secret)
    with memory.kept():
        read = BytesPass(edge, reading.published, log_keys, keys).read_placed(part, last=last)
    read.event_keys = keys.total()
    return read


def _one_goes_on_where_the_other_ended(parts: Sequence[PartResult]) -> bool:
    return all(before.ends == after.begins for before, after in pairwise(parts))


def _compare_state(result: FsckResult, state: LogState, edge: merkle.RightEdge) -> None:
    result.size = edge.size
    if edge.size < state.size:
        detail = f"nothing lies here, although {state.size} entries were integrated"
        result.add("leaf_range.missing", f"leaf_range {edge.size}", detail)
    for name, stored, computed in (
        ("size", state.size, edge.size),
        ("root", state.root, edge.root()),
        ("right_edge", state.right_edge, edge.to_bytes()),
    ):
        if stored != computed:
            result.add(f"log_state.{name}", "log_state", f"{name} is not that of the entries in the log")


def _explain_redactions(result: FsckResult, redacted: Sequence[Redacted]) -> None:
    """Bytes may be gone only where an entry of the log's own chain says so."""
    if not redacted:
        return
    said = set()
    for stored in selectors.chain(log_subject(settings.METERPROOF["ORIGIN"])):
        with suppress(ValueError, KeyError, TypeError, ProofError):  # bytes that are no entry were named in their place
            if stored.event["type"] == "entry.redacted":
                data = stored.event["data"]
                said.add((key_of(data["subject"]), data["seq"], bytes.fromhex(data["hash"]), data["leaf"]))
    for entry in redacted:
        if (entry.subject, entry.seq, entry.hash, entry.leaf) not in said:
            result.add("redaction.unexplained", entry.place, "its bytes are gone, and no entry says why")


def _registered() -> list[Comparison]:
    left_out = _beyond_the_log if mirror.is_mirror() else []
    return [comparison for comparison in _comparisons if comparison not in left_out]


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
