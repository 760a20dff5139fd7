"""Real processes that append, integrate and publish beside the test's own: to be killed half way, or to compete.

They are forked from a server that has loaded Django once, so that killing one at every step takes seconds. Each waits
a bounded time and is killed after it: nothing here can hang.
"""

import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from multiprocessing.connection import Connection
from typing import Any

import django
from django.apps import apps

if not apps.ready:  # in the server
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "compliance.config.settings.test")
    django.setup()

from django.conf import settings
from django.db import connection, connections

from compliance.jobs import failpoints
from compliance.ledger import append

LONGEST_SECONDS = 90  # a machine with two busy cores; everything here takes a second or two
KILLED = -signal.SIGKILL

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload([__name__])


class Child:
    """A process that runs `work(*args)`, and dies as by `kill -9` when it reaches the failpoint `kill_at`.

    It works on this test's folders and database, or on another `database` of the same engine; with the ledger alone, or
    with all `rooms`.
    """

    def __init__(
        self,
        work: Callable[..., Any],
        *args: Any,
        kill_at: str | None = None,
        database: str | None = None,
        rooms: bool = False,
    ) -> None:
        connections.close_all()  # on SQLite an open read would keep the others from writing
        self._answers, sends = _context.Pipe(duplex=False)
        name = database or str(connection.settings_dict["NAME"])
        self._process = _context.Process(
            target=_run, args=(sends, name, dict(settings.METERPROOF), kill_at, rooms, work, args), daemon=True
        )
        self._process.start()
        sends.close()

    def end(self) -> int:
        """Wait for it and return its exit status. Raises AssertionError with its traceback if `work` failed."""
        if not self._answers.poll(LONGEST_SECONDS):
            self._process.kill()
            self._process.join(LONGEST_SECONDS)
            raise TimeoutError(f"a process was still at work after {LONGEST_SECONDS} seconds")
        try:
            self._answer, failure = self._answers.recv()
        except EOFError:  # it was killed
            failure = None
        self._process.join(LONGEST_SECONDS)
        assert failure is None, failure
        assert self._process.exitcode is not None
        return self._process.exitcode

    def answer(self) -> Any:
        """What `work` returned."""
        assert self.end() == 0
        return self._answer


def _run(
    sends: Connection,
    database: str,
    meterproof: dict[str, Any],
    kill_at: str | None,
    rooms: bool,
    work: Callable[..., Any],
    args: tuple[Any, ...],
) -> None:
    connection.settings_dict["NAME"] = database
    settings.METERPROOF = meterproof
    with ExitStack() as stack:
        if not rooms:
            stack.enter_context(append.hooks())
        if kill_at is not None:
            stack.enter_context(failpoints.arm(kill_at, lambda: os.kill(os.getpid(), signal.SIGKILL)))
        try:
            sends.send((work(*args), None))
        except Exception:
            sends.send((None, traceback.format_exc()))
        finally:
            connections.close_all()
