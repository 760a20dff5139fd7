"""Parts of the log read by several processes on this machine, or by the workers of the installation on many.

A part never changes once it is integrated, so nobody has to see the same snapshot of the database as anybody else.
"""

import multiprocessing
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from typing import Any, Final

from django.conf import settings
from django.db import connections

from compliance.jobs import actions as jobs
from compliance.jobs.models import Job, JobState
from compliance.ledger import fresh_process
from compliance.ledger.errors import NotRead
from compliance.ledger.fsck.parts import Part, PartResult, Reading
from compliance.ledger.fsck.run import Readers, read_part

PART_TASK: Final = "ledger.fsck_part"
PARTS_WORTH_A_PROCESS: Final = 12  # to begin one takes as long as to read five or six, and it takes two beforehand
_LOOK_EVERY_SECONDS: Final = 0.5


@contextmanager
def processes(number: int) -> Iterator[Readers]:
    """This process and up to `number` - 1 others of this machine, as many as the log has parts enough for.

    The others begin afresh: with nothing of this process but where the ledger lies. Until they are there, and while
    they are busy, this one reads too; so there is no log on which more processes take much longer than one.
    """
    context = multiprocessing.get_context("spawn")
    where = (str(connections["default"].settings_dict["NAME"]), dict(settings.METERPROOF))
    with ExitStack() as stack:

        def read(parts: Sequence[Part], reading: Reading) -> Iterator[tuple[int, PartResult]]:
            others = min(number - 1, len(parts) // PARTS_WORTH_A_PROCESS)
            if not others:
                return enumerate(_read(part, reading, *ends) for part, ends in _with_ends(parts))
            pool = stack.enter_context(
                ProcessPoolExecutor(others, mp_context=context, initializer=fresh_process.begin, initargs=where)
            )
            asked = [pool.submit(_read, part, reading, *ends) for part, ends in _with_ends(parts)]
            return _read_along(asked, parts, reading)

        yield read


def _read_along(
    asked: "Sequence[Future[PartResult]]", parts: Sequence[Part], reading: Reading
) -> Iterator[tuple[int, PartResult]]:
    """Read here what nobody has begun, the last part first as others take the first ones; then wait for the others."""
    theirs: dict[Future[PartResult], int] = {}
    for number, (part, ends) in reversed(list(enumerate(_with_ends(parts)))):
        if asked[number].cancel():
            yield number, _read(part, reading, *ends)
        else:
            theirs[asked[number]] = number
    for future in as_completed(theirs):
        yield theirs[future], future.result()


def workers() -> Readers:
    """The installation's workers, on as many hosts as there are: one job a part. They need the log folder too."""

    def read(parts: Sequence[Part], reading: Reading) -> Iterator[tuple[int, PartResult]]:
        # On a connection of its own: the one of this thread stands in a snapshot that neither shows nor sees jobs.
        executor = ThreadPoolExecutor(1)
        results = executor.submit(_ask, parts, reading)
        executor.shutdown(wait=False)
        return ((number, part) for found in (results,) for number, part in enumerate(found.result()))

    return read


def read_for_job(
    *, first_index: int, end_index: int, published: int, secret: str, first: bool, last: bool
) -> dict[str, Any]:
    """What a worker does for one part."""
    reading = Reading(published, bytes.fromhex(secret))
    return read_part(Part(first_index, end_index), reading, first=first, last=last).to_object()


def _with_ends(parts: Sequence[Part]) -> Iterator[tuple[Part, tuple[bool, bool]]]:
    for number, part in enumerate(parts):
        yield part, (number == 0, number == len(parts) - 1)


def _ask(parts: Sequence[Part], reading: Reading) -> list[PartResult]:
    """Queue a job for each part and wait for all. Raises LedgerError when one was given up."""
    try:
        queued = [
            jobs.enqueue(
                PART_TASK,
                {
                    "first_index": part.first_index,
                    "end_index": part.end_index,
                    "published": reading.published,
                    "secret": reading.secret.hex(),
                    "first": first,
                    "last": last,
                },
            )
            for part, (first, last) in _with_ends(parts)
        ]
        return [_wait(job.pk) for job in queued]
    finally:
        connections["default"].close()


def _wait(job_id: str) -> PartResult:
    while True:
        job = Job.objects.get(pk=job_id)
        if job.state == JobState.FAILED:
            raise NotRead(f"job {job_id} could not read its part of the log: {job.failure}")
        if job.state == JobState.DONE and job.result is not None:
            return PartResult.from_object(job.result)
        time.sleep(_LOOK_EVERY_SECONDS)


def _read(part: Part, reading: Reading, first: bool, last: bool) -> PartResult:
    return read_part(part, reading, first=first, last=last)
