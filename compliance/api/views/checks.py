"""Checks and what they found."""

from datetime import datetime
from typing import Any, ClassVar

from django.db.models import Q
from django.http import HttpResponse
from rest_framework import serializers
from rest_framework.request import Request

from compliance.api.paging import Cursors, PageQuery, link_to
from compliance.api.schema import operation, path_text
from compliance.api.shapes import Choice, Pattern
from compliance.api.views.base import ApiView, json_response
from compliance.api.views.jobs import JobAnswer, accepted_headers, job_body
from compliance.checks import actions, selectors
from compliance.checks.models import Finding, FindingState, Resolution
from compliance.checks.registry import Severity
from compliance.proof.times import format_time

TAG = "Checks"
FINDING_ID = path_text("finding_id", "The finding's id.", r"^fnd_[0-9a-f]{32}$")


class FindingQuery(PageQuery):
    """Which findings."""

    state = Choice(choices=FindingState.choices, required=False)
    detector = Pattern(r"AN-[0-9]{2}", required=False)


class FindingAnswer(serializers.Serializer):
    """A deviation that a check saw, and what became of it."""

    id = serializers.CharField()
    detector = serializers.CharField()
    version = serializers.IntegerField()
    severity = serializers.ChoiceField(choices=[severity.value for severity in Severity])
    state = serializers.ChoiceField(choices=FindingState.choices)
    subject = serializers.CharField(help_text="The chain whose entry showed it.")
    seq = serializers.IntegerField()
    detail = serializers.CharField()
    meters = serializers.ListField(child=serializers.CharField(), help_text="Those that you may see, at most 100.")
    meter_count = serializers.IntegerField(help_text="How many meters it concerns, seen or not.")
    log_size = serializers.IntegerField(help_text="Size of the log that the check had read.")
    opened_at = serializers.DateTimeField()
    closed_at = serializers.DateTimeField(allow_null=True)
    resolution = serializers.ChoiceField(choices=[("", "Open"), *Resolution.choices])


class FindingPage(serializers.Serializer):
    """A page of findings."""

    items = FindingAnswer(many=True)
    next = serializers.CharField(allow_null=True)


class CheckRuns(ApiView):
    """`/api/v1/checks/runs`"""

    actions: ClassVar = {"POST": "check.run"}

    @operation(
        "run_checks",
        "Run all checks over the log",
        tag=TAG,
        answer=JobAnswer,
        success=202,
        action="check.run",
        description="A job does it; a run that waits already is not queued twice.",
    )
    def post(self, request: Request) -> HttpResponse:
        job = actions.request_run(by=self.caller)
        return json_response(job_body(job), status=202, headers=accepted_headers(job.pk))


class FindingList(ApiView):
    """`/api/v1/findings`"""

    actions: ClassVar = {"GET": "finding.read"}
    query_shapes: ClassVar = {"GET": FindingQuery}

    @operation(
        "list_findings",
        "Findings you may see, newest first",
        tag=TAG,
        answer=FindingPage,
        action="finding.read",
        query=FindingQuery,
    )
    def get(self, request: Request) -> HttpResponse:
        found = selectors.findings_visible_to(self.caller)
        for name in ("state", "detector"):
            if name in self.query:
                found = found.filter(**{name: self.query[name]})
        cursors = Cursors(f"findings {self.caller.pk}", self.query)
        if place := cursors.after:
            opened_at, id_ = datetime.fromisoformat(place[0]), place[1]
            found = found.filter(Q(opened_at__lt=opened_at) | Q(opened_at=opened_at, id__gt=id_))
        rows = list(found.order_by("-opened_at", "id")[: cursors.limit + 1])
        shown, following = rows[: cursors.limit], None
        if len(rows) > len(shown):
            following = cursors.following([shown[-1].opened_at.isoformat(), shown[-1].pk])
        meters = selectors.meters_shown(shown, self.caller)
        body = {"items": [finding_body(finding, meters[finding.pk]) for finding in shown], "next": following}
        return json_response(body, headers=link_to(request.path, self.query, following))


class FindingDetail(ApiView):
    """`/api/v1/findings/{finding_id}`"""

    actions: ClassVar = {"GET": "finding.read"}

    @operation(
        "get_finding",
        "One finding",
        tag=TAG,
        answer=FindingAnswer,
        action="finding.read",
        also=(404,),
        parameters=[FINDING_ID],
    )
    def get(self, request: Request, finding_id: str) -> HttpResponse:
        finding = self.found(selectors.finding(finding_id, self.caller))
        meters = selectors.meters_shown([finding], self.caller)
        return json_response(finding_body(finding, meters[finding.pk]))


def finding_body(finding: Finding, meters: list[str]) -> dict[str, Any]:
    """What the interface says about a finding to a caller who may see `meters` of those that it names."""
    return {
        "id": finding.public_id,
        "detector": finding.detector,
        "version": finding.version,
        "severity": finding.severity,
        "state": finding.state,
        "subject": finding.subject,
        "seq": finding.seq,
        "detail": finding.detail,
        "meters": meters,
        "meter_count": finding.meter_count,
        "log_size": finding.log_size,
        "opened_at": format_time(finding.opened_at),
        "closed_at": format_time(finding.closed_at) if finding.closed_at else None,
        "resolution": finding.resolution,
    }
