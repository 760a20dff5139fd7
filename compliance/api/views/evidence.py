"""Evidence: a file with what it shows, taken in after its digest was checked, given out after it was checked again."""

import base64
import binascii
import io
from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import quote

from django.http import HttpResponse
from rest_framework import serializers
from rest_framework.request import Request

from compliance.accounts import policy
from compliance.api import bodies
from compliance.api.problems import ApiProblem
from compliance.api.schema import header, operation, path_text
from compliance.api.shapes import Pattern, Shape, Text
from compliance.api.views.base import ApiView, json_response
from compliance.evidence import actions, selectors
from compliance.evidence.intake import KINDS, IncomingFile
from compliance.evidence.models import Evidence, LinkKind, Scan, State
from compliance.jobs import clock
from compliance.proof import strict_json
from compliance.proof.errors import ProofError
from compliance.proof.times import format_time, parse_time

TAG = "Evidence"
EVIDENCE_ID = path_text("evidence_id", "The evidence's id.", r"^evd_[0-9a-f]{32}$")
MAX_METADATA_BYTES = 12_000  # below the 16 KiB that servers give all headers together
TIME = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?Z"

METADATA = header(
    "Evidence-Metadata",
    "Base64 of the JSON object EvidenceMetadata: title, kind, name, covers_from, covers_to, produced_at, links.",
    pattern=r"^[A-Za-z0-9+/]+={0,2}$",
)
DIGEST = header(
    "Content-Digest", "RFC 9530: `sha-256=:<base64>:` over the body.", pattern=r"^sha-256=:[A-Za-z0-9+/]{43}=:$"
)


class LinkShape(Shape):
    """What the evidence is about."""

    kind = Text(max_length=32)
    reference = Text(max_length=500)


class EvidenceMetadata(Shape):
    """What the file shows, for which time, and when it was made."""

    title = Text(max_length=200)
    kind = Pattern(r"[a-z][a-z0-9_]{0,31}")
    name = Text(max_length=255, help_text="The file's name; its extension must fit Content-Type.")
    covers_from = Pattern(TIME)
    covers_to = Pattern(TIME)
    produced_at = Pattern(TIME)
    links = LinkShape(many=True, required=False)


class EvidenceFileAnswer(serializers.Serializer):
    """One file."""

    sha256 = serializers.CharField()
    size = serializers.IntegerField()
    media_type = serializers.CharField()
    name = serializers.CharField()
    flags = serializers.ListField(child=serializers.CharField())


class LinkAnswer(serializers.Serializer):
    """What it is about."""

    kind = serializers.ChoiceField(choices=LinkKind.choices)
    reference = serializers.CharField()


class EvidenceAnswer(serializers.Serializer):
    """An evidence item and where it stands."""

    id = serializers.CharField()
    subject = serializers.CharField(help_text="Subject text of its chain.")
    organisation = serializers.CharField()
    title = serializers.CharField()
    kind = serializers.CharField()
    state = serializers.ChoiceField(choices=State.choices)
    scan = serializers.ChoiceField(choices=Scan.choices)
    covers_from = serializers.DateTimeField()
    covers_to = serializers.DateTimeField()
    produced_at = serializers.DateTimeField()
    received_at = serializers.DateTimeField()
    manifest_sha256 = serializers.CharField()
    files = EvidenceFileAnswer(many=True)
    links = LinkAnswer(many=True)
    reason = serializers.CharField(allow_blank=True, help_text="Why it was accepted or returned.")


def evidence_body(evidence: Evidence) -> dict[str, Any]:
    """What the interface says about evidence."""
    return {
        "id": evidence.public_id,
        "subject": evidence.subject,
        "organisation": evidence.organisation_id,
        "title": evidence.title,
        "kind": evidence.kind,
        "state": evidence.state,
        "scan": evidence.scan,
        "covers_from": format_time(evidence.covers_from),
        "covers_to": format_time(evidence.covers_to),
        "produced_at": format_time(evidence.produced_at),
        "received_at": format_time(evidence.received_at),
        "manifest_sha256": evidence.manifest_sha256,
        "files": [
            {
                "sha256": file.sha256,
                "size": file.size,
                "media_type": file.media_type,
                "name": file.name,
                "flags": file.flags,
            }
            for file in evidence.files.all()
        ],
        "links": [{"kind": link.kind, "reference": link.reference} for link in evidence.links.all()],
        "reason": evidence.reason,
    }


class EvidenceList(ApiView):
    """`/api/v1/evidence`"""

    actions: ClassVar = {"POST": "evidence.submit"}

    @operation(
        "submit_evidence",
        "Hand in a file as evidence",
        tag=TAG,
        answer=EvidenceAnswer,
        success=(200, 201),
        action="evidence.submit",
        body={kind.media_types[0]: {"type": "string", "format": "binary"} for kind in KINDS},
        parameters=[DIGEST, METADATA],
        also=(409,),
        description="The body is the file, at most 20 MiB. The same evidence sent again is answered with 200.",
    )
    def post(self, request: Request) -> HttpResponse:
        policy.require(self.caller, "evidence.submit", self.caller.organisation)
        promised = bodies.content_digest(request._request)
        metadata = _metadata(request)
        data = bodies.read(request._request, max_bytes=bodies.MAX_EVIDENCE_BYTES)
        bodies.check_digest(data, promised)
        started = clock.now()
        evidence = actions.submit_evidence(
            by=self.caller,
            organisation=self.caller.organisation,
            title=metadata["title"],
            kind=metadata["kind"],
            files=[
                IncomingFile(
                    name=metadata["name"],
                    media_type=request.content_type or "",
                    content=io.BytesIO(data),
                    sha256=promised.hex(),
                )
            ],
            covers_from=metadata["covers_from"],
            covers_to=metadata["covers_to"],
            produced_at=metadata["produced_at"],
            links=[(link["kind"], link["reference"]) for link in metadata.get("links", [])],
        )
        status = 201 if evidence.received_at >= started else 200
        headers = {"Location": f"{request.path}/{evidence.public_id}"}
        return json_response(evidence_body(evidence), status=status, headers=headers)


class EvidenceDetail(ApiView):
    """`/api/v1/evidence/{evidence_id}`"""

    actions: ClassVar = {"GET": "evidence.read"}

    @operation(
        "get_evidence",
        "One evidence item",
        tag=TAG,
        answer=EvidenceAnswer,
        action="evidence.read",
        also=(404,),
        parameters=[EVIDENCE_ID],
    )
    def get(self, request: Request, evidence_id: str) -> HttpResponse:
        return json_response(evidence_body(self.found(selectors.evidence(evidence_id, self.caller))))


class EvidenceContent(ApiView):
    """`/api/v1/evidence/{evidence_id}/files/{sha256}`"""

    actions: ClassVar = {"GET": "evidence.read"}

    @operation(
        "get_evidence_file",
        "The bytes of an evidence file",
        tag=TAG,
        answer=bytes,
        media_type="application/octet-stream",
        action="evidence.read",
        also=(404, 410, 500),
        parameters=[EVIDENCE_ID, path_text("sha256", "The file's digest.", r"^[0-9a-f]{64}$")],
    )
    def get(self, request: Request, evidence_id: str, sha256: str) -> HttpResponse:
        evidence = self.found(selectors.evidence(evidence_id, self.caller))
        file, stream = self.found(selectors.open_file(evidence, sha256))
        with stream:
            data = stream.read()
        digest = base64.b64encode(bytes.fromhex(sha256)).decode()
        return HttpResponse(
            data,
            content_type="application/octet-stream",  # never the declared type: nothing here is to be opened in place
            headers={
                "Content-Disposition": f"attachment; filename*=UTF-8''{quote(file.name, safe='')}",
                "Content-Digest": f"sha-256=:{digest}:",
            },
        )


def _metadata(request: Request) -> Mapping[str, Any]:
    try:
        text = base64.b64decode(request.headers.get("Evidence-Metadata", ""), validate=True)
        value = strict_json.parse(text, max_bytes=MAX_METADATA_BYTES, place="Evidence-Metadata")
    except (binascii.Error, ValueError):
        raise ApiProblem("evidence.metadata") from None
    except ProofError as error:
        raise ApiProblem("evidence.metadata", f"{error.place}: {error.detail}") from None
    reader = EvidenceMetadata(data=value)
    reader.is_valid(raise_exception=True)
    metadata = dict(reader.validated_data)
    for name in ("covers_from", "covers_to", "produced_at"):
        metadata[name] = parse_time(metadata[name], place=name)
    return metadata
