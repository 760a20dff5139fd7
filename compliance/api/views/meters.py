"""Meters and their chains, cut to the time in which the caller's organisation had to do with them."""

from typing import Any, ClassVar

from django.http import HttpResponse
from rest_framework import serializers
from rest_framework.request import Request

from compliance.accounts.policy import NotAllowed
from compliance.api.paging import Cursors, PageQuery, link_to
from compliance.api.schema import operation, path_text
from compliance.api.shapes import Choice, Pattern
from compliance.api.views.base import ApiView, json_response
from compliance.custody import selectors, vocabulary
from compliance.custody.models import Identifier, Meter
from compliance.custody.selectors import ChainLink
from compliance.ledger import proofs
from compliance.proof.times import format_time

TAG = "Meters"
METER_ID = path_text("meter_id", "The meter's id.", r"^mtr_[0-9a-f]{32}$")


class MeterQuery(PageQuery):
    """Which meters."""

    state = Choice(choices=[(state, state) for state in vocabulary.load().states], required=False)
    holder = Pattern(r"[a-z][a-z0-9_]{1,30}", required=False)


class MeterAnswer(serializers.Serializer):
    """Where a meter stands, as the caller may see it."""

    id = serializers.CharField()
    subject = serializers.CharField()
    manufacturer = serializers.CharField(allow_blank=True)
    meter_type = serializers.CharField(allow_blank=True)
    profile = serializers.CharField(allow_blank=True)
    claimed_state = serializers.CharField()
    assured_state = serializers.CharField()
    holder = serializers.CharField(allow_blank=True)
    owner = serializers.CharField(allow_blank=True)
    controller = serializers.CharField(allow_blank=True)
    key_state = serializers.CharField()
    seal_state = serializers.CharField()
    data_state = serializers.CharField()
    trust = serializers.CharField()
    violations = serializers.IntegerField()
    last_seq = serializers.IntegerField()
    last_type = serializers.CharField()
    last_recorded_at = serializers.DateTimeField()


class IdentifierAnswer(serializers.Serializer):
    """A name of the meter."""

    scheme = serializers.CharField()
    value = serializers.CharField()
    seq = serializers.IntegerField(help_text="The entry that gave it.")


class MeterDetailAnswer(MeterAnswer):
    """The same, with all names."""

    identifiers = IdentifierAnswer(many=True)


class MeterPageAnswer(serializers.Serializer):
    """A page of meters."""

    items = MeterAnswer(many=True)
    next = serializers.CharField(allow_null=True)


class ViolationAnswer(serializers.Serializer):
    """What was wrong with an entry; it is recorded all the same."""

    code = serializers.CharField()
    detail = serializers.CharField()


class ChainLinkAnswer(serializers.Serializer):
    """One entry of the chain. Where it is a link, all but seq and hash are of the event that caused it."""

    seq = serializers.IntegerField()
    hash = serializers.CharField()
    type = serializers.CharField()
    title = serializers.CharField()
    summary = serializers.CharField()
    author = serializers.CharField()
    actor = serializers.DictField()
    second_actor = serializers.DictField(allow_null=True)
    data = serializers.DictField()  # type: ignore[assignment]  # taken out by the metaclass
    evidence = serializers.ListField(child=serializers.DictField())
    occurred_at = serializers.DateTimeField()
    recorded_at = serializers.DateTimeField()
    batch = serializers.CharField()
    index = serializers.IntegerField()
    linked = serializers.BooleanField()
    cause = serializers.CharField(allow_null=True)
    before = serializers.CharField()
    after = serializers.CharField()
    assured = serializers.CharField()
    voided = serializers.BooleanField()
    violations = ViolationAnswer(many=True)


class ChainAnswer(serializers.Serializer):
    """A page of a chain, oldest first."""

    items = ChainLinkAnswer(many=True)
    next = serializers.CharField(allow_null=True)


class MeterList(ApiView):
    """`/api/v1/meters`"""

    actions: ClassVar = {"GET": "meter.read"}
    query_shapes: ClassVar = {"GET": MeterQuery}

    @operation(
        "list_meters",
        "Meters you may see",
        tag=TAG,
        answer=MeterPageAnswer,
        action="meter.read",
        query=MeterQuery,
        description="Those your organisation holds, owns or controls, or did; the latter as they stood then.",
    )
    def get(self, request: Request) -> HttpResponse:
        cursors = Cursors(f"meters {self.caller.pk}", self.query)
        page = selectors.meter_page(
            self.caller,
            state=self.query.get("state"),
            holder=self.query.get("holder"),
            after=cursors.after,
            limit=cursors.limit,
        )
        following = cursors.following(page.next) if page.next else None
        body = {"items": [meter_body(meter) for meter in page.meters], "next": following}
        return json_response(body, headers=link_to(request.path, self.query, following))


class MeterDetail(ApiView):
    """`/api/v1/meters/{meter_id}`"""

    actions: ClassVar = {"GET": "meter.read"}

    @operation(
        "get_meter",
        "One meter",
        tag=TAG,
        answer=MeterDetailAnswer,
        action="meter.read",
        also=(404,),
        parameters=[METER_ID],
    )
    def get(self, request: Request, meter_id: str) -> HttpResponse:
        meter = self.found(selectors.meter(meter_id, self.caller))
        names = selectors.identifiers_of(meter, self.caller)
        return json_response({**meter_body(meter), "identifiers": [_identifier_body(name) for name in names]})


class MeterEvents(ApiView):
    """`/api/v1/meters/{meter_id}/events`"""

    actions: ClassVar = {"GET": "meter.read"}
    query_shapes: ClassVar = {"GET": PageQuery}

    @operation(
        "list_meter_events",
        "The chain of a meter, oldest first",
        tag=TAG,
        answer=ChainAnswer,
        action="meter.read",
        query=PageQuery,
        also=(404,),
        parameters=[METER_ID],
    )
    def get(self, request: Request, meter_id: str) -> HttpResponse:
        meter = self.found(selectors.meter(meter_id, self.caller))
        cursors = Cursors(f"chain {meter_id} {self.caller.pk}", self.query)
        after = -1 if cursors.after is None else cursors.after
        links = [link for link in selectors.chain_of(meter, self.caller) if link.seq > after]
        shown = links[: cursors.limit]
        following = cursors.following(shown[-1].seq) if len(links) > len(shown) else None
        body = {"items": [_link_body(link) for link in shown], "next": following}
        return json_response(body, headers=link_to(request.path, self.query, following))


class MeterProof(ApiView):
    """`/api/v1/meters/{meter_id}/proof`"""

    actions: ClassVar = {"GET": "meter.read"}

    @operation(
        "get_meter_proof",
        "The proof bundle of a meter",
        tag=TAG,
        answer=bytes,
        media_type="application/json",
        action="meter.read",
        also=(404, 409),
        parameters=[METER_ID],
        description=(
            "The whole chain with all that a stranger needs to check it, for who may see all of it; others take the "
            "proofs of single events."
        ),
    )
    def get(self, request: Request, meter_id: str) -> HttpResponse:
        meter = self.found(selectors.meter(meter_id, self.caller))
        if not selectors.sees_whole_chain(meter, self.caller):
            raise NotAllowed("meter.read")
        bundle = proofs.proof_bundle([meter.subject])
        headers = {"Content-Disposition": f'attachment; filename="{meter_id}.proof"'}
        return HttpResponse(bundle, content_type="application/json", headers=headers)


def meter_body(meter: Meter) -> dict[str, Any]:
    """What the interface says about a meter that a selector has cut to its reader."""
    return {
        "id": meter.public_id,
        "subject": meter.subject,
        "manufacturer": meter.manufacturer,
        "meter_type": meter.meter_type,
        "profile": meter.profile,
        "claimed_state": meter.claimed_state,
        "assured_state": meter.assured_state,
        "holder": meter.holder,
        "owner": meter.owner,
        "controller": meter.controller,
        "key_state": meter.key_state,
        "seal_state": meter.seal_state,
        "data_state": meter.data_state,
        "trust": meter.trust,
        "violations": meter.violation_count,
        "last_seq": meter.last_seq,
        "last_type": meter.last_type,
        "last_recorded_at": format_time(meter.last_recorded_at),
    }


def _identifier_body(name: Identifier) -> dict[str, Any]:
    return {"scheme": name.scheme, "value": name.value, "seq": name.seq}


def _link_body(link: ChainLink) -> dict[str, Any]:
    return {
        "seq": link.seq,
        "hash": link.hash,
        "type": link.type,
        "title": link.title,
        "summary": link.summary,
        "author": link.author,
        "actor": link.actor,
        "second_actor": link.second_actor,
        "data": link.data,
        "evidence": link.evidence,
        "occurred_at": format_time(link.occurred_at),
        "recorded_at": format_time(link.recorded_at),
        "batch": link.batch_id,
        "index": link.index,
        "linked": link.linked,
        "cause": link.cause,
        "before": link.before,
        "after": link.after,
        "assured": link.assured,
        "voided": link.voided,
        "violations": [{"code": each.code, "detail": each.detail} for each in link.violations],
    }
