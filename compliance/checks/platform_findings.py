"""Findings about the platform itself, which no check of the log can see. They hang on the last entry of its chain."""

from django.conf import settings

from compliance.checks import actions
from compliance.checks.models import MAX_DETAIL, Finding, Suspicion
from compliance.checks.registry import Severity
from compliance.jobs import actions as jobs
from compliance.ledger import append
from compliance.ledger import selectors as ledger
from compliance.proof import subject as subjects

VERSION = 1


@append.unit_of_work()
def suspect_once(detector: str, severity: Severity, said: dict[str, str]) -> int:
    """Keep a suspicion for each thing in `said` (about, detail) that `detector` never named before, and see that it is
    told. Returns how many are new.
    """
    chain = subjects.log(settings.METERPROOF["ORIGIN"])
    head = ledger.head(chain)
    if head is None:
        return 0
    known = {about for model in (Finding, Suspicion) for about in _named(model, detector, said)}
    last = ledger.entry(chain, head.seq)
    new = [about for about in said if about not in known]
    for about in new:
        Suspicion.objects.create(
            id=actions.finding_id(detector=detector, version=VERSION, subject=chain, seq=head.seq, about=about),
            detector=detector,
            version=VERSION,
            severity=severity,
            subject=chain,
            subject_key=subjects.key_of(chain),
            seq=head.seq,
            hash=head.hash,
            event_type=last.event["type"] if last else "",
            author=subjects.PLATFORM,
            about=about,
            detail=said[about][:MAX_DETAIL],
        )
    if new:
        jobs.enqueue(actions.TELL, {}, dedupe_key="all")
    return len(new)


def _named(model: type[Finding] | type[Suspicion], detector: str, said: dict[str, str]) -> set[str]:
    return set(model._default_manager.filter(detector=detector, about__in=said).values_list("about", flat=True))
