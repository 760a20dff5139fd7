"""A log in memory, told event by event to one check: what it says of each, and of the whole at the end.

The events are the vocabulary's own examples. Those speak of one meter, `METER`, and fit each other.
"""

import copy
import itertools
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from compliance.checks import registry
from compliance.checks.knowledge import LogKnowledge
from compliance.checks.registry import EventCheck, SweepCheck
from compliance.checks.story import Step
from compliance.checks.verdicts import Outcome, Verdict
from compliance.custody import vocabulary
from compliance.custody.facts import Statement
from compliance.custody.lifecycle import Fact, Signer
from compliance.custody.vocabulary import LINKED
from compliance.proof.subject import key_of
from compliance.proof.times import format_time

WORDS = vocabulary.load()
METER = "meter:dlms_system_title:454C530000002406"
TYPE = "meter_type:elster:AS3000"
FIRMWARE = "firmware:elster:AS3000-4.1.2"
IMAGE = WORDS.events["design.firmware_released"].example["image_sha256"]
SESSION = "cell_session:elster:OSN2-2026-04-14-1"
SHIPMENT = "shipment:elster:S-2026-0417"
STATIONS = WORDS.cell_steps
START = datetime(2026, 4, 14, 6, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
ALICE, BOB = Signer("elster", "p-1"), Signer("elster", "p-2")
STATION = Signer("elster", None)

_SUBJECT_OF = {"cell_session": SESSION, "shipment": SHIPMENT, "meter_type": TYPE, "firmware": FIRMWARE}


def meter(number: int) -> str:
    """Subject text of another meter of the same maker."""
    return f"meter:dlms_system_title:454C53{number:010X}"


def identity(subject: str) -> dict[str, Any]:
    """What label and chip of the meter say at the gate of the cell."""
    value = subject.rpartition(":")[2]
    return {"label_identity": value, "electronic_identity": value}


class Telling:
    """What was told so far, and what the check said."""

    def __init__(self, check_id: str) -> None:
        self.check = registry.check(check_id)
        self.knowledge = LogKnowledge()
        self.said: list[Verdict] = []
        self.now = START
        self._length: dict[str, int] = {}
        self._hashes = itertools.count(1)

    def say(
        self,
        code: str,
        changes: Mapping[str, Any] | None = None,
        *,
        about: str | None = None,
        author: str = "elster",
        signers: Sequence[Signer] = (ALICE, BOB),
        at: datetime | None = None,
        came_at: datetime | None = None,
        **members: Any,
    ) -> list[Verdict]:
        """One event, a minute after the one before; `changes` to the example's data, None leaves a member out."""
        self.now = at or self.now + MINUTE
        data = {**copy.deepcopy(dict(WORDS.events[code].example)), **(changes or {})}
        subject = about or _SUBJECT_OF.get(next(iter(WORDS.events[code].kinds)), METER)
        event = {"type": code, "occurred_at": format_time(self.now), "actor": {"person": "p-1"}, "data": data}
        fact = Fact(type=code, author=author, data=data, hash=f"{next(self._hashes):064x}", signers=tuple(signers))
        return self._hear(subject, {**event, **members}, fact, came_at or self.now)

    def link(
        self, subject: str, code: str, changes: Mapping[str, Any] | None = None, *, author: str = "elster"
    ) -> None:
        """The platform's entry on a meter's chain for an event elsewhere."""
        data = {**copy.deepcopy(dict(WORDS.events[code].example)), **(changes or {})}
        event = {"type": LINKED, "occurred_at": format_time(self.now), "actor": {"service": "platform"}, "data": {}}
        self._hear(subject, event, Fact(type=code, author=author, data=data, hash="ab" * 32), self.now)

    def _hear(self, subject: str, event: Mapping[str, Any], fact: Fact, came_at: datetime) -> list[Verdict]:
        seq = self._length.get(subject, 0)
        self._length[subject] = seq + 1
        keyids = tuple(f"sha256:{number}" for number in range(len(fact.signers)))
        hash_ = bytes.fromhex(fact.hash)
        step = Step(Statement(subject, key_of(subject), seq, hash_, came_at, event, fact.author, keyids), fact)
        given: list[Verdict] = []
        if isinstance(self.check, EventCheck) and not step.is_link and step.type in self.check.listens_to:
            given = list(self.check.judge(step, self.knowledge))
        self.knowledge.take(step)
        self.said += given
        return given

    def examined(self) -> list[Verdict]:
        """What a check of the whole says now."""
        assert isinstance(self.check, SweepCheck)
        return [verdict for _, verdict in self.check.examine(self.knowledge)]

    def born(self, *subjects: str) -> None:
        """Births of the meter, or of others, without names of their own beside the chain's."""
        for subject in subjects or (METER,):
            self.say("mfg.assembled", {"identifiers": []}, about=subject)

    def through_cell(self, about: str = METER, *, without: Sequence[str] = (), **session: str) -> None:
        """All stations in order, not those left out."""
        for station in STATIONS:
            if station not in without:
                changes = {**session, **(identity(about) if station == "cell.entered" else {})}
                self.say(station, changes, about=about)


def outcomes(verdicts: Sequence[Verdict]) -> list[str]:
    """The bare answers."""
    return [verdict.outcome.value for verdict in verdicts]


def one(verdicts: Sequence[Verdict]) -> Verdict:
    """The only answer."""
    (verdict,) = verdicts
    return verdict


def is_found(verdicts: Sequence[Verdict], detail: str, *meters: str) -> bool:
    """Whether the only answer is a deviation that says `detail` and names `meters` beside the chain's own."""
    verdict = one(verdicts)
    return verdict.outcome is Outcome.DEVIATES and detail in verdict.detail and verdict.meters == meters
