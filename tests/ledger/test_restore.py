"""Yesterday's database: whoever restores it, by accident or to undo history, is stopped at the start."""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from compliance.jobs import registry
from compliance.ledger import integrate, publish, selectors, signer, tasks
from compliance.ledger.errors import StateRefused
from tests.ledger.processes import Child
from tests.ledger.world import Factory, meter

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_engines]


@contextmanager
def copy_of_the_database(folder: Path) -> Iterator[str]:
    """A copy as it is now; its name."""
    if connection.vendor == "sqlite":
        name = str(folder / "yesterday.sqlite3")
        with connection.cursor() as cursor:
            cursor.execute("VACUUM INTO %s", [name])
        yield name
        return
    quote, name = connection.ops.quote_name, f"{connection.settings_dict['NAME']}_yesterday"
    connection.close()  # PostgreSQL copies only what nobody is connected to
    with connection._nodb_cursor() as cursor:
        cursor.execute(f"DROP DATABASE IF EXISTS {quote(name)}")
        cursor.execute(f"CREATE DATABASE {quote(name)} TEMPLATE {quote(connection.settings_dict['NAME'])}")
    try:
        yield name
    finally:
        with connection._nodb_cursor() as cursor:
            cursor.execute(f"DROP DATABASE {quote(name)} WITH (FORCE)")


def start() -> str:
    """Start as the web server and the worker do; why not, if they do not."""
    try:
        call_command("worker", "--once", verbosity=0)
    except CommandError as refusal:
        return str(refusal)
    return "started"


def open_every_door() -> list[str]:
    """What the worker, the command that serves and the WSGI entry point say."""
    said = [start()]
    try:
        call_command("serve")
    except CommandError as refusal:
        said.append(str(refusal))
    try:
        importlib.import_module("compliance.config.wsgi")
    except registry.StartRefused as refusal:
        said.append(str(refusal))
    return said


def go_on_with_it(upto: int) -> tuple[str, str]:
    """Record until the log is longer than `upto`, integrate; what the publisher and the next start say then."""
    factory = Factory("borough")
    while selectors.log_size() <= upto:
        factory.send([factory.event(meter(number)) for number in range(5)])
        integrate.integrate()
    try:
        publish.publish()
    except StateRefused as refusal:
        return str(refusal), start()
    return "published", start()


def test_a_restored_database_is_refused_at_start(committed_log: Path, tmp_path: Path) -> None:
    """T12: the signer's memory lies outside the database and is ahead of it."""
    factory = Factory()
    factory.send([factory.event(meter(1))])
    tasks.integrate_and_publish()
    with copy_of_the_database(tmp_path) as yesterday:
        assert Child(start, database=yesterday).answer() == "started"
        factory.send([factory.event(meter(1)), factory.event(meter(2))])
        tasks.integrate_and_publish()
        last = signer.last_signed()
        assert last is not None

        said = Child(open_every_door, database=yesterday).answer()
        assert len(said) == 3
        for words in said:
            assert "older than the log that was signed" in words
            assert "signed 6 entries" in words
            assert "the database knows 4" in words

        publisher, next_start = Child(go_on_with_it, 6, database=yesterday).answer()
        assert "does not continue" in publisher
        assert "does not continue" in next_start
        assert signer.last_signed() == last
    assert Child(start).answer() == "started"


def test_a_lost_database_is_refused_at_start(committed_log: Path, tmp_path: Path) -> None:
    """An empty database beside a signer that remembers a log."""
    with copy_of_the_database(tmp_path) as before_anything_was_signed:
        tasks.integrate_and_publish()
        said = Child(start, database=before_anything_was_signed).answer()
        assert "the database knows 0" in said
