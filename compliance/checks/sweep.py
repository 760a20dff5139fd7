"""Reading the whole log, up to a position, through all checks.

Pure in its outcome: the same entries give the same verdicts, whenever and wherever they are read. What the database
adds are readings of the same log: who held a signing key, which roles an organisation had, which types were registered.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice

import msgspec

from compliance.accounts.models import Organisation, SigningKey
from compliance.checks import registry
from compliance.checks.knowledge import METER, LogKnowledge
from compliance.checks.registry import Check
from compliance.checks.story import Step
from compliance.checks.verdicts import Outcome, Verdict
from compliance.custody import facts, vocabulary
from compliance.custody.facts import Registrations, Statement, Witnesses
from compliance.custody.vocabulary import LINKED
from compliance.ledger import rows
from compliance.ledger.rows import Leaf
from compliance.proof import canonical
from compliance.proof.subject import key_of
from compliance.proof.times import parse_time

PIECE = 2_000  # entries decoded at a time
MAX_REASONS = 10  # a page shows the most frequent; the rest is a number

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Deviation:
    """A check that deviates at an entry. `log_size` is the smallest log in which it can be seen, None while unknown."""

    check: Check
    step: Step
    verdict: Verdict
    log_size: int | None


@dataclass(slots=True)
class Tally:
    """What one check said in all."""

    check: Check
    population: int = 0
    not_evaluable: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    noted: list[list[object]] = field(default_factory=list)
    deviations: list[Deviation] = field(default_factory=list)

    def add(self, step: Step, verdict: Verdict, log_size: int | None) -> None:
        """Count one verdict."""
        self.population += 1
        if verdict.outcome is Outcome.CONFORMS:
            return
        self.noted.append(
            [verdict.outcome, step.subject, step.seq, verdict.about, verdict.detail, list(verdict.meters)]
        )
        if verdict.outcome is Outcome.NOT_EVALUABLE:
            self.not_evaluable += 1
            self.reasons[verdict.detail] += 1
        else:
            self.deviations.append(Deviation(self.check, step, verdict, log_size))

    @property
    def digest(self) -> str:
        """SHA-256 over the check, its parameters and every verdict that is no pass."""
        said = {
            "detector": self.check.id,
            "version": self.check.version,
            "parameters": dict(self.check.parameters),
            "population": self.population,
            "verdicts": self.noted,
        }
        return hashlib.sha256(canonical.encode(said)).hexdigest()


@dataclass(frozen=True, slots=True)
class Swept:
    """What all checks said of the log up to `size`."""

    size: int
    time: datetime | None
    redacted: int
    tallies: tuple[Tally, ...]

    @property
    def deviations(self) -> list[Deviation]:
        """Every deviation, check by check."""
        return [deviation for tally in self.tallies for deviation in tally.deviations]


def sweep(size: int, *, progress: Progress | None = None) -> Swept:
    """Read the first `size` entries of the log through every check."""
    return _Sweep(size, progress).run()


class _Sweep:
    def __init__(self, size: int, progress: Progress | None) -> None:
        self._size = size
        self._progress = progress
        self._knowledge = LogKnowledge()
        self._tallies = {check.id: Tally(check) for check in registry.checks()}
        self._listeners = registry.listeners()
        self._types = vocabulary.load().events
        self._witnesses = Witnesses(
            keyids=SigningKey.objects.values_list("keyid", flat=True),
            authors=Organisation.objects.values_list("id", flat=True),
        )
        self._headers: dict[bytes, tuple[str, tuple[str, ...]]] = {}
        self._causes: dict[tuple[str, int], Step] = {}
        self._redacted = 0

    def run(self) -> Swept:
        """Read, then let the checks that look at the whole have their say."""
        leaves = rows.leaves(0, self._size)
        done = 0
        while piece := list(islice(leaves, PIECE)):
            self._read(piece)
            done += len(piece)
            if self._progress is not None:
                self._progress(done, self._size)
        for check in registry.sweep_checks():
            for step, verdict in check.examine(self._knowledge):
                self._tallies[check.id].add(step, verdict, self._size)
        return Swept(self._size, self._knowledge.time, self._redacted, tuple(self._tallies.values()))

    def _read(self, piece: Sequence[Leaf]) -> None:
        told = list(self._statements(piece))
        births = [statement for _, statement in told if statement.type == facts.BIRTH]
        registrations = Registrations(births)
        for place, statement in told:
            step = self._step(statement, registrations)
            if step is None:
                continue
            if not step.is_link:
                for check in self._listeners.get(step.type, ()):
                    for verdict in check.judge(step, self._knowledge):
                        self._tallies[check.id].add(step, verdict, place + 1)
            self._knowledge.take(step)

    def _statements(self, piece: Sequence[Leaf]) -> Iterator[tuple[int, Statement]]:
        """The entries that checks can read, each with its place in the log."""
        if unseen := {leaf.batch for leaf in piece} - self._headers.keys():
            self._headers.update(facts.batch_headers(unseen))
        for leaf in piece:
            if not leaf.body:
                self._redacted += 1
                continue
            entry = msgspec.json.decode(leaf.body)
            if entry["event"]["type"] not in self._types and entry["event"]["type"] != LINKED:
                continue
            author, keyids = self._headers[leaf.batch]
            recorded_at = parse_time(entry["recorded_at"])
            yield (
                leaf.leaf,
                Statement(
                    entry["subject"],
                    key_of(entry["subject"]),
                    entry["seq"],
                    leaf.hash,
                    recorded_at,
                    entry["event"],
                    author,
                    keyids,
                ),
            )

    def _step(self, statement: Statement, registrations: Registrations) -> Step | None:
        place = statement.cause
        if place is not None:
            cause = self._causes.get(place)
            return None if cause is None else Step(statement, cause.fact)
        step = Step(statement, self._witnesses.fact(statement, registrations))
        if not statement.subject.startswith(METER) and self._types[statement.type].expands:
            self._causes[statement.subject, statement.seq] = step
        return step
