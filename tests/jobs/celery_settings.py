"""Embedded settings with one more task, for the Celery test."""

import os
from pathlib import Path

from compliance.config.settings.embedded import *  # noqa: F403
from compliance.jobs import registry


@registry.task("tests.note")
def note(job: registry.JobContext) -> None:
    """Write down that the job ran."""
    with Path(os.environ["NOTES"]).open("a") as notes:
        notes.write(job.job_id + "\n")


@registry.task("tests.poison", max_attempts=1)
def poison(_job: registry.JobContext) -> None:
    """Fail whenever it is run."""
    raise ValueError("poison")
