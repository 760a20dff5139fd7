"""Background work of custody: the `custody.linked` entries."""

from compliance.custody import links
from compliance.custody.models import Cause, Link
from compliance.jobs.registry import JobContext, periodic, task

CATCH_UP_SECONDS = 15  # a bundle's member list may arrive long after the bundle


@task(links.JOB, max_attempts=20, lease_seconds=120)
def link_members(job: JobContext) -> dict[str, object]:
    """Append every link that is still to come, oldest cause first."""
    links.resolve_waiting()
    done, total = 0, Link.objects.filter(seq=None).count()
    while appended := links.append_links():
        done += appended
        job.progress(done, max(done, total), f"{done} links")
    return {"linked": done}


@periodic("custody.catch_up", every_seconds=CATCH_UP_SECONDS)
def catch_up() -> None:
    """Ring for links that lost their job, and for bundles whose member list may have arrived."""
    if links.is_behind() or Cause.objects.filter(waiting=True).exists():
        links.ring()
