"""Background jobs, as far as their outcome concerns the caller."""

from typing import Any, ClassVar

from django.http import HttpResponse
from rest_framework import serializers
from rest_framework.request import Request

from compliance.api.schema import operation, path_text
from compliance.api.views.base import ApiView, json_response
from compliance.jobs import selectors
from compliance.jobs.models import Job, JobState
from compliance.proof.times import format_time

TAG = "Jobs"
JOB_ID = path_text("job_id", "The job's id.", r"^job_[0-9a-f]{32}$")
POLL_SECONDS = 1


class JobAnswer(serializers.Serializer):
    """A job and how far it got."""

    id = serializers.CharField()
    task = serializers.CharField()
    state = serializers.ChoiceField(choices=JobState.choices)
    percent = serializers.IntegerField(min_value=0, max_value=100)
    message = serializers.CharField(allow_blank=True)
    failure = serializers.CharField(allow_blank=True, help_text="Why it failed, or why it is tried again.")
    created_at = serializers.DateTimeField()
    finished_at = serializers.DateTimeField(allow_null=True)


def job_body(job: Job) -> dict[str, Any]:
    """What the interface says about a job."""
    return {
        "id": job.pk,
        "task": job.task,
        "state": job.state,
        "percent": job.percent,
        "message": job.message,
        "failure": job.failure.splitlines()[-1] if job.failure else "",
        "created_at": format_time(job.created_at),
        "finished_at": format_time(job.finished_at) if job.finished_at else None,
    }


def accepted_headers(job_id: str) -> dict[str, str]:
    """Headers of an answer that says: it runs, look there."""
    return {"Location": f"/api/v1/jobs/{job_id}", "Retry-After": str(POLL_SECONDS)}


class JobDetail(ApiView):
    """`/api/v1/jobs/{job_id}`"""

    actions: ClassVar = {"GET": "job.read"}

    @operation("get_job", "One job", tag=TAG, answer=JobAnswer, action="job.read", also=(404,), parameters=[JOB_ID])
    def get(self, request: Request, job_id: str) -> HttpResponse:
        job = self.found(selectors.get(job_id))
        headers = {} if job.is_over else {"Retry-After": str(POLL_SECONDS)}
        return json_response(job_body(job), headers=headers)
