"""Machines that talk to the interface: a credential and Django's test client."""

import io
import json
from dataclasses import dataclass
from typing import Any

from django.http import HttpResponse
from django.test import Client

from compliance.accounts.models import ApiKey, Organisation
from tests.accounts import world
from tests.api import conformance

MANUFACTURER_SCOPES = ("events:write", "evidence:write", "events:read", "reports:read")


@dataclass(frozen=True, slots=True)
class Machine:
    """Somebody with an API key, or without one."""

    secret: str = ""
    key: ApiKey | None = None

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> HttpResponse:
        """One request, its answer held against the OpenAPI document.

        Bytes go as they are, anything else as JSON; header names are written with underscores.
        """
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        sent.setdefault("Content-Type", "application/json")
        if self.secret:
            sent.setdefault("Authorization", f"Bearer {self.secret}")
        data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        if body is not None:
            sent.setdefault("Content-Length", str(len(data)))
        stream: dict[str, Any] = {"wsgi.input": io.BytesIO(data)}  # unlike the client's own it may end early
        client = Client(raise_request_exception=False)
        response = client.generic(method, path, data, content_type=sent["Content-Type"], headers=sent, **stream)
        conformance.check(method, path, response)
        return response

    def get(self, path: str, **headers: str) -> HttpResponse:
        """A read."""
        return self.send("GET", path, **headers)

    def post(self, path: str, body: Any = None, **headers: str) -> HttpResponse:
        """A write."""
        return self.send("POST", path, body, **headers)


NOBODY = Machine()


def machine(organisation: str, *scopes: str) -> Machine:
    """A machine of an organisation, with an API key of these scopes."""
    key, secret = world.api_key(Organisation.objects.get(pk=organisation), *scopes)
    return Machine(secret, key)


def problem(response: HttpResponse, status: int, code: str) -> dict[str, Any]:
    """The problem that `response` tells of, which must be this one and look as RFC 9457 wants it."""
    assert response.headers["Content-Type"] == "application/problem+json", response.content[:500]
    said: dict[str, Any] = json.loads(response.content)
    assert (response.status_code, said["code"]) == (status, code), said
    assert said["status"] == status
    assert said["type"].endswith(f"/docs/problems#{code}")
    assert said["instance"] == f"urn:uuid:{response.headers['X-Request-Id']}"
    assert said["title"]
    assert said["detail"]
    assert said["mend"]
    return said
