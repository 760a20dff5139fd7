"""Two PostgreSQL roles: the owner migrates, the application may add to the insert-only tables and nothing else there.

A trigger is a fence inside the table; a missing right is one before it. Whoever owns the tables, or is a superuser, is
stopped by neither: docs/ledger.md says what then tells.
"""

import re
from collections.abc import Iterator

from django.db import connection

from compliance.ledger import guards
from compliance.ledger.errors import LedgerError

_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")


def statements(role: str) -> Iterator[str]:
    """What an administrator runs, as owner of the tables, after every migrate. It may be run again.

    Raises LedgerError for a name that would have to be quoted, and on another engine than PostgreSQL.
    """
    if connection.vendor != "postgresql":
        raise LedgerError("Only PostgreSQL has roles. On SQLite there are triggers and the rights of the file.")
    if not _NAME.fullmatch(role):
        raise LedgerError(f"{role!r} is no role name of lower-case letters, digits and _.")
    quote = connection.ops.quote_name
    database = quote(str(connection.settings_dict["NAME"]))
    yield (
        f"DO $$ BEGIN IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = '{role}') "  # noqa: S608 (a checked name)
        f"THEN CREATE ROLE {role} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS; END IF; END $$"
    )
    yield f"GRANT CONNECT, TEMPORARY ON DATABASE {database} TO {role}"  # fsck makes projections again beside the others
    yield f"REVOKE CREATE ON SCHEMA public FROM PUBLIC, {role}"
    yield f"GRANT USAGE ON SCHEMA public TO {role}"
    yield f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}"
    yield f"REVOKE TRUNCATE ON ALL TABLES IN SCHEMA public FROM {role}"
    yield f"GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {role}"
    for table in guards.protected_tables():
        yield f"REVOKE UPDATE, DELETE, TRUNCATE ON {quote(table)} FROM {role}, PUBLIC"
    yield f"REVOKE INSERT, UPDATE, DELETE ON django_migrations FROM {role}"


def excessive() -> list[str]:
    """The insert-only tables that the role we are connected as could change but for the triggers."""
    if connection.vendor != "postgresql":
        return []
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT name FROM unnest(%s::text[]) AS name WHERE to_regclass(quote_ident(name)) IS NOT NULL "
            "AND has_table_privilege(quote_ident(name), 'UPDATE, DELETE, TRUNCATE')",
            [guards.protected_tables()],
        )
        return [row[0] for row in cursor.fetchall()]
