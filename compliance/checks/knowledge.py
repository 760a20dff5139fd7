"""What a check may ask about the log before the entry it judges.

`Knowledge` is the question side. `LogKnowledge` answers from memory while a sweep reads the log from leaf 0 on; `live`
answers the same questions from index tables while an entry is appended. Entries that their author declared not to have
occurred are left out by both, from the declaration on.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from compliance.checks.story import KEYING, MeterStory, Step, key_value, seals_applied
from compliance.custody import facts, lifecycle, profiles, vocabulary
from compliance.custody.lifecycle import DID_NOT_OCCUR
from compliance.custody.vocabulary import CORRECTED

METER = "meter:"
# Chains that checks read whole: few and short beside those of meters.
KEPT_KINDS = ("cell_session:", "shipment:", "logistic_unit:", "firmware:", "meter_type:")
_VISITS = {"cell.entered": "entered", "cell.exited": "exited"}
_REJECTIONS = {"rework": "reworked", "scrap": "scrapped"}


@dataclass(frozen=True, slots=True)
class KeyUse:
    """A key on a meter. `value` is what equal keys have in common."""

    subject: str
    seq: int
    role: str
    shared: bool


@dataclass(frozen=True, slots=True)
class SealUse:
    """A seal put on a meter."""

    subject: str
    seq: int
    point: str


@dataclass(frozen=True, slots=True)
class Release:
    """Something a manufacturer said about a firmware image."""

    subject: str
    seq: int
    author: str
    status: str
    target_types: tuple[str, ...]
    occurred_at: datetime


class Knowledge(Protocol):
    """The log before the entry that is being judged."""

    def meter(self, subject: str) -> MeterStory:
        """The story of a meter so far; an empty one if it was never heard of."""

    def chain(self, subject: str) -> Sequence[Step]:
        """What was said on the chain of a session, shipment, unit, firmware or type, the earliest first."""

    def uses_of_key(self, value: str) -> Sequence[KeyUse]:
        """Where a key with that tag or public key digest was put."""

    def uses_of_seal(self, number: str) -> Sequence[SealUse]:
        """Where a seal of that number was put."""

    def releases_of(self, image: str) -> Sequence[Release]:
        """What was said about a firmware image, the earliest first."""


@dataclass(slots=True)
class LogKnowledge:
    """All of the log up to a position, as far as checks need it, in memory."""

    meters: dict[str, MeterStory] = field(default_factory=dict)
    chains: dict[str, list[Step]] = field(default_factory=dict)
    keys: dict[str, list[KeyUse]] = field(default_factory=lambda: defaultdict(list))
    seals: dict[str, list[SealUse]] = field(default_factory=lambda: defaultdict(list))
    images: dict[str, list[Release]] = field(default_factory=lambda: defaultdict(list))
    visits: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    last_word: dict[str, datetime] = field(default_factory=dict)
    corrected: set[str] = field(default_factory=set)
    time: datetime | None = None

    def meter(self, subject: str) -> MeterStory:
        return self.meters.get(subject) or MeterStory(subject)

    def chain(self, subject: str) -> Sequence[Step]:
        return self.chains.get(subject, ())

    def uses_of_key(self, value: str) -> Sequence[KeyUse]:
        return self.keys.get(value, ())

    def uses_of_seal(self, number: str) -> Sequence[SealUse]:
        return self.seals.get(number, ())

    def releases_of(self, image: str) -> Sequence[Release]:
        return self.images.get(image, ())

    def take(self, step: Step) -> None:
        """Go on by one entry."""
        self.time = step.recorded_at
        if not step.is_link and self.last_word.get(step.author, step.occurred_at) <= step.occurred_at:
            self.last_word[step.author] = step.occurred_at
        if step.type == CORRECTED:
            self._correct(step)
        elif step.subject.startswith(METER):
            self._of(step.subject).take(step)
            if not step.is_link:
                self._index(step)
        elif step.subject.startswith(KEPT_KINDS):
            self.chains.setdefault(step.subject, []).append(step)
            if step.type == "design.firmware_released":
                self.images[step.data["image_sha256"]].append(release_of(step))

    def _of(self, subject: str) -> MeterStory:
        story = self.meters.get(subject)
        if story is None:
            story = self.meters[subject] = MeterStory(subject)
        return story

    def _index(self, step: Step) -> None:
        for value, use in key_uses(step):
            self.keys[value].append(use)
        for seal in seals_applied(step.fact):
            self.seals[seal["number"]].append(SealUse(step.subject, step.seq, seal["point"]))
        if visit := _visit(step):
            self.visits[str(step.data["session_id"])][visit] += 1

    def _correct(self, step: Step) -> None:
        """Leave out what its author says did not occur."""
        if step.subject.startswith(METER):
            if step.data.get("reason") == DID_NOT_OCCUR:
                self._tell_anew(step)
            return
        chain = self.chains.get(step.subject, [])
        gone = next((each for each in chain if each.fact.hash == step.fact.corrects), None)
        if gone is None or gone.author != step.author or step.data.get("corrects") != step.fact.corrects:
            return
        if gone.fact.hash in self.corrected:
            return
        self.corrected.add(gone.fact.hash)
        if step.data.get("reason") == DID_NOT_OCCUR:
            chain.remove(gone)
            self._forget(gone)
            if not chain:
                del self.chains[step.subject]

    def _tell_anew(self, correction: Step) -> None:
        """The story of a meter without what was declared not to have occurred."""
        subject = correction.subject
        before = told_by(subject, to_seq=correction.seq)
        story = self.meters[subject] = MeterStory(subject)
        for kept in before.standing:
            story.take(kept)
        for gone in before.voided:
            self._forget(gone)

    def _forget(self, gone: Step) -> None:
        for value, use in key_uses(gone):
            if use in self.keys[value]:
                self.keys[value].remove(use)
        for seal in seals_applied(gone.fact):
            use_of_seal = SealUse(gone.subject, gone.seq, seal["point"])
            if use_of_seal in self.seals[seal["number"]]:
                self.seals[seal["number"]].remove(use_of_seal)
        if visit := _visit(gone):
            self.visits[str(gone.data["session_id"])][visit] -= 1
        if gone.type == "design.firmware_released" and release_of(gone) in self.images[gone.data["image_sha256"]]:
            self.images[gone.data["image_sha256"]].remove(release_of(gone))


@dataclass(frozen=True, slots=True)
class Told:
    """A chain of a meter: what stands, and what was declared not to have occurred."""

    standing: tuple[Step, ...]
    voided: tuple[Step, ...]


def told_by(subject: str, *, to_seq: int | None = None) -> Told:
    """Read the chain of a meter from the ledger, up to and including `to_seq`."""
    statements, seen = facts.chain_facts(subject, to_seq=to_seq)
    return sort_out(steps_of(statements, seen), seen)


def steps_of(statements: Sequence[facts.Statement], seen: Sequence[lifecycle.Fact | None]) -> list[Step | None]:
    """Entries of a chain beside what the fold sees of them; None for those that say nothing to it."""
    return [
        None if fact is None else Step(told=statement, fact=fact)
        for statement, fact in zip(statements, seen, strict=True)
    ]


def sort_out(steps: Sequence[Step | None], seen: Sequence[lifecycle.Fact | None]) -> Told:
    """Separate what stands from what its author declared not to have occurred."""
    gone: frozenset[int] = frozenset()
    if any(fact is not None and fact.type == CORRECTED for fact in seen):
        gone = lifecycle.fold(seen, words=vocabulary.load(), profiles=profiles.active()).voided
    told = [(place, step) for place, step in enumerate(steps) if step is not None and step.type != CORRECTED]
    return Told(
        standing=tuple(step for place, step in told if place not in gone),
        voided=tuple(step for place, step in told if place in gone),
    )


def key_uses(step: Step) -> list[tuple[str, KeyUse]]:
    """The keys that the event puts on the meter."""
    if step.type not in KEYING:
        return []
    return [
        (value, KeyUse(step.subject, step.seq, str(key.get("role")), key.get("shared") is True))
        for key in step.data["keys"]
        if (value := key_value(key))
    ]


def release_of(step: Step) -> Release:
    """A `design.firmware_released` as it is looked up by image."""
    return Release(
        subject=step.subject,
        seq=step.seq,
        author=step.author,
        status=str(step.data.get("status")),
        target_types=tuple(step.data.get("target_types", ())),
        occurred_at=step.occurred_at,
    )


def _visit(step: Step) -> str:
    """Under which word the event counts in its session's balance, empty if under none."""
    if not isinstance(step.data.get("session_id"), str):
        return ""
    if step.type == "mfg.rejected":
        return _REJECTIONS.get(str(step.data.get("outcome")), "")
    return _VISITS.get(step.type, "")
