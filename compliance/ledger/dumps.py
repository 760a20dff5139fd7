"""The database as one file, in one snapshot: SQLite by its online backup, PostgreSQL by pg_dump and pg_restore."""

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

from django.db import connection, transaction

from compliance.jobs import row_scope
from compliance.ledger import row_security
from compliance.ledger.errors import LedgerError

DUMP: Final = {"sqlite": "database.sqlite3", "postgresql": "database.dump"}


@contextmanager
def snapshot() -> Iterator[Callable[[Path], None]]:
    """Fix the state of the database as it is on entry; what is yielded writes that state into a file.

    Others go on writing meanwhile, also before the file is written.
    """
    if connection.vendor == "postgresql":
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            cursor.execute("SELECT pg_export_snapshot()")
            name = str(cursor.fetchone()[0])
            scope = _scope_of_a_dump()
            yield lambda target: _run(
                "pg_dump", "--format=custom", "--no-owner", *scope, f"--snapshot={name}", f"--file={target}"
            )
        return
    with closing(sqlite3.connect(connection.settings_dict["NAME"], isolation_level=None)) as source:
        source.execute("BEGIN")
        source.execute("SELECT count(*) FROM sqlite_master").fetchone()  # from here on it sees one state
        yield lambda target: _copy_sqlite(source, target)


def _scope_of_a_dump() -> list[str]:
    """How pg_dump gets every row. As a role that row-level security binds it would refuse to read; told to go on, it
    reads what its row scope gives, which is everything (`_environment`) as long as the policies are ours.
    """
    if row_security.is_bypassed():
        return []
    if missing := row_security.missing(connection.alias):
        raise LedgerError(
            f"The guard {missing[0]} is missing, so nobody can tell whether this database role reads every row. Put "
            "the guards up again with: manage.py ledger guards"
        )
    return ["--enable-row-security"]


def _copy_sqlite(source: sqlite3.Connection, target: Path) -> None:
    with closing(sqlite3.connect(target)) as copy:
        source.backup(copy)
        copy.execute("PRAGMA journal_mode=DELETE")  # one file: nothing left in a -wal beside it
        (answer,) = copy.execute("PRAGMA integrity_check").fetchone()
    if answer != "ok":
        raise LedgerError(f"The database is damaged: {answer}. Nothing was backed up. Run: manage.py fsck")


def read(dump: Path) -> None:
    """Make the database what `dump` holds. It must be empty: see `is_empty`."""
    if connection.vendor == "postgresql":
        name = str(connection.settings_dict["NAME"])
        connection.close()
        _run("pg_restore", "--no-owner", "--exit-on-error", "--single-transaction", f"--dbname={name}", str(dump))
        return
    target = Path(connection.settings_dict["NAME"])
    connection.close()
    target.parent.mkdir(parents=True, exist_ok=True)
    for rest in (target, target.with_name(target.name + "-wal"), target.with_name(target.name + "-shm")):
        rest.unlink(missing_ok=True)
    temporary = target.with_name(f".{target.name}.restore")
    shutil.copyfile(dump, temporary)
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    temporary.rename(target)


def is_empty() -> bool:
    """Whether the database holds no table; one with a log, or with other people's tables, is not overwritten."""
    if connection.vendor == "sqlite" and not Path(connection.settings_dict["NAME"]).exists():
        return True
    return not connection.introspection.table_names()


def _run(name: str, *arguments: str) -> None:
    done = subprocess.run([_program(name), *arguments], env=_environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise LedgerError(f"{name} failed: {done.stderr.strip()}")


def _program(name: str) -> str:
    """The newest of this machine: pg_dump reads servers up to its own version."""
    versions = Path("/usr/lib/postgresql").glob(f"*/bin/{name}")
    newest = max(versions, key=lambda path: float(path.parts[-3]), default=None)
    found = str(newest) if newest else shutil.which(name)
    if found is None:
        raise LedgerError(f"{name} is missing. Install PostgreSQL's client programs: apt-get install postgresql-client")
    return found


def _environment() -> dict[str, str]:
    """How libpq reaches the database, without a password on the command line."""
    wanted: dict[str, Any] = connection.settings_dict
    names = {"HOST": "PGHOST", "PORT": "PGPORT", "USER": "PGUSER", "PASSWORD": "PGPASSWORD", "NAME": "PGDATABASE"}
    given = {name: str(wanted[key]) for key, name in names.items() if wanted.get(key)}
    options = f"{os.environ.get('PGOPTIONS', '')} -c {row_scope.SETTING}={row_scope.EVERYTHING}"
    return {**os.environ, **given, "PGOPTIONS": options.strip()}
