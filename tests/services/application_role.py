"""The database as the application's own role sees it: no superuser, not the owner, bound by every right and policy."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection

from compliance.ledger import roles


@contextmanager
def connected_as_application() -> Iterator[None]:
    """Until the block ends this thread, and each that connects meanwhile, is connected as the role that `manage.py
    ledger roles` makes. On SQLite there are no roles, and nothing changes.
    """
    if connection.vendor != "postgresql":
        yield
        return
    owner, role = connection.settings_dict["USER"], f"application_of_{connection.settings_dict['NAME']}"
    with connection.cursor() as cursor:
        for statement in roles.statements(role):
            cursor.execute(statement)
    connection.close()
    connection.settings_dict["USER"] = role
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict["USER"] = owner
        with connection.cursor() as cursor:
            cursor.execute(f"DROP OWNED BY {role}")
            cursor.execute(f"DROP ROLE {role}")
