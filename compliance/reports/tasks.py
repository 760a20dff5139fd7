"""Background work of reports: the job that makes one, and asking again for time stamps."""

from collections.abc import Mapping

from compliance.jobs.actions import enqueue
from compliance.jobs.registry import JobContext, periodic, task
from compliance.reports.actions import TASK
from compliance.reports.models import Report, SealStatus, State

LEASE_SECONDS = 120
TRY_AGAIN_SECONDS = 300  # how often a report without a time stamp asks again, once its job has given up


@task(TASK, max_attempts=5, lease_seconds=LEASE_SECONDS)
def produce(job: JobContext, *, report: str) -> Mapping[str, object]:
    """Make the report with the public id `report`."""
    from compliance.reports import production  # signature and page libraries are loaded by workers alone

    return production.produce(job, report)


@periodic("reports.time_stamps", every_seconds=TRY_AGAIN_SECONDS)
def ask_again_for_time_stamps() -> None:
    """Queue the reports that still lack a time stamp."""
    waiting = Report.objects.filter(state=State.SEALING, seal_status=SealStatus.AWAITING_TIME_STAMP)
    for report in waiting:
        enqueue(TASK, {"report": report.public_id}, dedupe_key=report.public_id)
