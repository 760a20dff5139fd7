"""`manage.py check --database default`: are the fences up, and do database, signer and files belong together?"""

from collections.abc import Sequence
from typing import Any

from django.core.checks import CheckMessage, Error
from django.core.checks import Warning as CheckWarning
from django.db import connections

from compliance.ledger import guards, roles, row_security, startup, witnesses
from compliance.ledger.errors import LedgerError
from compliance.ledger.models import LogState


def check_guards(databases: Sequence[str] | None = None, **_kwargs: Any) -> list[CheckMessage]:
    """E001: the database does not refuse what it must."""
    return [
        Error(
            f"The guard {name} of the database is missing or altered: {guards.HARM}.",
            hint="Put the guards up again with: manage.py ledger guards. Then look what happened with: manage.py fsck",
            id="ledger.E001",
        )
        for using in databases or ()
        if _is_migrated(using)
        for name in guards.missing(using)
    ]


def check_state(databases: Sequence[str] | None = None, **_kwargs: Any) -> list[CheckMessage]:
    """E002: the database is older than what was signed, or the signer's memory is lost. E003: a witness's alarm, or a
    policy of witnesses that cannot be understood.
    """
    if "default" not in (databases or ()) or not _is_migrated("default"):
        return []
    found: list[CheckMessage] = []
    for id_, check in (
        ("ledger.E002", startup.compare_with_signer),
        ("ledger.E003", witnesses.operator_policy),
        ("ledger.E003", witnesses.require_no_alarm),
    ):
        try:
            check()
        except LedgerError as error:
            found.append(Error(str(error), id=id_))
    return found


def check_role(databases: Sequence[str] | None = None, **_kwargs: Any) -> list[CheckMessage]:
    """W004: the application's role could change recorded rows if the triggers were not there."""
    if "default" not in (databases or ()) or not _is_migrated("default"):
        return []
    tables = roles.excessive()
    return (
        [
            CheckWarning(
                f"The database role may change rows of {len(tables)} tables, {tables[0]} among them; only "
                "triggers stand before it.",
                hint="Run the application under a role of its own: manage.py ledger roles prints the SQL.",
                id="ledger.W004",
            )
        ]
        if tables
        else []
    )


def check_row_security(databases: Sequence[str] | None = None, **_kwargs: Any) -> list[CheckMessage]:
    """W005: the database does not hold rows against the organisation that asks."""
    if "default" not in (databases or ()) or not row_security.is_bypassed():
        return []
    return [
        CheckWarning(
            "The database role gets past row-level security: a query that forgets whose rows it may read gets all.",
            hint="Run the application under a role of its own: manage.py ledger roles prints the SQL.",
            id="ledger.W005",
        )
    ]


def _is_migrated(using: str) -> bool:
    return LogState._meta.db_table in connections[using].introspection.table_names()
