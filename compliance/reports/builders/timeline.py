"""A meter's chain as rows: what happened, who stated it, and the hash that proves it."""

from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache

from compliance.custody import selectors as custody
from compliance.custody import words
from compliance.custody.models import Violation
from compliance.custody.selectors import Step
from compliance.proof import subject as subjects
from compliance.reports.builders.record import organisation_name
from compliance.reports.facts import EventFacts


def timeline(subject: str, *, to_seq: int) -> list[EventFacts]:
    """The events of the chain of `subject` up to `to_seq`, oldest first."""
    name = cache(organisation_name)
    wrong = violations_of(subject)
    return [_row(step, name(step.author), wrong) for step in custody.walk(subject, to_seq=to_seq)]


def violations_of(subject: str) -> Mapping[int, list[Violation]]:
    """Violations that stand, by the entry they are at."""
    found: dict[int, list[Violation]] = defaultdict(list)
    rows = Violation.objects.filter(subject_key=subjects.key_of(subject), settled_seq=None)
    for violation in rows.order_by("seq", "ordinal"):
        found[violation.seq].append(violation)
    return found


def _row(step: Step, author: str, wrong: Mapping[int, list[Violation]]) -> EventFacts:
    return EventFacts(
        seq=step.seq,
        occurred_at=_moment(step.occurred_at),
        recorded_at=_moment(step.recorded_at),
        title=words.title(step.type, step.data) + (", declared not to have occurred" if step.voided else ""),
        author=author,
        place=_place(step),
        entry_hash=step.statement.hash.hex(),
        violations=tuple(words.violation(violation.code) for violation in wrong.get(step.seq, ())),
    )


def _place(step: Step) -> str:
    location = step.stated.event.get("location", {})
    return next((f"{kind} {value}" for kind, value in location.items()), "")


def _moment(value: datetime) -> str:
    return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
