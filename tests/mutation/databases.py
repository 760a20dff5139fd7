"""A database for each fork: what a mutant does to its own is gone with it, and no connection is shared."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest
from django.db import connection, connections


class Databases:
    """Made before the first test: afterwards the connection names the test database, if a test has asked for one."""

    def __init__(self, config: pytest.Config) -> None:
        from pytest_django.plugin import blocking_manager_key  # a plugin must not be imported before pytest begins

        self._blocker = config.stash[blocking_manager_key]
        self._product = connection.settings_dict["NAME"]
        self._numbers = count(1)

    @contextmanager
    def copied(self) -> Iterator[Callable[[], None]]:
        """Copy the test database until the block ends; the fork that calls what is given uses the copy.

        The connections are closed first: a fork must inherit none (SQLite forbids it, and on a socket to PostgreSQL
        two processes would talk), and only then has SQLite everything in the one file that is copied.
        """
        database = connection.settings_dict["NAME"]
        if database == self._product:
            yield lambda: None
            return
        with self._blocker.unblock():
            connections.close_all()
            suffix = f"mutant{next(self._numbers)}"
            name = connection.creation.get_test_db_clone_settings(suffix)["NAME"]
            connection.creation.clone_test_db(suffix, verbosity=0)
            try:
                yield lambda: connection.settings_dict.update(NAME=name)
            finally:
                _drop(name)


def _drop(name: str) -> None:
    """Remove a copy, even if its fork was ended in the middle of something."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(f"DROP DATABASE {connection.ops.quote_name(name)} WITH (FORCE)")
        connection.close()
    else:
        for ending in ("", "-wal", "-shm"):
            Path(f"{name}{ending}").unlink(missing_ok=True)
