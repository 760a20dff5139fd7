"""One file on its way: completed, split into signed batches, sent one after the other, resumable at any point.

Everything that is sent is first written to the home folder, signature and all. After a crash the very same bytes go out
again, and the platform answers them as it did before: nothing is recorded twice, nothing is lost.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from compliance.client import events as event_files
from compliance.client.errors import BadFile, ClientError, LineProblem, Refused
from compliance.client.events import NumberedEvent
from compliance.client.home import Home, read_json, write_bytes, write_json
from compliance.client.session import Outcome, Session
from compliance.client.signing import SigningKey
from compliance.proof import batch
from compliance.proof import subject as subjects
from compliance.proof.errors import ProofError

ENVELOPE_ROOM = 16 * 1024  # the largest envelope there may be
PLAN, COMPLETED = "plan.json", "completed.ndjson"


@dataclass(frozen=True, slots=True)
class PlannedBatch:
    """A signed batch in the submission folder. `lines` are the lines of the user's file its events stand on."""

    path: Path
    batch_id: str
    lines: Sequence[int]


@dataclass(frozen=True, slots=True)
class Sent:
    """A batch that the platform answered."""

    planned: PlannedBatch
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Submission:
    """The signed batches of one file."""

    batches: Sequence[PlannedBatch]
    completed: Path | None  # where the completed events lie beside the user's file, if anything had to be filled in

    @property
    def events(self) -> int:
        """How many events there are in all."""
        return sum(len(one.lines) for one in self.batches)


def prepare(session: Session, path: Path, *, keys: Sequence[SigningKey], source: str | None = None) -> Submission:
    """Make the batches of `path`, or find those that an earlier run made from the same content.

    A file that is a signed batch already is taken as it is.
    """
    content = _read(path)
    if _looks_signed(content):
        return _take_signed(session.home, path, content)
    purpose = "\n".join([session.origin, *sorted(one.key.public.keyid for one in keys)])
    folder = session.home.submission(content, purpose)
    if not (folder / PLAN).exists():
        numbered = _complete(session, path, content, keys)
        _sign(session, folder, numbered, keys, source or keys[0].source)
    written = session.home.submission(content, "completed") / COMPLETED
    completed = beside(path)
    is_there = completed.exists() and completed.read_bytes() == written.read_bytes()
    return Submission(_planned(folder), completed if is_there else None)


def send(session: Session, submission: Submission, *, mode: str) -> Iterator[Sent]:
    """Send each batch in order. Raises Refused with lines of the user's file, Unreachable to be continued later."""
    for planned in submission.batches:
        try:
            outcome = session.send_batch(planned.path.read_bytes(), mode=mode)
        except Refused as refused:
            raise _in_lines_of_file(refused, planned) from refused
        yield Sent(planned, outcome)


def problems_of(sent: Sent) -> list[LineProblem]:
    """Events that were refused one by one (mode `proceed`), by line of the user's file."""
    return [_to_line(problem, sent.planned) for problem in sent.outcome.problems]


def is_signed(path: Path) -> bool:
    """Whether `path` is a signed batch already, which needs no key of the one who sends it."""
    return _looks_signed(_read(path))


def beside(path: Path) -> Path:
    """Where the completed form of `path` is written: `events.ndjson` becomes `events.complete.ndjson`."""
    return path.with_name(f"{path.stem}.complete{path.suffix}")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ClientError(f"{path} cannot be read: {error.strerror}") from error


def _looks_signed(content: bytes) -> bool:
    return b'"payloadType"' in content[: ENVELOPE_ROOM * 4].split(b"\n", 1)[0]


def _take_signed(home: Home, path: Path, content: bytes) -> Submission:
    try:
        received = batch.read(content)
    except ProofError as error:
        raise BadFile(f"{path} is no batch: {error}", []) from error
    folder = home.submission(content, "signed")
    stored = home.folder(folder) / "0001.ndjson"
    write_bytes(stored, content)
    lines = range(2, 2 + received.payload["count"])
    return Submission([PlannedBatch(stored, received.batch_id, lines)], None)


def _complete(session: Session, path: Path, content: bytes, keys: Sequence[SigningKey]) -> list[NumberedEvent]:
    """The completed events; their ids are kept by content, so that other keys or another try do not make new ones."""
    kept = session.home.submission(content, "completed") / COMPLETED
    earlier = [file for file in (kept, beside(path)) if file.exists()]
    known = event_files.parse_completed(earlier[0].read_bytes()) if earlier else []
    seen: dict[subjects.Subject, str] = {}

    def resolve(typed: subjects.Subject) -> str:
        if typed not in seen:
            seen[typed] = session.chain_of(typed)
        return seen[typed]

    numbered = event_files.read_events(content, actor=keys[0].holder, resolve=resolve, earlier=known)
    written = event_files.write_events(numbered)
    write_bytes(kept, written)
    if written.strip() != content.strip() and os.access(path.parent, os.W_OK):
        write_bytes(beside(path), written, mode=0o644)
    return numbered


def _sign(
    session: Session, folder: Path, numbered: Sequence[NumberedEvent], keys: Sequence[SigningKey], source: str
) -> None:
    plan = []
    for position, group in enumerate(_split(numbered, session.limits), start=1):
        signed = batch.build(
            events=[one.value for one in group],
            log=session.origin,
            issuer=keys[0].organisation,
            source=source,
            sequence=session.home.next_sequence(f"{session.origin}/{keys[0].organisation}/{source}"),
            created=datetime.now(UTC),
            keys=[one.key for one in keys],
        )
        name = f"{position:04d}.ndjson"
        write_bytes(folder / name, signed.ndjson)
        plan.append({"file": name, "batch": signed.batch_id, "lines": [one.line for one in group]})
    write_json(folder / PLAN, {"log": session.origin, "batches": plan})


def _split(numbered: Sequence[NumberedEvent], limits: Mapping[str, int]) -> Iterator[list[NumberedEvent]]:
    """Groups that fit into one batch each, in order."""
    group: list[NumberedEvent] = []
    room = limits["batch_bytes"] - ENVELOPE_ROOM
    for one in numbered:
        size = len(event_files.write_events([one]))
        if group and (len(group) == limits["batch_events"] or size > room):
            yield group
            group, room = [], limits["batch_bytes"] - ENVELOPE_ROOM
        group.append(one)
        room -= size
    yield group


def _planned(folder: Path) -> list[PlannedBatch]:
    plan: dict[str, Any] = read_json(folder / PLAN)
    return [PlannedBatch(folder / one["file"], one["batch"], one["lines"]) for one in plan["batches"]]


def _in_lines_of_file(refused: Refused, planned: PlannedBatch) -> Refused:
    return Refused(
        status=refused.status,
        code=refused.code,
        detail=str(refused.message).rsplit(" [", 1)[0],
        mend=refused.mend,
        problems=[_to_line(problem, planned) for problem in refused.problems],
    )


def _to_line(problem: LineProblem, planned: PlannedBatch) -> LineProblem:
    """From a line of the batch as sent (the envelope is line 1) to a line of the user's file."""
    index = problem.line - 2
    if not 0 <= index < len(planned.lines):
        return problem
    return LineProblem(planned.lines[index], problem.pointer, problem.code, problem.detail)
