"""How far the record supports each requirement of a framework, and why. Computed when asked for, never typed in.

Three kinds of reason: accepted evidence linked to the requirement, checks that speak to it, and mappings to a
requirement of another framework that has such reasons itself (direct links only: one hop, so that no chain of editorial
rows adds up). Of relationships, read from the requirement that has reasons to the one asked about, only `equal` and
`superset_of` carry support; `subset_of`, `intersects_with` and `supports` contribute; `mitigated_by` and
`applies_in_phase` never carry.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from django.db.models import Count

from compliance.checks import registry, selectors
from compliance.checks.models import CheckResult, CheckRun, Finding, FindingState
from compliance.checks.registry import Check
from compliance.evidence.models import Evidence, EvidenceLink, LinkKind, State
from compliance.evidence.selectors import accepted_links
from compliance.frameworks import selectors as frameworks
from compliance.frameworks.models import Framework, Relationship, Requirement
from compliance.frameworks.models import Mapping as MappingRow
from compliance.jobs import clock
from compliance.proof.times import format_time

FORMAT = "meterproof-coverage/1"


class Status(StrEnum):
    """What the reasons come to, the strongest first."""

    CONTRADICTED = "contradicted"
    SUPPORTED = "supported"
    CONTRIBUTING = "contributing"
    NONE = "none"
    NOT_ASSESSABLE = "not_assessable"


class Effect(StrEnum):
    """What one reason does."""

    CONTRADICTS = "contradicts"
    SUPPORTS = "supports"
    CONTRIBUTES = "contributes"
    SAYS_NOTHING = "says_nothing"


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a requirement stands as it does. `reference` is an evidence id, a check's id or a requirement."""

    kind: str  # evidence, check or mapping
    effect: Effect
    text: str
    reference: str


@dataclass(frozen=True, slots=True)
class RequirementCoverage:
    """One requirement and its reasons, the weightiest first."""

    requirement: Requirement
    status: Status
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class Coverage:
    """A framework's requirements in order, as of a moment and a run of the checks."""

    framework: Framework
    requirements: tuple[RequirementCoverage, ...]
    totals: Mapping[str, int]
    computed_at: datetime
    run: CheckRun | None
    unresolved: tuple[str, ...] = field(default=())  # references of accepted evidence that no loaded edition holds


_INVERSE = {
    Relationship.EQUAL: Relationship.EQUAL,
    Relationship.SUBSET_OF: Relationship.SUPERSET_OF,
    Relationship.SUPERSET_OF: Relationship.SUBSET_OF,
    Relationship.INTERSECTS_WITH: Relationship.INTERSECTS_WITH,
}
_CARRIES = {
    Relationship.EQUAL: Effect.SUPPORTS,
    Relationship.SUPERSET_OF: Effect.SUPPORTS,
    Relationship.SUBSET_OF: Effect.CONTRIBUTES,
    Relationship.INTERSECTS_WITH: Effect.CONTRIBUTES,
    Relationship.SUPPORTS: Effect.CONTRIBUTES,
}
# What contradicts a part contradicts the whole; what contradicts the whole may lie outside the part.
_CARRIES_CONTRADICTION = frozenset({Relationship.EQUAL, Relationship.SUBSET_OF})
_WEIGHT = {effect: weight for weight, effect in enumerate(Effect)}


def compute(framework_key: str, *, at: datetime | None = None) -> Coverage:
    """Coverage of the current edition of a framework. With `at`, only evidence counts that covers that moment.

    Raises Framework.DoesNotExist. For code that has already decided who may ask.
    """
    framework = frameworks.framework(framework_key)
    asked = list(frameworks.requirements(framework))
    mappings = list(frameworks.mappings_touching(framework))
    ends = {end.reference for mapping in mappings for end in (mapping.source, mapping.target)}
    record = _Record.read({requirement.reference for requirement in asked} | ends, at=at)
    reached = _by_requirement(mappings, framework)
    rows = tuple(_cover(requirement, record, reached.get(requirement.pk, ())) for requirement in asked)
    return Coverage(
        framework=framework,
        requirements=rows,
        totals=_totals(rows),
        computed_at=clock.now(),
        run=record.run,
        unresolved=_unresolved(framework, asked),
    )


def as_json(coverage: Coverage) -> dict[str, Any]:
    """The same for machines, in a form that stays: strings, integers, lists and objects."""
    framework, run = coverage.framework, coverage.run
    return {
        "format": FORMAT,
        "framework": {
            "key": framework.key,
            "edition": framework.edition,
            "title": framework.title,
            "publisher": framework.publisher,
            "digest": framework.digest,
            "official": framework.is_official,
            "status": framework.status,
            "verification": framework.verification,
            "licence_note": framework.licence_note,
        },
        "computed_at": format_time(coverage.computed_at),
        "checks": None
        if run is None
        else {"run": run.public_id, "log_size": run.log_size, "root": run.root, "ran_at": format_time(run.ran_at)},
        "totals": dict(coverage.totals),
        "requirements": [
            {
                "reference": row.requirement.reference,
                "ref": row.requirement.ref,
                "title": row.requirement.title,
                "group": row.requirement.group.ref,
                "kind": row.requirement.kind,
                "verification": row.requirement.verification,
                "assessable": row.requirement.assessable,
                "status": row.status.value,
                "reasons": [
                    {
                        "kind": reason.kind,
                        "effect": reason.effect.value,
                        "text": reason.text,
                        "reference": reason.reference,
                    }
                    for reason in row.reasons
                ],
            }
            for row in coverage.requirements
        ],
        "unresolved_references": list(coverage.unresolved),
    }


@dataclass(frozen=True, slots=True)
class _Record:
    """What evidence and checks say directly, by requirement."""

    run: CheckRun | None
    reasons: Mapping[str, Sequence[Reason]]

    @classmethod
    def read(cls, references: Iterable[str], *, at: datetime | None) -> "_Record":
        found: dict[str, list[Reason]] = defaultdict(list)
        for link in accepted_links(LinkKind.REQUIREMENT, references):
            if at is None or link.evidence.covers(at):
                found[link.reference].append(_evidence_reason(link.evidence))
        run = selectors.latest_run()
        results = {result.detector: result for result in run.results.all()} if run is not None else {}
        findings = _findings_by_check()
        for check in registry.checks():
            reason = _check_reason(check, results.get(check.id), findings[check.id])
            for reference in check.speaks_to:
                found[reference].append(reason)
        return cls(run, found)

    def direct(self, requirement: Requirement) -> tuple[Effect, list[Reason]]:
        """What the requirement's own reasons come to, and those that say something."""
        reasons = self.reasons.get(requirement.reference, ())
        strongest = min((reason.effect for reason in reasons), key=_WEIGHT.__getitem__, default=Effect.SAYS_NOTHING)
        return strongest, list(reasons)


def _cover(
    requirement: Requirement, record: _Record, mappings: Sequence[tuple[Relationship, Requirement, MappingRow]]
) -> RequirementCoverage:
    if not requirement.assessable:
        return RequirementCoverage(requirement, Status.NOT_ASSESSABLE, ())
    _, reasons = record.direct(requirement)
    for relationship, other, mapping in mappings:
        if (carried := _mapping_reason(relationship, other, mapping, record)) is not None:
            reasons.append(carried)
    reasons.sort(key=lambda reason: _WEIGHT[reason.effect])
    return RequirementCoverage(requirement, _status(reasons), tuple(reasons))


def _status(reasons: Sequence[Reason]) -> Status:
    effects = {reason.effect for reason in reasons}
    for effect, status in (
        (Effect.CONTRADICTS, Status.CONTRADICTED),
        (Effect.SUPPORTS, Status.SUPPORTED),
        (Effect.CONTRIBUTES, Status.CONTRIBUTING),
    ):
        if effect in effects:
            return status
    return Status.NONE


def _by_requirement(
    mappings: Iterable[MappingRow], framework: Framework
) -> dict[int, list[tuple[Relationship, Requirement, MappingRow]]]:
    """For each requirement of `framework`, how requirements of other frameworks relate to it, read towards it."""
    reached: dict[int, list[tuple[Relationship, Requirement, MappingRow]]] = defaultdict(list)
    for mapping in mappings:
        relationship = Relationship(mapping.relationship)
        if mapping.target.framework_id == framework.pk:
            reached[mapping.target_id].append((relationship, mapping.source, mapping))
        if mapping.source.framework_id == framework.pk and relationship in _INVERSE:
            reached[mapping.source_id].append((_INVERSE[relationship], mapping.target, mapping))
    return reached


def _mapping_reason(
    relationship: Relationship, other: Requirement, mapping: MappingRow, record: _Record
) -> Reason | None:
    if relationship not in _CARRIES:
        return None
    effect, reasons = record.direct(other)
    if effect is Effect.CONTRADICTS and relationship in _CARRIES_CONTRADICTION:
        carried, said = Effect.CONTRADICTS, "contradicted"
    elif effect is Effect.SUPPORTS:
        carried, said = _CARRIES[relationship], "supported"
    elif effect is Effect.CONTRIBUTES:
        carried, said = Effect.CONTRIBUTES, "supported in part"
    else:
        return None
    number = sum(reason.effect is effect for reason in reasons)
    basis = f"{number} {'reason' if number == 1 else 'reasons'}"
    weight = "" if carried is not Effect.CONTRIBUTES else "; this contributes and is no support by itself"
    confidence = f", confidence {mapping.confidence}" if mapping.confidence else ""
    origin = "editorial mapping" if mapping.mapping_set.editorial else "mapping"
    return Reason(
        kind="mapping",
        effect=carried,
        text=f"{other.reference} {other.title} {relationship.label} this and is {said} directly by {basis}"
        f"{weight} ({origin} {mapping.mapping_set.key} {mapping.ref}{confidence})",
        reference=other.reference,
    )


def _evidence_reason(evidence: Evidence) -> Reason:
    decided = f"{evidence.decided_at:%Y-%m-%d}" if evidence.decided_at else ""
    return Reason(
        kind="evidence",
        effect=Effect.SUPPORTS,
        text=f"{evidence.title} ({evidence.kind} of {evidence.organisation.name}), covers "
        f"{evidence.covers_from:%Y-%m-%d} to {evidence.covers_to:%Y-%m-%d}, accepted {decided}",
        reference=evidence.public_id,
    )


def _check_reason(check: Check, result: CheckResult | None, findings: Mapping[str, int]) -> Reason:
    opened, closed = findings.get(FindingState.OPEN, 0), findings.get(FindingState.CLOSED, 0)
    untold = max(0, result.deviations - opened - closed) if result is not None else 0
    unknown = ""
    if result is not None and result.not_evaluable:
        unknown = f", {result.not_evaluable} could not be evaluated"
    if opened or untold:
        effect, said = Effect.CONTRADICTS, f"{opened + untold} open {'finding' if opened + untold == 1 else 'findings'}"
        if result is not None:
            said += f" among {result.population} looked at{unknown}"
    elif result is None:
        effect, said = Effect.SAYS_NOTHING, "has not run yet"
    elif result.evaluated == 0:
        effect, said = Effect.SAYS_NOTHING, f"nothing to judge{unknown}" if unknown else "there was nothing to look at"
    elif result.deviations:
        effect = Effect.CONTRIBUTES
        said = f"{result.population} looked at, {result.deviations} deviated, all closed{unknown}"
    else:
        effect, said = Effect.SUPPORTS, f"{result.population} looked at, none deviates{unknown}"
    return Reason(kind="check", effect=effect, text=f"{check.id} {check.title} {said}", reference=check.id)


def _findings_by_check() -> Mapping[str, Mapping[str, int]]:
    counted: dict[str, dict[str, int]] = defaultdict(dict)
    rows = Finding.objects.order_by().values("detector", "state").annotate(number=Count("id"))
    for row in rows:
        counted[row["detector"]][row["state"]] = row["number"]
    return counted


def _totals(rows: Sequence[RequirementCoverage]) -> Mapping[str, int]:
    counted = Counter(row.status for row in rows)
    return {
        "requirements": len(rows),
        "assessable": len(rows) - counted[Status.NOT_ASSESSABLE],
        **{status.value: counted[status] for status in Status},
    }


def _unresolved(framework: Framework, asked: Sequence[Requirement]) -> tuple[str, ...]:
    """Accepted evidence that names a requirement of this framework which the current edition does not hold."""
    cited = EvidenceLink.objects.filter(
        kind=LinkKind.REQUIREMENT, reference__startswith=f"{framework.key}:", evidence__state=State.ACCEPTED
    ).values_list("reference", flat=True)
    return tuple(sorted(set(cited) - {requirement.reference for requirement in asked}))
