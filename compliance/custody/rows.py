"""Rows that both meters and other chains write: names of a chain, and violations at its entries."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from compliance.custody import bulk
from compliance.custody.facts import Statement
from compliance.custody.lifecycle import Violation as Found
from compliance.custody.models import Identifier, Violation
from compliance.proof import identifiers
from compliance.proof import subject as subjects

MAX_DETAIL = 400
_IDENTIFIER = ("alias", "scheme", "value", "subject", "subject_key", "seq", "single_valued", "recorded_at")
_VIOLATION = (
    "subject_key",
    "subject",
    "seq",
    "ordinal",
    "code",
    "detail",
    "event_type",
    "author",
    "recorded_at",
    "settled_seq",
)


def alias_of(subject: str, name: Mapping[str, str]) -> str:
    """The name of a chain's kind, written as a subject text."""
    return subjects.spell(subject.partition(":")[0], name["scheme"], name["value"])


def own_name(subject: str) -> dict[str, str]:
    """Scheme and value of the identifier that a chain is named by."""
    about = subjects.parse(subject)
    return {"scheme": about.scheme, "value": about.value}


def identifier(subject: str, key: bytes, name: Mapping[str, str], statement: Statement, *, alias: str) -> bulk.Row:
    """One name of a chain; `alias` is what `alias_of` makes of it."""
    single = alias == subject or identifiers.is_single_valued(name["scheme"])
    return (alias, name["scheme"], name["value"], subject, key, statement.seq, single, statement.recorded_at)


def violations(
    statement: Statement,
    found: Sequence[Found],
    *,
    key: bytes,
    stated: Statement,
    first: int = 0,
    recorded_at: datetime | None = None,
) -> list[bulk.Row]:
    """What was wrong at the entry `statement`; `stated` is the event that it is or that it links to."""
    return [
        (
            key,
            statement.subject,
            statement.seq,
            ordinal,
            violation.code,
            violation.detail[:MAX_DETAIL],
            stated.type,
            stated.author,
            recorded_at or statement.recorded_at,
            None,
        )
        for ordinal, violation in enumerate(found, start=first)
    ]


def chains_by_name(names: Iterable[str]) -> dict[str, str]:
    """The chains that single-valued names belong to; names that lead nowhere are missing."""
    wanted = list(dict.fromkeys(names))
    return dict(bulk.fetch(Identifier, ("alias", "subject"), key="alias", values=wanted, condition="single_valued"))


def write_identifiers(rows: Sequence[bulk.Row]) -> None:
    """Insert names; one that belongs to another chain is an IntegrityError and ends the transaction."""
    bulk.insert(Identifier, _IDENTIFIER, rows)


def write_violations(rows: Sequence[bulk.Row]) -> None:
    """Insert violations."""
    bulk.insert(Violation, _VIOLATION, rows)
