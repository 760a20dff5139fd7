"""Rights: the application's role cannot change what is recorded; a superuser can, and then fsck tells."""

import io

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import ProgrammingError, connection, transaction

from compliance.ledger import guards, integrate, publish, roles, selectors
from compliance.ledger.checks import check_role
from compliance.ledger.drill.trial import follows_from, take_down_guards
from compliance.ledger.models import INSERT_ONLY, Entry
from tests.ledger.world import Factory, found, meter

pytestmark = [pytest.mark.django_db, pytest.mark.both_engines]
ROLE = "meterproof_app_of_a_test"


def execute(*statements: str) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def sql_of_the_command() -> list[str]:
    """What an administrator is told to run."""
    told = io.StringIO()
    call_command("ledger", "roles", application=ROLE, stdout=told)
    return told.getvalue().splitlines()


def test_the_application_adds_and_cannot_change(factory: Factory) -> None:
    """T12, T27: rights, with the triggers down, so that nothing else can be what refuses."""
    if connection.vendor != "postgresql":
        with pytest.raises(CommandError, match="Only PostgreSQL has roles"):
            sql_of_the_command()
        assert roles.excessive() == []
        return
    assert {warning.id for warning in check_role(["default"])} == {"ledger.W004"}, "the owner could change rows"
    execute(*sql_of_the_command(), *sql_of_the_command())
    take_down_guards()
    execute(f"SET LOCAL ROLE {ROLE}")
    assert check_role(["default"]) == []
    factory.send([factory.event(meter(1)), factory.event(meter(1))])
    integrate.integrate()
    publish.publish()
    assert selectors.log_size() == Entry.objects.count()
    assert {problem.code for problem in found()} == {"guard.missing"}
    partitions = [table for table in guards.protected_tables() if table.startswith("ledger_entry_")]
    assert len(partitions) == 16
    for table in (*(model._meta.db_table for model in INSERT_ONLY), partitions[0]):
        column = (
            "hash"
            if table.startswith("ledger_entry")
            else connection.introspection.get_table_description(connection.cursor(), table)[0].name
        )
        for statement in (
            f'UPDATE {table} SET "{column}" = "{column}"',  # noqa: S608
            f"DELETE FROM {table}",  # noqa: S608
            f"TRUNCATE {table} CASCADE",
            f"DROP TABLE {table} CASCADE",
            f"ALTER TABLE {table} DISABLE TRIGGER ALL",
        ):
            with pytest.raises(ProgrammingError, match=r"permission denied|must be owner"), transaction.atomic():
                execute(statement)
    with pytest.raises(ProgrammingError, match="permission denied"), transaction.atomic():
        execute("CREATE TABLE public.of_my_own (x int)")
    execute("RESET ROLE")


def test_a_name_that_would_need_quotes_is_refused(log: object) -> None:
    with pytest.raises(CommandError, match=r"no role name|Only PostgreSQL"):
        call_command("ledger", "roles", application='x"; DROP TABLE ledger_entry; --')


def test_a_superuser_gets_past_the_fences_and_is_found(factory: Factory) -> None:
    """What nobody can prevent inside the database: triggers and rights do not bind who may take them away. Chain, tree
    and checkpoints do."""
    factory.send([factory.event(meter(1)), factory.event(meter(2))])
    integrate.integrate()
    publish.publish()
    kept = (settings.METERPROOF["LOG_DIR"] / "checkpoint").read_text()
    row = Entry.objects.order_by("pk")[0]
    forged = row.body.replace(b'"v":1}', b'"v":2}')
    if connection.vendor == "postgresql":
        for table in guards.protected_tables():
            execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
    else:
        take_down_guards()
    Entry.objects.filter(subject=row.subject, seq=row.seq).update(body=forged)
    codes = {problem.code for problem in found()}
    assert {"guard.missing", "entry.hash", "entries.wrong"} <= codes
    assert not follows_from(kept)
