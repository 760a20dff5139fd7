"""What the worker does for the log."""

import logging
from typing import Any

from compliance.jobs.registry import StartRefused, at_start, periodic, task
from compliance.jobs.worker import RunningJob
from compliance.ledger import anchors, guards, integrate, publish, startup, witnesses
from compliance.ledger.errors import LedgerError
from compliance.ledger.fsck.processes import PART_TASK, read_for_job
from compliance.ledger.models import LogState

logger = logging.getLogger(__name__)

PUBLISH_EVERY_SECONDS = 1  # a quarter of a minute would keep the promise of a minute too; people watch this one happen
LOOK_AT_GUARDS_EVERY_SECONDS = 3600


@periodic("ledger.publish", every_seconds=PUBLISH_EVERY_SECONDS)
def integrate_and_publish() -> None:
    """Give committed batches their place and publish the checkpoint over them.

    After a witness's alarm nothing is published. It was logged when it was raised; status and health checks say it.
    """
    if not LogState.objects.filter(id=1).exists():
        return
    integrate.integrate()
    if witnesses.alarm() is None:
        publish.publish(wait=False)


@periodic("ledger.anchor", every_seconds=PUBLISH_EVERY_SECONDS, waits=True)
def anchor() -> None:
    """Have checkpoints stamped by a time stamp authority."""
    if LogState.objects.filter(id=1).exists():
        anchors.anchor()


@periodic("ledger.guards", every_seconds=LOOK_AT_GUARDS_EVERY_SECONDS)
def look_at_guards() -> None:
    """Say so when the database would not refuse what it must."""
    for name in guards.missing():
        logger.error("the guard %s is missing: %s. Look with: manage.py fsck", name, guards.HARM)


@task(PART_TASK)
def read_part_of_the_log(_job: RunningJob, **part: Any) -> dict[str, Any]:
    """Read one part of the log for an fsck that somebody started with --workers. Reads only, so twice does no harm."""
    return read_for_job(**part)


@at_start
def refuse_a_rolled_back_database() -> None:
    """Do not begin with a database that is older than what was signed."""
    try:
        startup.verify_state()
    except LedgerError as error:
        raise StartRefused(str(error)) from error
