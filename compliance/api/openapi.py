"""The OpenAPI 3.1 document of the interface, made from the views that answer (drf-spectacular)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import orjson
import yaml
from django.conf import settings
from drf_spectacular.generators import SchemaGenerator

from compliance.api import catalogue
from compliance.api.schema import SCOPE

DESCRIPTION = """\
Everything a manufacturer, carrier, utility or installer needs to hand in signed events and evidence and to take
receipts and proofs home. Formats, examples and the rules of batches stand in docs/api.md.

Errors are `application/problem+json` (RFC 9457); `code` is for programs, and `/docs/problems` explains every code.
"""


@dataclass(frozen=True, slots=True)
class Operation:
    """One line of the page of operations. Without `scope`, it needs no API key."""

    name: str
    method: str
    path: str
    summary: str
    scope: str


@cache
def document() -> dict[str, Any]:
    """The document as plain values."""
    schema: dict[str, Any] = SchemaGenerator(api_version="v1", urlconf="compliance.api.urls").get_schema(public=True)
    schema["info"]["description"] = DESCRIPTION
    schema["servers"] = [{"url": settings.METERPROOF["BASE_URL"]}]
    problem = schema["components"]["schemas"]["Problem"]
    problem["properties"]["code"]["enum"] = sorted(catalogue.entries())
    _close_requests(schema["components"]["schemas"])
    plain: dict[str, Any] = json.loads(json.dumps(schema, default=str))  # the generator leaves lazy values behind
    return plain


def operations_by_tag() -> dict[str, list[Operation]]:
    """The document's operations as people look for them: by tag, in its order."""
    groups: dict[str, list[Operation]] = {}
    for path, methods in document()["paths"].items():
        for method, each in methods.items():
            line = Operation(each["operationId"], method.upper(), path, each["summary"], each.get(SCOPE, ""))
            groups.setdefault(each["tags"][0], []).append(line)
    return groups


def as_json() -> bytes:
    """The document as JSON."""
    return orjson.dumps(document(), option=orjson.OPT_INDENT_2)


def as_yaml() -> bytes:
    """The document as YAML."""
    return yaml.safe_dump(document(), sort_keys=False, allow_unicode=True).encode()


def _close_requests(schemas: Mapping[str, dict[str, Any]]) -> None:
    """Say what `shapes.Shape` does: an unknown member of a request is an error."""
    for name, schema in schemas.items():
        if name.startswith("New") and not name.endswith("Answer"):
            schema["additionalProperties"] = False
