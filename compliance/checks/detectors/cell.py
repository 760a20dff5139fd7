"""Does the secured cell do what it promises? AN-04 for each unit, AN-05 for each session."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from compliance.checks.knowledge import Knowledge, LogKnowledge
from compliance.checks.registry import EventCheck, Severity, SweepCheck, register
from compliance.checks.story import Step
from compliance.checks.verdicts import Outcome, Verdict, conforms, deviates, not_evaluable
from compliance.custody import vocabulary


@register
class CellStepMissing(EventCheck):
    """AN-04: Did the unit pass every station of the cell, in order, in one session?

    Looked at is the last visit, from the entry on: what a reworked unit did before does not count, a repeated test does
    no harm.
    """

    id = "AN-04"
    name = "cell_step_missing_or_out_of_order"
    severity = Severity.CRITICAL
    speaks_to = ("iso27001-2022:A.8.9", "iso27001-2022:A.8.25", "iso27001-2022:A.5.36")
    listens_to = ("cell.exited",)

    def judge(self, step: Step, knowledge: Knowledge) -> Iterable[Verdict]:
        session = step.data.get("session_id")
        if not isinstance(session, str):
            return [not_evaluable("the exit names no session")]
        passed = [name for name, in_session in knowledge.meter(step.subject).steps if in_session == session]
        wanted = vocabulary.load().cell_steps
        if missing := [name for name in wanted if name not in passed]:
            return [deviates(f"left {session} without {', '.join(missing)}")]
        if (order := list(dict.fromkeys(passed))) != list(wanted):
            late = next(name for name, should in zip(order, wanted, strict=True) if name != should)
            return [deviates(f"passed the stations of {session} out of order: {late} came too early")]
        return [conforms()]


@register
class CellCountMismatch(SweepCheck):
    """AN-05: Do the balances of each session of the cell come out even, within a shift?

    Units, keys and seals by the session's own reconciliation, units also by what the meters' chains say. A chain may
    tell less for as long as `late_days`: stations work without the platform and hand in later.
    """

    id = "AN-05"
    name = "cell_count_mismatch"
    severity = Severity.CRITICAL
    speaks_to = ("iso27001-2022:A.5.9", "iso27001-2022:A.7.1", "iso27001-2022:A.8.15", "iso27001-2022:A.5.3")
    parameters = {"max_hours_open": 12, "late_days": 7}

    def examine(self, knowledge: LogKnowledge) -> Iterable[tuple[Step, Verdict]]:
        for subject, chain in sorted(knowledge.chains.items()):
            own = [step for step in chain if step.is_by_namesake]
            if subject.startswith("cell_session:") and own:
                yield self._judge(subject, own, knowledge)

    def _judge(self, subject: str, chain: list[Step], knowledge: LogKnowledge) -> tuple[Step, Verdict]:
        opened = next((step for step in chain if step.type == "cell.session_opened"), None)
        closed = next((step for step in reversed(chain) if step.type == "cell.session_reconciled"), None)
        if closed is None:
            first = opened or chain[0]
            return first, self._judge_open(first, knowledge)
        problems = list(_uneven(closed.data))
        if opened is None:
            verdict = deviates("; ".join(problems)) if problems else not_evaluable("nobody recorded that it was opened")
            return closed, verdict
        if closed.occurred_at - opened.occurred_at > self._longest:
            problems.append(f"reconciled after more than {self.parameters['max_hours_open']} hours")
        visits: Mapping[str, int] = knowledge.visits.get(subject, {})
        counted = self._counted(closed, visits, knowledge.time or closed.recorded_at)
        if counted.outcome is Outcome.DEVIATES:
            problems.append(counted.detail)
        return closed, deviates("; ".join(problems)) if problems else counted

    @property
    def _longest(self) -> timedelta:
        return timedelta(hours=self.parameters["max_hours_open"])

    def _judge_open(self, opened: Step, knowledge: LogKnowledge) -> Verdict:
        """Not reconciled: too late when time has passed, by our clock or by what its own people have said since."""
        heard = knowledge.last_word.get(opened.author, opened.occurred_at)
        now = knowledge.time or opened.recorded_at
        if heard - opened.occurred_at > self._longest or now - opened.recorded_at > self._longest:
            return deviates(
                f"never reconciled, more than {self.parameters['max_hours_open']} hours after it was opened"
            )
        return not_evaluable("the session is still open")

    def _counted(self, closed: Step, visits: Mapping[str, int], now: datetime) -> Verdict:
        """Hold the session's numbers against the chains of its meters."""
        problems, waiting = [], []
        for word in ("entered", "exited", "reworked", "scrapped"):
            stated, told = int(closed.data[word]), visits.get(word, 0)
            if told > stated:
                problems.append(f"{stated} {word} by its count, {told} by the meters' chains")
            elif told < stated:
                waiting.append(f"{told} of {stated} {word}")
        if problems:
            return deviates("; ".join(problems))
        if waiting and now - closed.recorded_at > timedelta(days=self.parameters["late_days"]):
            return deviates(f"the meters' chains tell of only {', '.join(waiting)}")
        if waiting:
            return not_evaluable(f"the meters' chains tell of {', '.join(waiting)} so far")
        return conforms()


def _uneven(data: Mapping[str, Any]) -> Iterator[str]:
    """Which of the three balances, of units, keys and seals, do not come out even."""
    out = sum(int(data[name]) for name in ("exited", "reworked", "scrapped", "still_inside"))
    if int(data["entered"]) != out:
        yield f"{data['entered']} units entered, {out} accounted for"
    if int(data["still_inside"]) != 0:
        yield f"{data['still_inside']} units still inside at the close"
    keys = int(data["keys_bound"]) + int(data["keys_destroyed"])
    if int(data["keys_generated"]) != keys:
        yield f"{data['keys_generated']} keys generated, {keys} bound or destroyed"
    seals = sum(int(data[name]) for name in ("seals_applied", "seals_voided", "seals_returned"))
    if int(data["seals_issued"]) != seals:
        yield f"{data['seals_issued']} seals issued, {seals} applied, voided or returned"
