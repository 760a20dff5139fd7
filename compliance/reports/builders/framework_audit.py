"""The framework audit report: what the record supports of a framework, what contradicts it, and how that was found."""

from collections import Counter
from collections.abc import Sequence

from django.db.models import Count, F, Max, Min

from compliance.accounts.models import Organisation
from compliance.accounts.policy import SYSTEM
from compliance.accounts.roles import PLATFORM
from compliance.checks import coverage, registry
from compliance.checks.coverage import Coverage, RequirementCoverage
from compliance.checks.models import CheckRun
from compliance.custody import words
from compliance.custody.models import Meter, Violation
from compliance.evidence.selectors import evidence_visible_to
from compliance.frameworks.models import Framework, Verification
from compliance.reports.builders import attachments, record
from compliance.reports.builders.document import document
from compliance.reports.builders.drafts import Draft
from compliance.reports.builders.evidence import evidence_facts
from compliance.reports.builders.findings import SEVERITIES, finding_facts, open_findings
from compliance.reports.builders.record import Proven
from compliance.reports.builders.timeline import timeline
from compliance.reports.facts import (
    CheckFacts,
    Conclusion,
    CoverageState,
    CustodyFacts,
    FrameworkAudit,
    FrameworkFacts,
    GroupTotals,
    Listed,
    RequirementFacts,
    SampledMeter,
    StageFacts,
)
from compliance.reports.models import Report
from compliance.reports.pages import framework_audit

REFS_NAMED = 6  # what a sentence can carry
EXAMPLE_ROWS = 40  # the example is one page; the rest is in the proof
# Where the states of a meter stand in its life, as the figure draws it.
STAGES = {
    "Manufacture": ("assembled",),
    "Provisioning": ("in_cell", "provisioned"),
    "Delivery": ("packed", "in_transit", "received", "accepted"),
    "Installation": ("installed",),
    "Operation": ("in_service",),
    "Re-provision": ("reprovisioning",),
    "End of life": ("removed", "in_triage", "decommissioned", "disposed", "scrapped"),
    "Held": ("quarantined", "missing"),
}


def build(report: Report) -> Draft:
    """The report that `report` asks for. Raises Framework.DoesNotExist, NotYetIncluded, RecordBroken."""
    drawn: list[str] = []

    def choose(root: bytes) -> Sequence[str]:
        drawn[:] = record.sample_of_meters(root)
        return [*drawn, *record.operator_subjects()]

    proven = record.prove(choose)
    covered = coverage.compute(report.parameters["framework"])
    framework = covered.framework
    rows = [_requirement(item) for item in covered.requirements]
    findings = [
        finding_facts(each, number, framework=framework.key) for number, each in enumerate(open_findings(), start=1)
    ]
    severities = Counter(finding.severity for finding in findings)
    evidence = evidence_facts(evidence_visible_to(SYSTEM).order_by("pk"))
    facts = FrameworkAudit(
        document=document(report, title=_title(framework), checkpoint=proven.checkpoint),
        framework=_framework(framework, covered),
        conclusion=_conclusion(rows),
        groups=_groups(rows),
        requirements=Listed.first(rows),
        findings=Listed.first(findings),
        findings_by_severity={name: severities[name] for name in SEVERITIES if severities[name]},
        checks=_checks(),
        custody=_custody(proven, drawn),
        evidence=Listed.first(evidence),
        evidence_by_state=dict(Counter(item.state for item in evidence)),
    )
    files = [
        attachments.coverage_json(rows, framework=facts.framework),
        attachments.evidence_csv(evidence),
        attachments.proof(
            proven.bundle,
            name="record.proof",
            description="The chains of the sampled meters, of the log and its operator, with their proof and keys",
        ),
    ]
    return Draft.of(facts.document, facts, files, framework_audit)


def _title(framework: Framework) -> str:
    return f"{framework.title} ({framework.edition})" if framework.edition not in framework.title else framework.title


def _framework(framework: Framework, covered: Coverage) -> FrameworkFacts:
    return FrameworkFacts(
        key=framework.key,
        title=framework.title,
        edition=framework.edition,
        publisher=framework.publisher,
        verification=framework.verification,
        licence_note=" ".join(filter(None, (framework.status, framework.licence_note))),
        requirements=len(covered.requirements),
        assessable=sum(item.requirement.assessable for item in covered.requirements),
    )


def _requirement(item: RequirementCoverage) -> RequirementFacts:
    requirement = item.requirement
    return RequirementFacts(
        group=_group(requirement.group.ref, requirement.group.title),
        ref=requirement.ref,
        title=requirement.title,
        state=CoverageState(item.status),
        verification=Verification(requirement.verification).label,
        reasons=tuple(reason.text for reason in item.reasons),
    )


def _group(ref: str, title: str) -> str:
    """Some catalogues begin the title of a group with its name: `clause-4`, `Clause 4 Context of the organization`."""
    plain = ref.replace("-", " ").lower()
    return title if not ref or title.lower().startswith(plain) else f"{ref} {title}".strip()


def _groups(rows: Sequence[RequirementFacts]) -> tuple[GroupTotals, ...]:
    counted: dict[str, Counter[CoverageState]] = {}
    for row in rows:
        counted.setdefault(row.group, Counter())[row.state] += 1
    return tuple(GroupTotals(title, counts) for title, counts in counted.items())


def _conclusion(rows: Sequence[RequirementFacts]) -> Conclusion:
    """By the rule of section 3 of the report: a contradiction outweighs, then anything without support."""
    states = Counter(row.state for row in rows)
    assessable = len(rows) - states[CoverageState.NOT_ASSESSABLE]
    supported = states[CoverageState.SUPPORTED]
    contradicted = [row.ref for row in rows if row.state == CoverageState.CONTRADICTED]
    if contradicted:
        named = ", ".join(contradicted[:REFS_NAMED]) + (" and others" if len(contradicted) > REFS_NAMED else "")
        heading = f"{len(contradicted)} of {assessable} requirements contradicted"
        return Conclusion("bad", heading, f"Open findings speak against {named}. {supported} are supported.")
    if supported < assessable:
        sentence = (
            f"The record supports {supported} of {assessable} assessable requirements and contributes to "
            f"{states[CoverageState.CONTRIBUTING]} more. Nothing on record contradicts any."
        )
        return Conclusion("warn", "Supported in part", sentence)
    return Conclusion("ok", "Supported throughout", f"The record supports all {assessable} assessable requirements.")


def _checks() -> tuple[CheckFacts, ...]:
    """The last time all checks read the log."""
    run = CheckRun.objects.order_by("-pk").first()
    if run is None:
        return ()
    titles = {check.id: check.title for check in registry.checks()}
    return tuple(
        CheckFacts(
            detector=result.detector,
            title=titles.get(result.detector, result.name),
            version=str(result.version),
            population=result.population,
            deviations=result.deviations,
            not_evaluable=result.not_evaluable,
            log_size=run.log_size,
            ran_at=run.ran_at,
        )
        for result in run.results.order_by("detector")
    )


def _custody(proven: Proven, drawn: Sequence[str]) -> CustodyFacts:
    states = dict(Meter.objects.values_list("assured_state").annotate(number=Count("subject_key")))
    times = Meter.objects.with_heads().aggregate(first=Min("first_recorded_at"), last=Max("head_recorded_at"))
    standing = Violation.objects.filter(settled_seq=None)
    counted = standing.values_list("code").annotate(number=Count("id")).order_by("-number", "code")
    sampled = [_sampled(meter, proven) for meter in Meter.objects.filter(subject__in=drawn).order_by("subject")]
    example = sampled[0].subject if sampled else ""
    return CustodyFacts(
        meters=Meter.objects.count(),
        entries=proven.checkpoint.size,
        organisations=Organisation.objects.exclude(pk=PLATFORM).count(),
        stages=tuple(
            StageFacts(title, sum(states.get(state, 0) for state in members)) for title, members in STAGES.items()
        ),
        violations={words.violation(code): number for code, number in counted},
        meters_with_violations=Meter.objects.filter(violation_count__gt=0).count(),
        meters_assured_lower=Meter.objects.exclude(assured_state=F("claimed_state")).count(),
        sampled=tuple(sampled),
        example_subject=example,
        example=Listed.first(timeline(example, to_seq=proven.heads[example].seq) if example else [], EXAMPLE_ROWS),
        first_recorded_at=times["first"],
        last_recorded_at=times["last"],
    )


def _sampled(meter: Meter, proven: Proven) -> SampledMeter:
    """The proof with this meter's chain was verified as a whole before the report was begun."""
    return SampledMeter(
        subject=meter.subject,
        entries=proven.heads[meter.subject].seq + 1,
        claimed_state=words.state(meter.claimed_state),
        assured_state=words.state(meter.assured_state),
        verified=True,
        failure="",
    )
