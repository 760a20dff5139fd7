"""The applier of checks: findings follow the entries of their own chains."""

from collections.abc import Sequence

from compliance.checks.models import Finding, FindingMeter, FindingState
from compliance.custody.facts import Statement
from compliance.custody.projection import statements_of
from compliance.ledger.append import AppendContext, AppendedEntry
from compliance.proof import subject as subjects

OPENED, CLOSED = "check.finding_opened", "check.finding_closed"
_PREFIX = "finding:platform:"


def apply(context: AppendContext, entries: Sequence[AppendedEntry]) -> None:
    """Project the entries of a batch that is being appended."""
    apply_statements(statements_of(context, entries))


def apply_statements(told: Sequence[Statement]) -> None:
    """Project entries of one batch, in order."""
    opened = [statement for statement in told if statement.type == OPENED]
    if opened:
        Finding.objects.bulk_create([_finding(statement) for statement in opened], ignore_conflicts=True)
        FindingMeter.objects.bulk_create(
            [
                FindingMeter(finding=_id(statement), meter_key=subjects.key_of(meter))
                for statement in opened
                for meter in statement.data["meters"]
            ],
            ignore_conflicts=True,
        )
    for statement in told:
        if statement.type == CLOSED:
            Finding.objects.filter(pk=_id(statement), state=FindingState.OPEN).update(
                state=FindingState.CLOSED,
                closed_at=statement.recorded_at,
                closed_by=str(next(iter(statement.event["actor"].values()))),
                resolution=statement.data["resolution"],
                reason=statement.data["reason"],
            )


def _finding(statement: Statement) -> Finding:
    data, entry = statement.data, statement.data["entry"]
    return Finding(
        id=_id(statement),
        detector=data["detector"],
        version=data["version"],
        parameters=dict(sorted(data["parameters"].items())),  # as the log has them; SQLite compares JSON as text
        severity=data["severity"],
        subject=entry["subject"],
        subject_key=subjects.key_of(entry["subject"]),
        seq=entry["seq"],
        hash=bytes.fromhex(entry["hash"]),
        event_type=entry["type"],
        author=entry["author"],
        about=data["about"] or "",
        detail=data["detail"],
        meters=data["meters"],
        meter_count=data["meter_count"],
        log_size=data["log_size"],
        opened_at=statement.recorded_at,
    )


def _id(statement: Statement) -> str:
    return statement.subject.removeprefix(_PREFIX)
