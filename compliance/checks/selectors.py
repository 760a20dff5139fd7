"""Reads of findings and of what the checks saw."""

from collections.abc import Iterable, Sequence

from django.db.models import Count, Exists, OuterRef, Q, QuerySet

from compliance.accounts import policy
from compliance.accounts.policy import Actor, Reach
from compliance.checks import registry
from compliance.checks.models import CheckResult, CheckRun, Finding, FindingMeter, FindingState
from compliance.checks.registry import Check
from compliance.custody import selectors as custody
from compliance.custody.models import Visibility
from compliance.proof import subject as subjects


def findings_visible_to(actor: Actor) -> QuerySet[Finding]:
    """Findings `actor` may see, the newest first.

    An organisation sees what its own statements showed, and what a meter's chain showed while it was a party to the
    meter.
    """
    match policy.reach(actor, "finding.read"):
        case Reach.ALL:
            return Finding.objects.all()
        case Reach.OWN:
            own = policy.organisations_within(actor, "finding.read")
            return Finding.objects.filter(Q(author__in=own) | Exists(_seen_in_time(own)))
    return Finding.objects.none()


def _seen_in_time(organisations: Sequence[str]) -> QuerySet[Visibility]:
    """Intervals in which one of `organisations` was a party to the meter on whose chain the finding's entry stands."""
    return Visibility.objects.filter(
        Q(to_seq=None) | Q(to_seq__gte=OuterRef("seq")),
        organisation__in=organisations,
        subject_key=OuterRef("subject_key"),
        from_seq__lte=OuterRef("seq"),
    )


def finding(public_id: str, actor: Actor) -> Finding | None:
    """The finding with that id if `actor` may see it."""
    return findings_visible_to(actor).filter(pk=public_id).first()


def meters_shown(findings: Iterable[Finding], actor: Actor) -> dict[str, list[str]]:
    """By finding, the meters it names that `actor` may see: one question for a whole page of findings."""
    listed = list(findings)
    if policy.reach(actor, "finding.read") == Reach.ALL:
        return {each.pk: list(each.meters) for each in listed}
    named = {subject for each in listed for subject in each.meters}
    visible = set(
        custody.meters_visible_to(actor).filter(subject__in=named).order_by().values_list("subject", flat=True)
    )
    return {each.pk: [subject for subject in each.meters if subject in visible] for each in listed}


def findings_of_meter(subject: str, actor: Actor) -> QuerySet[Finding]:
    """Findings that concern the meter `subject`, as far as `actor` may see them."""
    concerned = FindingMeter.objects.filter(meter_key=subjects.key_of(subject)).values("finding")
    return findings_visible_to(actor).filter(pk__in=concerned)


def open_findings_by_check() -> dict[str, int]:
    """How many findings of each check are open. For code that has already decided who may ask."""
    counted = Finding.objects.filter(state=FindingState.OPEN).order_by().values("detector").annotate(number=Count("id"))
    return {row["detector"]: row["number"] for row in counted}


def latest_run() -> CheckRun | None:
    """The run that read most of the log, the last of those."""
    return CheckRun.objects.order_by("-log_size", "-pk").prefetch_related("results").first()


def latest_results() -> dict[str, CheckResult]:
    """By check, what it said in the latest run."""
    run = latest_run()
    return {} if run is None else {result.detector: result for result in run.results.all()}


def checks() -> list[Check]:
    """All checks of this version of the product."""
    return registry.checks()
