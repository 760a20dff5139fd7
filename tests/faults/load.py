"""What the processes of a kill -9 round do: writers, publishers, and how they die. Forked from a server that has Django
loaded, so that a round takes about a second.
"""

import logging
import multiprocessing
import os
import signal
import time
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import django
from django.apps import apps

if not apps.ready:  # in the server
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "compliance.config.settings.test")
    django.setup()

from django.conf import settings
from django.db import DatabaseError, connection, connections

from compliance.accounts.models import ApiKey
from compliance.custody import intake
from compliance.jobs import failpoints
from compliance.ledger import tasks
from compliance.proof import batch as batch_format

LONGEST_SECONDS = 60  # of one process in a round, on a machine where everything takes ten times as long

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload([__name__])


def process(work: Callable[..., None], *args: Any, die_at: tuple[str, int] | None = None) -> Any:
    """Start `work(*args)` in a process that kills itself when it reaches a failpoint for the n-th time."""
    connections.close_all()
    name = str(connection.settings_dict["NAME"])
    child = _context.Process(target=_run, args=(name, dict(settings.METERPROOF), die_at, work, args), daemon=True)
    child.start()
    return child


def _run(
    database: str, meterproof: dict[str, Any], die_at: tuple[str, int] | None, work: Callable[..., None], args: Any
) -> None:
    logging.disable(logging.CRITICAL)
    connection.settings_dict["NAME"] = database
    settings.METERPROOF = meterproof
    if die_at is None:
        work(*args)
        return
    point, reaches = die_at
    left = iter(range(reaches - 1, -1, -1))

    def count_down() -> None:
        if not next(left):
            os.kill(os.getpid(), signal.SIGKILL)

    with failpoints.arm(point, count_down):
        work(*args)


def write(batches: list[bytes], api_key: str, answers: Path) -> None:
    """Send, and note each answer as the client that it reached would: in a file that outlives this process."""
    notes = os.open(answers, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        sender = ApiKey.objects.get(pk=api_key)
        for data in batches:
            result = intake.receive_batch(data, media_type=batch_format.NDJSON, sender=sender)
            os.write(notes, f"{result.appended.batch_id} {b64encode(result.appended.receipt).decode()}\n".encode())
    except DatabaseError:  # the server died: whoever sends gets no answer, and comes again later
        return


def publish(until: Path) -> None:
    """Integrate and publish until the file `until` is there."""
    deadline = time.monotonic() + LONGEST_SECONDS
    while not until.exists() and time.monotonic() < deadline:
        try:
            tasks.integrate_and_publish()
        except DatabaseError:
            connections.close_all()
        time.sleep(0.01)
