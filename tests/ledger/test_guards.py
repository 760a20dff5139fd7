"""Guards: the database itself refuses to change or remove a recorded row, and says so when a guard is gone."""

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.core.management.base import SystemCheckError
from django.db import DatabaseError, connection, models, transaction

from compliance.ledger import guards, integrate, partitions, publish, startup, tasks
from compliance.ledger.models import INSERT_ONLY, Entry, LogState
from tests.conftest import take_down_guards
from tests.ledger.test_commands import run
from tests.ledger.world import Factory, meter

pytestmark = [pytest.mark.django_db, pytest.mark.both_engines]


@pytest.fixture
def recorded(factory: Factory) -> Factory:
    """A log with a row in every insert-only table."""
    factory.send([factory.event(meter(1)), factory.event(meter(1))])
    integrate.integrate()
    publish.publish()
    tasks.anchor()
    return factory


def attempts(model: type[models.Model]) -> list[str]:
    """Statements that would change or remove rows."""
    table, column = model._meta.db_table, model._meta.concrete_fields[-1].column
    templates = ['UPDATE {table} SET "{column}" = "{column}"', "DELETE FROM {table}"]
    if connection.vendor == "postgresql":
        templates += ["TRUNCATE {table} CASCADE"]
    else:
        templates += ["REPLACE INTO {table} SELECT * FROM {table}", "UPDATE OR REPLACE {table} SET rowid = rowid"]
    return [template.format(table=table, column=column) for template in templates]


def refused(statement: str) -> None:
    """The statement ends with the guard's words."""
    with pytest.raises(DatabaseError, match=guards.MESSAGE), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)


def execute(*statements: str) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


@pytest.mark.parametrize("model", INSERT_ONLY, ids=lambda model: model._meta.db_table)
def test_rows_are_neither_changed_nor_removed(recorded: Factory, model: type[models.Model]) -> None:
    rows = model._default_manager.count()
    assert rows > 0
    for statement in attempts(model):
        refused(statement)
    assert model._default_manager.count() == rows


def test_the_partitions_are_guarded_too(recorded: Factory) -> None:
    if connection.vendor != "postgresql":
        assert len([name for name in connection.introspection.table_names() if name.startswith("ledger_entry")]) == 1
        return
    for number in range(partitions.PARTITIONS):
        refused(f"TRUNCATE ledger_entry_{number:02d}")
    execute("SET LOCAL session_replication_role = 'replica'")
    refused("DELETE FROM ledger_entry")


def test_guards_are_up_again_after_every_migrate(log: Path) -> None:
    take_down_guards()
    assert len(guards.missing()) >= len(INSERT_ONLY)
    call_command("migrate", verbosity=0)
    assert guards.missing() == []


@pytest.mark.parametrize("down", [take_down_guards, lambda: execute(*replaced_by_nothing())])
def test_migrate_puts_them_up_without_asking_first_whether_they_are(log: Path, down: Callable[[], None]) -> None:
    """As on the command line, with checks: a guard that is gone, or that another release wrote, refuses nothing."""
    down()
    with pytest.raises(SystemCheckError):
        call_command("check", databases=["default"])
    call_command("migrate", verbosity=0, skip_checks=False)
    call_command("check", databases=["default"])


def replaced_by_nothing() -> list[str]:
    """A trigger of the same name that lets everything pass."""
    if connection.vendor == "postgresql":
        return [
            "DROP TRIGGER append_only ON ledger_batch",
            "CREATE FUNCTION let_pass() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
            "CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_batch "
            "FOR EACH STATEMENT EXECUTE FUNCTION let_pass()",
        ]
    name = "ledger_batch_append_only_delete"
    return [f"DROP TRIGGER {name}", f"CREATE TRIGGER {name} BEFORE DELETE ON ledger_batch BEGIN SELECT 1; END"]


def switched_off() -> list[str]:
    if connection.vendor == "postgresql":
        return ["ALTER TABLE ledger_batch DISABLE TRIGGER append_only"]
    return ["DROP TRIGGER ledger_batch_append_only_update"]


def emptied_function() -> list[str]:
    if connection.vendor == "postgresql":
        return [
            "CREATE OR REPLACE FUNCTION meterproof_append_only() RETURNS trigger LANGUAGE plpgsql "
            "AS 'BEGIN RETURN NULL; END'"
        ]
    return ["DROP TRIGGER ledger_batch_append_only_replace"]


@pytest.mark.parametrize("harm", [replaced_by_nothing, switched_off, emptied_function])
def test_a_guard_that_is_gone_or_changed_is_reported_everywhere(
    recorded: Factory, harm: object, caplog: pytest.LogCaptureFixture
) -> None:
    """At start, every hour by the worker, by `check`, by `fsck`, by `ledger status`; and put up again on demand."""
    call_command("check", databases=["default"])
    execute(*harm())  # type: ignore[operator]
    named = "function" if harm is emptied_function and connection.vendor == "postgresql" else "ledger_batch"
    assert any(named in name for name in guards.missing())
    with caplog.at_level(logging.ERROR):
        startup.verify_state()
        tasks.look_at_guards()
    assert caplog.text.count("recorded rows could be changed") >= 2
    with pytest.raises(SystemCheckError, match=r"ledger\.E001"):
        call_command("check", databases=["default"])
    assert "guard missing" in run("ledger", "status")
    with pytest.raises(SystemExit):
        run("fsck")
    assert "was missing" in run("ledger", "guards")
    assert guards.missing() == []
    for statement in attempts(Entry):
        refused(statement)


def test_check_refuses_a_database_older_than_what_was_signed(recorded: Factory) -> None:
    LogState.objects.update(size=1)
    with pytest.raises(SystemCheckError, match=r"ledger\.E002"):
        call_command("check", databases=["default"])
    with pytest.raises(CommandError):
        run("ledger", "status")
