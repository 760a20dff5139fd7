"""What a client must know before it sends anything: which log this is, its keys, the limits, the clock."""

from typing import Any, ClassVar

from django.conf import settings
from django.http import HttpResponse
from rest_framework import serializers
from rest_framework.request import Request

from compliance.accounts import policy
from compliance.accounts.roles import MarketRole
from compliance.api import bodies, paging
from compliance.api.schema import operation
from compliance.api.views.base import PublicView, json_response
from compliance.jobs import clock
from compliance.ledger import key_history
from compliance.proof.canonical import MAX_EVENT_BYTES
from compliance.proof.times import format_time

TAG = "Service"


class KeyObjectAnswer(serializers.Serializer):
    """A public key as the formats write it."""

    algorithm = serializers.ChoiceField(choices=["ed25519", "ecdsa_p256_sha256"])
    keyid = serializers.CharField()
    public_key = serializers.CharField(help_text="DER SubjectPublicKeyInfo in base64.")


class LimitsAnswer(serializers.Serializer):
    """Limits, for programs."""

    batch_events = serializers.IntegerField()
    batch_bytes = serializers.IntegerField()
    event_bytes = serializers.IntegerField()
    evidence_bytes = serializers.IntegerField()
    page_rows = serializers.IntegerField()


class ServiceAnswer(serializers.Serializer):
    """The service, for programs."""

    log = serializers.CharField(help_text="Origin of the log; every batch names it.")
    log_key = serializers.CharField(help_text="Verifier key of the log (C2SP signed-note).")
    log_keys = serializers.ListField(
        child=serializers.CharField(),
        help_text="Every verifier key the log has had, also earlier ones.",
    )
    receipt_keys = KeyObjectAnswer(many=True)
    platform_key = KeyObjectAnswer(help_text="The platform's first key, to be pinned: it vouches for those after it.")
    checkpoint = serializers.URLField(help_text="Where the log's signed checkpoint is (C2SP tlog-tiles).")
    merge_delay_seconds = serializers.IntegerField(help_text="Within it a recorded entry is under a checkpoint.")
    time = serializers.DateTimeField(help_text="The server's clock.")
    limits = LimitsAnswer()
    market_roles = serializers.ListField(child=serializers.CharField())
    scopes = serializers.ListField(child=serializers.CharField())


class Service(PublicView):
    """`/api/v1/service`"""

    actions: ClassVar = {}

    @operation("get_service", "Which log this is, its keys, limits and clock", tag=TAG, answer=ServiceAnswer)
    def get(self, request: Request) -> HttpResponse:
        return json_response(service_body())


def service_body() -> dict[str, Any]:
    """What the interface says about itself. `log_key` is the oldest that signs: who trusts one of them trusts that."""
    base = settings.METERPROOF["BASE_URL"]
    named = key_history.read()
    standing = [key for key in named.of_use("log") if key.revocation is None and key.verifier is not None]
    platform = key_history.platform_key(named)
    return {
        "log": settings.METERPROOF["ORIGIN"],
        "log_key": standing[0].verifier.vkey if standing and standing[0].verifier else "",
        "log_keys": [verifier.vkey for verifier in named.verifiers],
        "receipt_keys": [key.to_object() for key in named.receipt_keys.values()],
        "platform_key": platform.to_object(),
        "checkpoint": f"{base}/log/checkpoint",
        "merge_delay_seconds": settings.METERPROOF["MAX_MERGE_DELAY_SECONDS"],
        "time": format_time(clock.now()),
        "limits": {
            "batch_events": bodies.MAX_BATCH_EVENTS,
            "batch_bytes": bodies.MAX_BATCH_BYTES,
            "event_bytes": MAX_EVENT_BYTES,
            "evidence_bytes": bodies.MAX_EVIDENCE_BYTES,
            "page_rows": paging.MAX_LIMIT,
        },
        "market_roles": list(MarketRole.values),
        "scopes": sorted(policy.ALL_SCOPES),
    }
