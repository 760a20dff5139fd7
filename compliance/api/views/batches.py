"""Signed batches in, receipts out."""

from collections.abc import Mapping
from typing import Any, ClassVar

import orjson
from django.http import HttpResponse
from rest_framework import serializers
from rest_framework.request import Request

from compliance.api import bodies
from compliance.api.problems import MAX_ERRORS, ApiProblem
from compliance.api.schema import operation, path_text
from compliance.api.shapes import Choice, Shape
from compliance.api.views.base import ApiView, json_response
from compliance.api.visible import batch_of
from compliance.custody.intake import BatchRefused, IntakeResult, LineProblem, receive_batch
from compliance.ledger import selectors as ledger
from compliance.proof import batch as batches
from compliance.proof import receipt as receipts

TAG = "Batches"
BATCH_ID = path_text("batch_id", "SHA-256 of the batch's canonical envelope.", r"^[0-9a-f]{64}$")
MODES = (("atomic", "All events or none"), ("proceed", "Each event by itself"))


class BatchQuery(Shape):
    """How to treat a batch of which some events cannot be recorded."""

    mode = Choice(choices=MODES, required=False, help_text="atomic (default): all or nothing; proceed: each by itself.")


class SignatureShape(serializers.Serializer):
    """One signature of an envelope."""

    keyid = serializers.CharField()
    sig = serializers.CharField()


class EnvelopeAnswer(serializers.Serializer):
    """A DSSE envelope."""

    payload = serializers.CharField()
    payloadType = serializers.CharField()  # noqa: N815 (DSSE's spelling)
    signatures = SignatureShape(many=True)


class NewEntryAnswer(serializers.Serializer):
    """An event as it now stands in its chain."""

    index = serializers.IntegerField()
    event_id = serializers.CharField()
    event_hash = serializers.CharField()
    subject = serializers.CharField()
    seq = serializers.IntegerField()
    prev = serializers.CharField(allow_null=True)
    hash = serializers.CharField()
    recorded_at = serializers.DateTimeField()


class DuplicateAnswer(serializers.Serializer):
    """An event that another batch recorded before."""

    index = serializers.IntegerField()
    batch = serializers.CharField()


class LineProblemAnswer(serializers.Serializer):
    """An event that was not recorded, and why."""

    code = serializers.CharField()
    detail = serializers.CharField()
    index = serializers.IntegerField(required=False)
    line = serializers.IntegerField(required=False)
    pointer = serializers.CharField(required=False, allow_blank=True)


class IntakeAnswer(serializers.Serializer):
    """What became of a batch. The receipt is the operator's signed word for it: keep it."""

    batch = serializers.CharField()
    recorded = serializers.IntegerField()
    duplicate = serializers.IntegerField()
    rejected = serializers.IntegerField()
    entries = NewEntryAnswer(many=True)
    duplicates = DuplicateAnswer(many=True)
    problems = LineProblemAnswer(many=True)
    receipt = EnvelopeAnswer()


class BatchAnswer(serializers.Serializer):
    """A recorded batch. `recorded`: durable; `included`: under a published checkpoint, with proofs."""

    batch = serializers.CharField()
    state = serializers.ChoiceField(choices=["recorded", "included"])
    author = serializers.CharField()
    count = serializers.IntegerField()
    recorded = serializers.IntegerField()
    duplicate = serializers.IntegerField()
    rejected = serializers.IntegerField()
    receipt = EnvelopeAnswer()


class BatchList(ApiView):
    """`/api/v1/batches`"""

    actions: ClassVar = {"POST": "batch.submit"}
    query_shapes: ClassVar = {"POST": BatchQuery}

    @operation(
        "submit_batch",
        "Hand in a signed batch of events",
        tag=TAG,
        answer=IntakeAnswer,
        success=(200, 201),
        action="batch.submit",
        query=BatchQuery,
        body={
            batches.NDJSON: {"type": "string", "description": "The DSSE envelope, then one event a line."},
            "application/json": {"type": "object"},
        },
        also=(404, 409),
        description=(
            "At most 1,000 events and 5 MiB, plain or gzip. Either all events are recorded and the answer carries a "
            "receipt, or nothing is; with mode=proceed each event stands by itself. The same batch sent again is "
            "answered with 200 and its first receipt."
        ),
    )
    def post(self, request: Request) -> HttpResponse:
        kind = bodies.media_type(request._request)
        if kind not in {batches.NDJSON, batches.JSON_DOCUMENT}:
            raise ApiProblem("media_type.unsupported")
        data = bodies.read(request._request, max_bytes=bodies.MAX_BATCH_BYTES)
        try:
            result = receive_batch(data, media_type=kind, sender=self.caller, mode=self.query.get("mode", "atomic"))
        except BatchRefused as refusal:
            raise _problem(refusal) from None
        headers = {"Location": f"{request.path}/{result.appended.batch_id}"}
        if result.rejected:
            headers["X-Batch-Rejected"] = str(result.rejected)
        status = 200 if result.appended.replay else 201
        return HttpResponse(_intake_body(result), status=status, content_type="application/json", headers=headers)


class BatchDetail(ApiView):
    """`/api/v1/batches/{batch_id}`"""

    actions: ClassVar = {"GET": "batch.read"}

    @operation(
        "get_batch",
        "A recorded batch and its receipt",
        tag=TAG,
        answer=BatchAnswer,
        action="batch.read",
        also=(404,),
        parameters=[BATCH_ID],
    )
    def get(self, request: Request, batch_id: str) -> HttpResponse:
        batch = self.found(batch_of(batch_id, self.caller))
        said = receipts.read(batch.receipt).payload
        body = {
            "batch": batch_id,
            "state": "included" if _is_included(said["entries"]) else "recorded",
            "author": batch.author,
            "count": said["count"],
            "recorded": len(said["entries"]),
            "duplicate": len(said["duplicates"]),
            "rejected": len(said["refused"]),
            "receipt": orjson.Fragment(batch.receipt),
        }
        return json_response(body)


def line_problem_body(problem: LineProblem) -> dict[str, Any]:
    """What the interface says about an event that was not recorded."""
    said = {
        "line": problem.line,
        "index": problem.index,
        "pointer": problem.pointer,
        "code": problem.code,
        "detail": problem.detail,
    }
    return {name: value for name, value in said.items() if value is not None}


def _problem(refusal: BatchRefused) -> ApiProblem:
    if refusal.concerns_batch:
        first = refusal.problems[0]
        return ApiProblem(first.code, first.detail)
    return ApiProblem(
        "batch.refused",
        f"{refusal.total} of the events cannot be recorded, so none was.",
        status=refusal.status_hint,
        errors=[line_problem_body(problem) for problem in refusal.problems[:MAX_ERRORS]],
        error_count=refusal.total,
    )


def _intake_body(result: IntakeResult) -> bytes:
    appended = result.appended
    return orjson.dumps(
        {
            "batch": appended.batch_id,
            "recorded": len(appended.entries),
            "duplicate": len(appended.duplicates),
            "rejected": result.rejected,
            "entries": orjson.Fragment(b"[%b]" % appended.spelled),
            "duplicates": [{"index": index, "batch": batch} for index, batch in appended.duplicates],
            "problems": [line_problem_body(problem) for problem in result.problems],
            "receipt": orjson.Fragment(appended.receipt),
        }
    )


def _is_included(entries: list[Mapping[str, Any]]) -> bool:
    checkpoint = ledger.latest_checkpoint()
    if checkpoint is None:
        return False
    if not entries:
        return True
    leaf = ledger.leaf_index(entries[-1]["subject"], entries[-1]["seq"])
    return leaf is not None and leaf < checkpoint.size
