"""Background work of checks."""

from datetime import timedelta

from compliance.checks import actions, alarms, fences
from compliance.checks.models import Suspicion
from compliance.jobs import actions as jobs
from compliance.jobs import clock
from compliance.jobs.registry import JobContext, periodic, task
from compliance.ledger import integrate

NOT_PLACED_YET = timedelta(seconds=1)  # the publisher integrates each second
SWEEP_SECONDS = 24 * 3600
GUARDS_SECONDS = 3600
ALARMS_SECONDS = 60  # who looks at the findings learns of an alarm before anybody needs it published


@task(actions.TELL, max_attempts=20, lease_seconds=120)
def tell(job: JobContext) -> dict[str, object]:
    """Tell the log what the checks saw; what has no place in it yet waits for the next time."""
    done = 0
    while dealt_with := actions.tell():
        done += dealt_with
        job.progress(done, done, f"{done} findings told")
    if Suspicion.objects.exists():
        jobs.enqueue(actions.TELL, {}, dedupe_key="all", run_at=clock.now() + NOT_PLACED_YET)
    return {"told": done}


@task(actions.SWEEP, max_attempts=3, lease_seconds=300)
def sweep(job: JobContext) -> dict[str, object]:
    """Run all checks over all that was recorded, and tell the log what they saw."""
    integrate.integrate()
    run = actions.run(progress=lambda done, size: job.progress(done, size, f"{done} of {size} entries read"))
    told = 0
    while dealt_with := actions.tell():
        told += dealt_with
    results = list(run.results.all())
    return {
        "run": run.public_id,
        "log_size": run.log_size,
        "checks": len(results),
        "deviations": sum(result.deviations for result in results),
        "told": told,
    }


@periodic("checks.sweep_daily", every_seconds=SWEEP_SECONDS)
def sweep_daily() -> None:
    """Look at the whole log once a day: what only time can show, and what two batches at once may have hidden."""
    jobs.enqueue(actions.SWEEP, {}, dedupe_key="all")


@periodic("checks.guards", every_seconds=GUARDS_SECONDS)
def look_at_guards() -> None:
    """A guard that vanished from the database becomes a finding."""
    fences.suspect_missing()


@periodic("checks.alarms", every_seconds=ALARMS_SECONDS)
def look_at_alarms() -> None:
    """An alarm of the ledger becomes a finding, and is closed when it is over."""
    alarms.follow()
