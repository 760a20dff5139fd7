"""A copy of the installation, and the drill on it in a process of its own. The installation itself is only read."""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

import psycopg
from django.conf import settings
from django.db import connection
from psycopg import sql

from compliance.ledger import fresh_process, signer
from compliance.ledger.drill import table
from compliance.ledger.drill.table import Report
from compliance.ledger.errors import LedgerError

COPIED: Final = ("LOG_DIR", "SIGNER_DIR", "BLOB_DIR")
MARK: Final = "IS_COPY_FOR_DRILL"  # in the settings of the process that works on the copy, nowhere else


def drill(only: Sequence[str]) -> Report:
    """Copy the installation, drill on the copy (`only` the tables named, if any are), remove the copy.

    Raises LedgerError when the database cannot be copied or what was copied is not sound.
    """
    with tempfile.TemporaryDirectory(prefix="meterproof-drill-") as place, _copied(Path(place)) as where:
        context = get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=context, initializer=fresh_process.begin, initargs=where) as process:
            return process.submit(_on_the_copy, only).result()


def _on_the_copy(only: Sequence[str]) -> Report:
    if not settings.METERPROOF.get(MARK):
        raise LedgerError("The drill damages what it works on. It is only ever run on a copy.")
    return table.drill(only)


@contextmanager
def _copied(place: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Database and folders of one moment: no checkpoint is signed while they are copied."""
    folders = {}
    with signer.exclusive(wait=True):
        for name in COPIED:
            if settings.METERPROOF[name].exists():
                shutil.copytree(settings.METERPROOF[name], place / name)
            folders[name] = place / name
        database = _copy_database(place)
    try:
        yield database, {**settings.METERPROOF, **folders, MARK: True}
    finally:
        if connection.vendor == "postgresql":
            with _server() as server:
                server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(database)))


def _copy_database(place: Path) -> str:
    """The name of the copy."""
    if connection.vendor == "sqlite":
        name = str(place / "copy.sqlite3")
        with connection.cursor() as cursor:
            cursor.execute("VACUUM INTO %s", [name])
        return name
    original = str(connection.settings_dict["NAME"])
    name = f"{original}_drill"
    connection.close()  # PostgreSQL copies only what nobody is connected to
    with _server() as server:
        try:
            server.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name)))
            statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
            server.execute(statement.format(sql.Identifier(name), sql.Identifier(original)))
        except psycopg.errors.ObjectInUse as error:
            raise LedgerError(
                f"PostgreSQL copies only a database that nobody is connected to ({error.diag.message_detail}). Stop "
                "web and worker for the moment, or restore a backup elsewhere and run the drill there."
            ) from error
    return name


@contextmanager
def _server() -> Iterator[psycopg.Connection[Any]]:
    parameters = connection.get_connection_params()
    wanted: dict[str, Any] = {name: parameters.get(name) for name in ("host", "port", "user", "password")}
    with psycopg.connect(dbname="postgres", autocommit=True, **wanted) as server:
        yield server
