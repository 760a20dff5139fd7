"""What is said, by whom, when; and in which order batches must go out so that every chain reads in the order of events.

A `Statement` becomes one event. `plan` groups statements into waves: two statements that touch the same chain and come
from different queues lie in different waves, in the order they happened; within a wave queues may send together.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from itertools import groupby
from typing import Any
from uuid import UUID, uuid5

from compliance.demo.papers import Paper
from compliance.demo.people import Desk
from compliance.proof.times import format_time

EVENT_IDS = UUID(
    "8a2f6c1e-6b0d-5f57-9c43-0d9a55d1e5c1"
)  # namespace of the ids drawn from a seed (RFC 9562 section 5.5)
MAX_BATCH_EVENTS = 1000  # what the platform takes in one answer


@dataclass(slots=True)
class Statement:
    """One event before it is signed.

    `members` are chains it reaches through the platform's links, `refers_to` chains that must already say what it
    builds on. `sent_at` is later than `at` for what waited in a hand-held without network. `corrects` is a statement of
    the same chain whose entry this one corrects.
    """

    number: int
    at: datetime
    desk: Desk
    type: str
    subject: str
    actor: Mapping[str, str]
    data: dict[str, Any]
    second_actor: Mapping[str, str] | None = None
    papers: tuple[Paper, ...] = ()
    members: tuple[str, ...] = ()
    refers_to: tuple[str, ...] = ()
    sent_at: datetime | None = None
    corrects: "Statement | None" = None
    id: str = ""

    @property
    def leaves_at(self) -> tuple[datetime, int]:
        """Sort key: when it goes out; what was said first goes first."""
        return (self.sent_at or self.at, self.number)

    @property
    def stand_in(self) -> str:
        """Stands for the hash of its entry until the platform has answered."""
        return sha256(self.id.encode()).hexdigest()

    def event(self) -> dict[str, Any]:
        """The unsigned event. Where it corrects another, the hash of that entry is still to be filled in."""
        event: dict[str, Any] = {
            "v": 1,
            "id": self.id,
            "type": self.type,
            "schema": 1,
            "subject": self.subject,
            "occurred_at": format_time(self.at),
            "actor": dict(self.actor),
            "data": self.data,
        }
        if self.second_actor is not None:
            event["second_actor"] = dict(self.second_actor)
        if self.papers:
            event["evidence"] = [paper.reference for paper in self.papers]
        return event


@dataclass(slots=True)
class Timeline:
    """Everything that is said in one run."""

    seed: int
    statements: list[Statement] = field(default_factory=list)
    _said: int = 0

    def say(self, at: datetime, desk: Desk, code: str, subject: str, data: dict[str, Any], **more: Any) -> Statement:
        """Add a statement. Its actor is the holder of the desk's first key, the second actor that of its second key."""
        actors = [holder.actor for holder in more.pop("holders")]
        statement = Statement(
            number=self._said,
            at=at.astimezone(UTC).replace(microsecond=at.microsecond // 1000 * 1000),
            desk=desk,
            type=code,
            subject=subject,
            actor=actors[0],
            second_actor=actors[1] if len(actors) > 1 else None,
            data=data,
            **more,
        )
        statement.id = str(uuid5(EVENT_IDS, f"{self.seed}/{self._said}/{code}/{subject}"))
        self._said += 1
        self.statements.append(statement)
        return statement

    def in_order(self) -> list[Statement]:
        """All statements as they go out."""
        return sorted(self.statements, key=lambda statement: statement.leaves_at)

    def of(self, subject: str, *types: str) -> list[Statement]:
        """The statements on `subject`'s own chain, of these types or of all, in order."""
        return [one for one in self.in_order() if one.subject == subject and (not types or one.type in types)]

    def drop(self, statement: Statement) -> None:
        """Leave `statement` unsaid."""
        self.statements.remove(statement)


@dataclass(frozen=True, slots=True)
class PlannedBatch:
    """Statements that the people at one desk sign and send together."""

    desk: Desk
    statements: tuple[Statement, ...]


Lane = Sequence[PlannedBatch]  # batches of one queue, to be sent one after the other
Wave = Sequence[Lane]  # lanes that may go out at the same time


def plan(statements: Iterable[Statement]) -> list[Wave]:
    """Waves in the order they must be sent; all of a wave before any of the next."""
    last: dict[str, tuple[int, str, bool]] = {}
    said_in_wave: dict[str, int] = {}
    waves: list[dict[str, list[Statement]]] = []
    for statement in statements:
        wave, queue = 0, statement.desk.queue
        if statement.corrects is not None:  # it names the hash that the answer to the original tells
            wave = said_in_wave[statement.corrects.id] + 1
        for subject in _touched(statement):
            if (before := last.get(subject)) is not None:
                earlier, said_in, by_link = before
                wave = max(wave, earlier + (said_in != queue or (by_link and not statement.members)))
        while len(waves) <= wave:
            waves.append({})
        waves[wave].setdefault(queue, []).append(statement)
        said_in_wave[statement.id] = wave
        last[statement.subject] = (wave, queue, False)
        for member in statement.members:
            last[member] = (wave, queue, True)
    return [[_lane(said) for said in wave.values()] for wave in waves]


def _touched(statement: Statement) -> Iterator[str]:
    yield statement.subject
    yield from statement.members
    yield from statement.refers_to


def _lane(said: Sequence[Statement]) -> Lane:
    return [
        PlannedBatch(desk, tuple(shift[start : start + MAX_BATCH_EVENTS]))
        for desk, shift in ((desk, list(group)) for desk, group in groupby(said, key=lambda one: one.desk))
        for start in range(0, len(shift), MAX_BATCH_EVENTS)
    ]
