"""What is prepared on PostgreSQL, and what must not be."""

import pytest
from django.db import connection

from compliance.ledger.store import packed

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.both_engines,
    pytest.mark.skipif("connection.vendor != 'postgresql'", reason="PostgreSQL alone prepares"),
]
OFTEN = 3 * packed.PREPARE_AFTER


def prepared() -> set[str]:
    """Statements that the connection keeps prepared."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement FROM pg_prepared_statements")
        return {statement for (statement,) in cursor.fetchall()}


def test_a_statement_on_projections_is_never_prepared_whatever_other_cursors_do() -> None:
    """A prepared statement stays with its table, also when fsck hides that behind a temporary one of the same name.

    Two cursors that prepare overlap, as those of two threads on the connection do while fsck reads along.
    """
    first, second = packed.preparing_cursor(), packed.preparing_cursor()
    with first as one:
        two = second.__enter__()
        for _ in range(OFTEN):
            one.execute("SELECT 1 AS ledger")
            two.execute("SELECT 2 AS ledger")
    second.__exit__(None, None, None)
    for _ in range(OFTEN):
        with packed.cursor() as cursor:
            cursor.execute("SELECT 3 AS projection")
    assert {"SELECT 1 AS ledger", "SELECT 2 AS ledger"} <= prepared()
    assert "SELECT 3 AS projection" not in prepared()
