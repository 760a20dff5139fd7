"""The header Idempotency-Key: a request that is repeated is answered again, not done again.

Source: draft-ietf-httpapi-idempotency-key-header-07.

The answer is stored in the transaction of its effect, so there is no moment at which one exists without the other. Two
requests with one key at the same time: the second waits for the first's commit at the unique index, then gets its
answer. Events need none of this: their own ids make them idempotent for ever.
"""

import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.db import IntegrityError, transaction
from django.http import HttpResponse
from rest_framework.request import Request

from compliance.api.models import AnsweredRequest
from compliance.api.problems import ApiProblem
from compliance.jobs import clock, row_scope

KEPT_FOR = timedelta(days=30)
_KEY = re.compile(r'"([\x21\x23-\x5b\x5d-\x7e]{1,255})"|([\x21\x23-\x5b\x5d-\x7e]{1,255})')
_NONCE_BYTES = 12


@dataclass(frozen=True, slots=True)
class Answer:
    """What a view says: to be sent now, and again to whoever repeats the request."""

    status: int
    body: dict[str, Any]
    headers: dict[str, str] = field(default_factory=dict)

    def as_response(self) -> HttpResponse:
        """The response that says it."""
        return HttpResponse(
            orjson.dumps(self.body), status=self.status, content_type="application/json", headers=self.headers
        )


def once(request: Request, body: bytes, work: Callable[[], Answer]) -> HttpResponse:
    """Do `work` in a transaction, or repeat what was answered to a request with the same key and `body`.

    What `work` raises undoes everything and is not remembered: the retry does real work.
    """
    key = _key_of(request)
    owner, fingerprint = int(request.user.pk or 0), _fingerprint(request, body)
    _forget_old()
    if found := AnsweredRequest.objects.filter(owner=owner, key=key).first():
        return _repeat(request, found, fingerprint)
    try:
        with transaction.atomic():
            row = AnsweredRequest.objects.create(
                owner=owner, key=key, fingerprint=fingerprint, status=0, sealed=b"", created_at=clock.now()
            )
            answer = work()
            row.status, row.headers = answer.status, answer.headers
            nonce = os.urandom(_NONCE_BYTES)
            row.sealed = nonce + _cipher(request, key).encrypt(nonce, orjson.dumps(answer.body), None)
            row.save(update_fields=["status", "headers", "sealed"])
    except IntegrityError:
        found = AnsweredRequest.objects.filter(owner=owner, key=key).first()
        if found is None:
            raise
        return _repeat(request, found, fingerprint)
    return answer.as_response()


def _repeat(request: Request, found: AnsweredRequest, fingerprint: bytes) -> HttpResponse:
    if bytes(found.fingerprint) != fingerprint:
        raise ApiProblem("idempotency.reused")
    sealed = bytes(found.sealed)
    try:
        body = _cipher(request, found.key).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], None)
    except InvalidTag:
        raise ApiProblem("idempotency.reused") from None
    response = HttpResponse(body, status=found.status, content_type="application/json", headers=found.headers)
    response.headers["Idempotency-Replayed"] = "true"
    return response


def _key_of(request: Request) -> str:
    header = request.headers.get("Idempotency-Key")
    if header is None:
        raise ApiProblem("idempotency.missing")
    match = _KEY.fullmatch(header.strip())
    if match is None:
        raise ApiProblem("idempotency.form")
    return match.group(1) or match.group(2)


def _fingerprint(request: Request, body: bytes) -> bytes:
    said = f"{request.method} {request.get_full_path()}\n".encode() + body
    return hashlib.sha256(said).digest()


def _cipher(request: Request, key: str) -> AESGCM:
    derived = HKDF(algorithm=SHA256(), length=32, salt=key.encode(), info=b"meterproof answered request")
    return AESGCM(derived.derive(str(request.auth).encode()))


@row_scope.everything()
def _forget_old() -> None:
    AnsweredRequest.objects.filter(created_at__lt=clock.now() - KEPT_FOR).delete()
