"""Celery's way in: a message names a job, the job table knows the rest. Lost, doubled or late messages do no harm."""

from celery import shared_task

from compliance.jobs import actions, registry, worker

SWEEP_EVERY_SECONDS = 30


@shared_task(name="jobs.run")
def run_job(job_id: str) -> bool:
    """Run the job `job_id` if it is due and free."""
    return worker.run(job_id)


@shared_task(name="jobs.tick")
def tick(*, waits: bool = False) -> list[str]:
    """Run the periodic tasks that are due: those that may wait for strangers, or the others."""
    return worker.tick(waits=waits)


@registry.periodic("jobs.sweep", every_seconds=SWEEP_EVERY_SECONDS)
def sweep() -> int:
    """Ring again for jobs that wait, and give up on those that died too often."""
    return actions.sweep()
