"""Checks that judge entries while they are appended: the same questions as in a sweep, answered from the index tables.

Two batches in flight at once do not see each other here; the sweep, which reads the log in its one order, does. A check
that fails never costs a sender his batch: it is logged, and the sweep asks again.
"""

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from compliance.checks import actions, registry
from compliance.checks.knowledge import (
    KeyUse,
    LogKnowledge,
    Release,
    SealUse,
    Told,
    key_uses,
    sort_out,
    steps_of,
    told_by,
)
from compliance.checks.registry import EventCheck
from compliance.checks.story import KEYING, MeterStory, Step, key_value, seals_applied
from compliance.checks.sweep import Deviation
from compliance.checks.verdicts import Outcome, Verdict
from compliance.custody import facts, vocabulary
from compliance.custody.facts import Registrations, Statement, Witnesses
from compliance.custody.lifecycle import Fact
from compliance.custody.projection import statements_of
from compliance.custody.vocabulary import CORRECTED
from compliance.ledger.append import AppendContext, AppendedEntry
from compliance.ledger.models import Entry
from compliance.proof import subject as subjects
from compliance.provisioning import selectors as provisioning

log = logging.getLogger(__name__)

CHAINS_AT_ONCE = 400  # subjects in one statement


def judge_appended(context: AppendContext, entries: Sequence[AppendedEntry]) -> None:
    """Judge the entries of a batch that is being appended, and keep what deviates as suspicions."""
    listeners = registry.listeners()
    if not any(entry.event["type"] in listeners for entry in entries):
        return
    told = statements_of(context, entries)
    knowledge = LiveKnowledge(told, read=context.facts)
    seen: list[Deviation] = []
    for place, statement in enumerate(told):
        checks = listeners.get(statement.type, ())
        if checks:
            step = knowledge.go_to(place)
            for check in checks:
                seen += [Deviation(check, step, verdict, None) for verdict in _ask(check, step, knowledge)]
    if seen:
        actions.suspect(seen)


def _ask(check: EventCheck, step: Step, knowledge: "LiveKnowledge") -> list[Verdict]:
    try:
        return [verdict for verdict in check.judge(step, knowledge) if verdict.outcome is Outcome.DEVIATES]
    except (
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
    ):  # a mistake of ours in pure code; the database is unharmed
        log.exception("check %s failed at %s/%d", check.id, step.subject, step.seq)
        return []


@dataclass(slots=True)
class _MeterSoFar:
    """The story of a meter, and the steps of the batch that are still to be told."""

    story: MeterStory
    coming: list[tuple[int, Step]] = field(default_factory=list)


class LiveKnowledge:
    """What stands in the database and in the batch before the entry that is judged."""

    def __init__(self, told: Sequence[Statement], *, read: Mapping[bytes, Fact]) -> None:
        self._told = told
        self._place = 0
        self._places = {(statement.subject, statement.seq): place for place, statement in enumerate(told)}
        self._meters: dict[str, _MeterSoFar] = {}
        self._chains: dict[str, list[Step]] = {}
        self._firmware: dict[str, list[str]] = {}
        self._keys = _key_uses(told)
        listened = registry.listeners()
        self._steps = _steps(told, read)
        self._seals = _seal_uses(step for step in self._steps if step is not None)
        self._until: dict[tuple[str, int], int] = {}
        self._keep_what_leaves()
        self._load_meters(
            {each.subject for each in told if each.type in listened and each.subject.startswith("meter:")}
        )

    def go_to(self, place: int) -> Step:
        """Let the entry at `place` of the batch be the one that is judged; what comes before it is known."""
        self._place = place
        step = self._steps[place]
        assert step is not None, "only types of the vocabulary are listened to"  # noqa: S101 (narrows the type)
        return step

    def meter(self, subject: str) -> MeterStory:
        """The story of a meter so far."""
        if subject not in self._meters:
            self._load_meters({subject})
        so_far = self._meters[subject]
        while so_far.coming and so_far.coming[0][0] < self._place:
            _, step = so_far.coming.pop(0)
            if step.type == CORRECTED:
                so_far.story = _story(subject, told_by(subject, to_seq=step.seq).standing)
            else:
                so_far.story.take(step)
        return so_far.story

    def chain(self, subject: str) -> Sequence[Step]:
        """What was said on another chain so far."""
        return self._replayed(subject).chain(subject)

    def uses_of_key(self, value: str) -> Sequence[KeyUse]:
        """Where a key was put so far."""
        return [use for use in self._keys.get(value, ()) if self._is_before(use.subject, use.seq)]

    def uses_of_seal(self, number: str) -> Sequence[SealUse]:
        """Where a seal was put so far."""
        return [use for use in self._seals.get(number, ()) if self._is_before(use.subject, use.seq)]

    def releases_of(self, image: str) -> Sequence[Release]:
        """What was said of an image so far."""
        if image not in self._firmware:
            known = {row.subject for row in provisioning.firmware_by_digest(image)}
            corrected = {told.subject for told in self._told if told.type == CORRECTED}
            known |= {subject for subject in corrected if subject.startswith("firmware:")}
            self._firmware[image] = sorted(known)
        return [said for subject in self._firmware[image] for said in self._replayed(subject).releases_of(image)]

    def _replayed(self, subject: str) -> LogKnowledge:
        """What a reading of that chain alone gives, up to the entry that is judged."""
        if subject not in self._chains:
            self._chains[subject] = list(_read_chain(subject))
        so_far = LogKnowledge()
        for step in self._chains[subject]:
            if self._is_before(step.subject, step.seq):
                so_far.take(step)
        return so_far

    def _keep_what_leaves(self) -> None:
        """Keys and seals that the batch declares never put on: up to there they count, and the index forgot them."""
        for place, step in enumerate(self._steps):
            if step is None or step.type != CORRECTED or not step.subject.startswith("meter:"):
                continue
            before = {gone.seq for gone in told_by(step.subject, to_seq=step.seq - 1).voided}
            for gone in told_by(step.subject, to_seq=step.seq).voided:
                if gone.seq not in before:
                    self._until[gone.subject, gone.seq] = place
                    for value, use in key_uses(gone):
                        self._keys.setdefault(value, []).append(use)
                    for seal in seals_applied(gone.fact):
                        use_of_seal = SealUse(gone.subject, gone.seq, seal["point"])
                        self._seals.setdefault(seal["number"], []).append(use_of_seal)

    def _is_before(self, subject: str, seq: int) -> bool:
        """Everything that is committed came before; of the batch itself, what stands further up."""
        at = subject, seq
        return self._places.get(at, -1) < self._place <= self._until.get(at, self._place)

    def _load_meters(self, wanted: Iterable[str]) -> None:
        wanted = sorted(wanted)
        first_of_batch: dict[str, int] = {}
        coming: dict[str, list[tuple[int, Step]]] = defaultdict(list)
        for place, (statement, step) in enumerate(zip(self._told, self._steps, strict=True)):
            first_of_batch.setdefault(statement.subject, statement.seq)
            if step is not None:
                coming[statement.subject].append((place, step))
        before = {subject: first_of_batch.get(subject) for subject in wanted}
        stories = _stories(before)
        for subject in wanted:
            self._meters[subject] = _MeterSoFar(stories[subject], coming[subject])


def _steps(told: Sequence[Statement], read: Mapping[bytes, Fact]) -> list[Step | None]:
    """The entries as checks see them; custody has `read` those of meters before."""
    known = vocabulary.load().events
    unread = [each for each in told if each.hash not in read and each.type in known]
    facts_of = dict(read)
    if unread:
        witnesses = Witnesses.of(unread)
        registrations = Registrations([each for each in unread if each.type == facts.BIRTH])
        facts_of.update((each.hash, witnesses.fact(each, registrations)) for each in unread)
    return [None if (fact := facts_of.get(each.hash)) is None else Step(each, fact) for each in told]


def _key_uses(told: Iterable[Statement]) -> dict[str, list[KeyUse]]:
    """Every use of a key that the batch puts somewhere."""
    keys = [key for each in told if each.type in KEYING for key in each.data["keys"]]
    values = {value for key in keys if (value := key_value(key))}
    found: dict[str, list[KeyUse]] = defaultdict(list)
    by_tag = provisioning.keys_by_tag(values) if values else {}
    by_digest = provisioning.keys_by_public_key(values) if values else {}
    for value in values:
        for row in [*by_tag.get(value, ()), *by_digest.get(value, ())]:
            if (row.registry_tag or row.public_key_sha256) == value:
                found[value].append(KeyUse(row.subject, row.seq, row.role, row.shared))
    return found


def _seal_uses(steps: Iterable[Step]) -> dict[str, list[SealUse]]:
    """Every use of a seal that the batch puts somewhere."""
    numbers = {seal["number"] for step in steps for seal in seals_applied(step.fact)}
    rows = provisioning.seals_by_number(numbers) if numbers else {}
    return {number: [SealUse(row.subject, row.seq, row.point) for row in used] for number, used in rows.items()}


def _stories(before: dict[str, int | None]) -> dict[str, MeterStory]:
    """The stories of meters up to, and without, the entry at the given `seq`; None: all there is."""
    told: dict[str, list[Statement]] = defaultdict(list)
    keys = {subjects.key_of(subject): subject for subject, seq in before.items() if seq != 0}
    wanted = sorted(keys)
    for first in range(0, len(wanted), CHAINS_AT_ONCE):
        rows = Entry.objects.filter(subject__in=wanted[first : first + CHAINS_AT_ONCE]).order_by("subject", "seq")
        for statement in facts.read_entries(list(rows)):
            end = before[statement.subject]
            if end is None or statement.seq < end:
                told[statement.subject].append(statement)
    reader = _Reader([statement for chain in told.values() for statement in chain]) if told else None
    return {
        subject: _story(subject, reader.read(told[subject]).standing)
        if reader and subject in told
        else MeterStory(subject)
        for subject in before
    }


class _Reader:
    """Turns chains of meters into steps; what they need from elsewhere is read once for all of them."""

    def __init__(self, told: Sequence[Statement]) -> None:
        self._causes = facts.statements({cause for statement in told if (cause := statement.cause)})
        self._witnesses = Witnesses.of([*told, *self._causes.values()])
        self._registrations = Registrations([statement for statement in told if statement.type == facts.BIRTH])
        self._types = vocabulary.load().events

    def read(self, chain: Sequence[Statement]) -> Told:
        """The steps of one chain, sorted out."""
        seen = [self._fact(statement) for statement in chain]
        return sort_out(steps_of(chain, seen), seen)

    def _fact(self, statement: Statement) -> Fact | None:
        if (place := statement.cause) is not None:
            return self._witnesses.fact(self._causes[place]) if place in self._causes else None
        if statement.type not in self._types:
            return None
        return self._witnesses.fact(statement, self._registrations)


def _story(subject: str, steps: Iterable[Step]) -> MeterStory:
    story = MeterStory(subject)
    for step in steps:
        story.take(step)
    return story


def _read_chain(subject: str) -> Iterable[Step]:
    """The chain of a session, shipment, unit, firmware or type, corrections and all."""
    told = facts.chain(subject)
    witnesses = Witnesses.of(told)
    known = vocabulary.load().events
    return [Step(statement, witnesses.fact(statement)) for statement in told if statement.type in known]
