"""A guard of the database that has vanished, as a finding. No check of the log can see that: it is about the platform.

The finding hangs on the last entry of the log's own chain and names the day, so that a guard taken down again another
day is another finding, and one that stays away is told once a day.
"""

from django.conf import settings

from compliance.checks import actions
from compliance.checks.models import MAX_DETAIL, Finding, Suspicion
from compliance.checks.registry import Severity
from compliance.jobs import actions as jobs
from compliance.jobs import clock
from compliance.ledger import append, guards
from compliance.ledger import selectors as ledger
from compliance.proof import subject as subjects

DETECTOR = "guards"
VERSION = 1


@append.unit_of_work()
def suspect_missing() -> int:
    """Keep a suspicion for each guard that is not there, and see that it is told. Returns how many are new."""
    chain = subjects.log(settings.METERPROOF["ORIGIN"])
    head = ledger.head(chain)
    missing = guards.missing()
    if head is None or not missing:
        return 0
    last = ledger.entry(chain, head.seq)
    new = 0
    for name in missing:
        about = f"{name} ({clock.now().date().isoformat()})"
        id_ = actions.finding_id(detector=DETECTOR, version=VERSION, subject=chain, seq=head.seq, about=about)
        if Finding.objects.filter(pk=id_).exists() or Suspicion.objects.filter(pk=id_).exists():
            continue
        detail = f"The guard {name} of the database is missing or altered: {guards.HARM}."
        Suspicion.objects.create(
            id=id_,
            detector=DETECTOR,
            version=VERSION,
            severity=Severity.CRITICAL,
            subject=chain,
            subject_key=subjects.key_of(chain),
            seq=head.seq,
            hash=head.hash,
            event_type=last.event["type"] if last else "",
            author=subjects.PLATFORM,
            about=about,
            detail=detail[:MAX_DETAIL],
        )
        new += 1
    if new:
        jobs.enqueue(actions.TELL, {}, dedupe_key="all")
    return new
