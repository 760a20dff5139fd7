"""A user's file of events: read strictly, completed with what a machine can know, checked before anything is sent.

The file holds one JSON event a line (NDJSON). What may be missing: `id` (a random UUID is drawn), `v`, `schema`,
`actor` (then the holder of the signing key), and the form of `subject`, which may be typed as
`{"kind","scheme","value"}`. What only the sender can state (`type`, `occurred_at`, `data`) is never made up.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast
from uuid import uuid4

from compliance.client.errors import BadFile, LineProblem
from compliance.proof import canonical, event, strict_json
from compliance.proof import subject as subjects
from compliance.proof.errors import ProofError

EVENT_VERSION = 1
FIRST_SCHEMA = 1
FILLED_IN = frozenset({"v", "id", "schema", "actor", "subject"})  # what a line may leave to the machine
MAX_LINE_BYTES = 65_536  # what the platform takes as sent; the canonical form may have 60,000

Event = dict[str, Any]


@dataclass(frozen=True, slots=True)
class NumberedEvent:
    """One complete unsigned event, and the line of the user's file it stands on."""

    line: int
    value: Event


ResolveSubject = Callable[[subjects.Subject], str]


def read_events(
    content: bytes,
    *,
    actor: Mapping[str, str],
    resolve: ResolveSubject = lambda typed: typed.text,
    earlier: Sequence[Event] = (),
) -> list[NumberedEvent]:
    """Read, complete and check every line of `content`. Raises BadFile with all problems, not only the first.

    `earlier` are events that an earlier run completed: a line that states one of them, whatever its place, becomes
    the very same event again, id and all, so that nothing is recorded twice. `resolve` turns a typed subject into the
    text of the chain it belongs to.
    """
    known = _Known(earlier)
    problems: list[LineProblem] = []
    read: list[NumberedEvent] = []
    ids: dict[str, int] = {}
    for number, line in enumerate(content.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            value = _complete(_parse(line), actor=actor, resolve=resolve, known=known)
            event.check_event(value)
        except ProofError as error:
            problems.append(LineProblem(number, error.pointer or "", error.code, error.detail))
            continue
        if value["id"] in ids:
            detail = f"the id {value['id']} stands on line {ids[value['id']]} already"
            problems.append(LineProblem(number, "/id", "event.id_twice", detail))
            continue
        ids[value["id"]] = number
        read.append(NumberedEvent(number, value))
    if problems:
        raise BadFile(f"{len(problems)} of {len(problems) + len(read)} lines cannot be sent.", problems)
    if not read:
        raise BadFile("The file holds no event.", [])
    return read


def write_events(events: Sequence[NumberedEvent]) -> bytes:
    """The completed events, one canonical line each: the exact bytes that will be signed."""
    return b"".join(canonical.encode(one.value) + b"\n" for one in events)


def parse_completed(content: bytes) -> list[Event]:
    """The events of a file written by `write_events`."""
    return [_parse(line) for line in content.split(b"\n") if line]


def _parse(line: bytes) -> Event:
    value = strict_json.parse(line, max_bytes=MAX_LINE_BYTES)
    if not isinstance(value, dict):
        raise ProofError("event.member", "an event is a JSON object")
    return cast(Event, value)


class _Known:
    """Completed events of an earlier run, each to be found once by what the user's line says."""

    def __init__(self, events: Sequence[Event]) -> None:
        self._by_statement: dict[bytes, list[Event]] = {}
        for one in events:
            self._by_statement.setdefault(_statement(one), []).append(one)

    def take(self, value: Event, subject: str | None) -> Event | None:
        """The event that `value` states, if it is among them. `subject` is the text of a typed subject."""
        candidates = self._by_statement.get(_statement(value), [])
        given = {name: value[name] for name in FILLED_IN if name in value}
        if subject is not None:
            given["subject"] = subject
        for one in candidates:
            if all(one.get(name) == said for name, said in given.items()):
                candidates.remove(one)
                return one
        return None


def _statement(value: Event) -> bytes:
    return canonical.encode({name: said for name, said in value.items() if name not in FILLED_IN})


def _complete(value: Event, *, actor: Mapping[str, str], resolve: ResolveSubject, known: _Known) -> Event:
    typed = _typed_subject(value["subject"]) if isinstance(value.get("subject"), dict) else None
    subject = resolve(typed) if typed else None
    for text in dict.fromkeys((subject, typed.text if typed else None)):  # the identifier may have joined a chain since
        if earlier := known.take(value, text):
            return earlier
    completed = {"v": EVENT_VERSION, "schema": FIRST_SCHEMA, "actor": dict(actor), "id": str(uuid4()), **value}
    if subject is not None:
        completed["subject"] = subject
    return completed


def _typed_subject(typed: Mapping[str, Any]) -> subjects.Subject:
    unknown = set(typed) - {"kind", "scheme", "value"}
    if unknown or not all(isinstance(typed.get(name, ""), str) for name in ("kind", "scheme", "value")):
        raise ProofError("subject.form", 'a typed subject is {"kind","scheme","value"}, all text', pointer="/subject")
    kind, scheme, value = typed.get("kind", "meter"), typed.get("scheme", ""), typed.get("value", "")
    if not scheme or not value:
        raise ProofError("subject.form", "a typed subject needs a scheme and a value", pointer="/subject")
    return subjects.make(kind, scheme, value)
