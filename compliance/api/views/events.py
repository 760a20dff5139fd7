"""Single events: what was stated, the receipt, the proof."""

from typing import ClassVar

from django.http import HttpResponse
from rest_framework import serializers
from rest_framework.request import Request

from compliance.api.problems import ApiProblem
from compliance.api.schema import operation, path_text
from compliance.api.shapes import Pattern, Shape, Text
from compliance.api.views.base import ApiView, json_response
from compliance.api.views.batches import BATCH_ID, EnvelopeAnswer
from compliance.api.visible import VisibleEntry, batch_of, entry_of
from compliance.custody import selectors as custody
from compliance.ledger import proofs
from compliance.ledger import selectors as ledger
from compliance.proof import cose_receipt
from compliance.proof import subject as subjects
from compliance.proof.times import format_time

TAG = "Events"
INDEX = path_text("index", "Position in the batch, from 0.", r"^(0|[1-9][0-9]{0,4})$")
PLACE = [BATCH_ID, INDEX]


class EventAnswer(serializers.Serializer):
    """An entry of the log. `event` is what the sender signed, unchanged; `leaf` its place in the log, or null."""

    batch = serializers.CharField()
    index = serializers.IntegerField()
    author = serializers.CharField()
    subject = serializers.CharField()
    seq = serializers.IntegerField()
    prev = serializers.CharField(allow_null=True)
    hash = serializers.CharField()
    recorded_at = serializers.DateTimeField()
    leaf = serializers.IntegerField(allow_null=True)
    event = serializers.DictField(allow_null=True, help_text="Null when the entry was redacted.")


class SubjectQuery(Shape):
    """An identifier, typed as people write it."""

    kind = Pattern(r"[a-z][a-z_]{0,31}", required=False, help_text="meter if not said.")
    scheme = Pattern(r"[a-z][a-z0-9_]{0,31}")
    value = Text(max_length=128)


class SubjectAnswer(serializers.Serializer):
    """The chain an identifier belongs to."""

    subject = serializers.CharField(help_text="Subject text of the chain.")
    name = serializers.CharField(help_text="The identifier asked for, in its normal form.")
    meter = serializers.CharField(allow_null=True, help_text="Id of the meter, if it is one that you may see.")


class EventView(ApiView):
    """An address below one event."""

    actions: ClassVar = {"GET": "meter.read"}

    def entry(self, batch_id: str, index: str) -> VisibleEntry:
        """The entry, or 404."""
        return self.found(entry_of(batch_id, int(index), self.caller))


class EventDetail(EventView):
    """`/api/v1/events/{batch_id}/{index}`"""

    @operation(
        "get_event",
        "One event as it was recorded",
        tag=TAG,
        answer=EventAnswer,
        action="meter.read",
        also=(404,),
        parameters=PLACE,
    )
    def get(self, request: Request, batch_id: str, index: str) -> HttpResponse:
        visible = self.entry(batch_id, index)
        entry = visible.entry
        body = {
            "batch": batch_id,
            "index": entry.index,
            "author": visible.author,
            "subject": entry.subject,
            "seq": entry.seq,
            "prev": entry.prev.hex() if entry.prev else None,
            "hash": entry.hash.hex(),
            "recorded_at": format_time(entry.recorded_at),
            "leaf": ledger.leaf_index(entry.subject, entry.seq),
            "event": entry.event if entry.body else None,
        }
        return json_response(body)


class EventReceipt(EventView):
    """`/api/v1/events/{batch_id}/{index}/receipt`"""

    @operation(
        "get_receipt",
        "The receipt that covers the event",
        tag=TAG,
        answer=EnvelopeAnswer,
        action="meter.read",
        also=(404,),
        parameters=PLACE,
        description=(
            "The signed promise given when the batch was recorded. It names all subjects of the batch, so it is for "
            "the batch's author; who only sees the event has the proof."
        ),
    )
    def get(self, request: Request, batch_id: str, index: str) -> HttpResponse:
        self.entry(batch_id, index)
        return HttpResponse(self.found(batch_of(batch_id, self.caller)).receipt, content_type="application/json")


class EventProof(EventView):
    """`/api/v1/events/{batch_id}/{index}/proof`"""

    @operation(
        "get_proof",
        "Proof that the event is in the log",
        tag=TAG,
        answer=str,
        media_type="text/plain",
        action="meter.read",
        also=(404, 409),
        parameters=PLACE,
        description="A C2SP tlog-proof under the latest checkpoint; 409 with Retry-After while none covers the event.",
    )
    def get(self, request: Request, batch_id: str, index: str) -> HttpResponse:
        entry = self.entry(batch_id, index).entry
        text = proofs.tlog_proof(entry.subject, entry.seq)
        name = f"{batch_id[:16]}-{index}.tlog-proof"
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return HttpResponse(text, content_type="text/plain; charset=utf-8", headers=headers)


class EventEntry(EventView):
    """`/api/v1/events/{batch_id}/{index}/entry`"""

    @operation(
        "get_entry",
        "The entry's bytes",
        tag=TAG,
        answer=bytes,
        media_type="application/octet-stream",
        action="meter.read",
        also=(404,),
        parameters=PLACE,
        description=(
            "The canonical JSON that is the leaf of the log, byte for byte: what a proof of inclusion is about. "
            "404 when the entry was redacted."
        ),
    )
    def get(self, request: Request, batch_id: str, index: str) -> HttpResponse:
        body = self.found(self.entry(batch_id, index).entry.body or None)
        headers = {"Content-Disposition": f'attachment; filename="{batch_id[:16]}-{index}.entry"'}
        return HttpResponse(body, content_type="application/octet-stream", headers=headers)


class EventCose(EventView):
    """`/api/v1/events/{batch_id}/{index}/cose-receipt`"""

    @operation(
        "get_cose_receipt",
        "COSE receipt that the event is in the log",
        tag=TAG,
        answer=bytes,
        media_type="application/cose",
        action="meter.read",
        also=(404, 409),
        parameters=PLACE,
        description=(
            "A receipt of inclusion by RFC 9942, signed by the receipt key over the root of the latest checkpoint; 409 "
            "with Retry-After while none covers the event, 404 when the entry was redacted."
        ),
    )
    def get(self, request: Request, batch_id: str, index: str) -> HttpResponse:
        entry = self.entry(batch_id, index).entry
        self.found(entry.body or None)
        receipt = proofs.cose_receipt(entry.subject, entry.seq)
        headers = {"Content-Disposition": f'attachment; filename="{batch_id[:16]}-{index}{cose_receipt.SUFFIX}"'}
        return HttpResponse(receipt, content_type=cose_receipt.MEDIA_TYPE, headers=headers)


class SubjectLookup(ApiView):
    """`/api/v1/subjects`"""

    actions: ClassVar = {"GET": "meter.read"}
    query_shapes: ClassVar = {"GET": SubjectQuery}

    @operation(
        "find_subject",
        "The chain an identifier belongs to",
        tag=TAG,
        answer=SubjectAnswer,
        action="meter.read",
        query=SubjectQuery,
        also=(404, 422),
        description=(
            "Normalises an identifier and says which chain it joined. Every sender may ask, since an event must name "
            "the chain; what happened on it is told to those who may see the meter."
        ),
    )
    def get(self, request: Request) -> HttpResponse:
        asked = subjects.make(self.query.get("kind", "meter"), self.query["scheme"], self.query["value"])
        chain = custody.chain_named(asked.text) or (asked.text if ledger.head(asked.text) else None)
        if chain is None:
            raise ApiProblem("subject.unknown")
        meter = custody.meter_of(chain, self.caller) if chain.startswith("meter:") else None
        return json_response({"subject": chain, "name": asked.text, "meter": meter.public_id if meter else None})
