"""What the OpenAPI document promises about an answer, checked on every answer that any test of this room gets.

An answer must have a status that its operation names, the media type named for that status, and a body of exactly the
members named there: one more is as wrong as one less.
"""

import copy
import json
import re
from functools import cache
from typing import Any

from django.http import HttpResponse
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from compliance.api import openapi

DOCUMENT_URI = "urn:meterproof:openapi"
V1 = "/api/v1/"
OUTSIDE = frozenset(
    {"/api/v1/schema", "/api/v1/schema.yaml", "/api/v1/docs"}
)  # the document and the page that shows it
PROBLEM = "/components/schemas/Problem"
seen: set[tuple[str, int]] = set()  # operations with the statuses that were given, for the test that wants them all


def check(method: str, path: str, response: HttpResponse) -> None:
    """Raise AssertionError unless the document allows `response`."""
    path = path.split("?")[0]
    if not path.startswith(V1) or path in OUTSIDE:
        return
    is_head, method = method == "HEAD", "get" if method == "HEAD" else method.lower()
    template = _template(path)
    if template is None or method not in closed_document()["paths"][template]:
        assert response.status_code in {400, 404, 405}, f"{method} {path} is not documented: {response.status_code}"
        if not is_head:
            _validate(PROBLEM, json.loads(response.content))
        return
    operation = closed_document()["paths"][template][method]
    place = f"{operation['operationId']} answered {response.status_code}"
    promised = operation["responses"].get(str(response.status_code))
    assert promised is not None, f"{place}, which is not documented: {response.content[:300]!r}"
    seen.add((operation["operationId"], response.status_code))
    media_type = response.headers["Content-Type"].split(";")[0]
    assert media_type in promised["content"], f"{place} with {media_type}"
    if (
        not is_head
        and media_type.endswith("json")
        and promised["content"][media_type]["schema"].get("type") != "string"
    ):
        steps = ("paths", template, method, "responses", str(response.status_code), "content", media_type, "schema")
        _validate("/" + "/".join(step.replace("~", "~0").replace("/", "~1") for step in steps), response.json(), place)


@cache
def closed_document() -> dict[str, Any]:
    """The document, with every object closed that does not say it is open."""
    document = copy.deepcopy(openapi.document())
    for schema in document["components"]["schemas"].values():
        if "properties" in schema:
            schema.setdefault("additionalProperties", False)
    return document


@cache
def _registry() -> Registry[Any]:
    resource: Resource[Any] = Resource(contents=closed_document(), specification=DRAFT202012)
    return Registry().with_resource(DOCUMENT_URI, resource)


@cache
def _validator(pointer: str) -> Draft202012Validator:
    schema = {"$ref": f"{DOCUMENT_URI}#{pointer.replace('{', '%7B').replace('}', '%7D')}"}
    return Draft202012Validator(schema, registry=_registry())


def _validate(pointer: str, value: object, place: str = "a problem") -> None:
    error = next(_validator(pointer).iter_errors(value), None)
    assert error is None, f"{place}: {error.json_path}: {error.message}"


@cache
def _template(path: str) -> str | None:
    for template in closed_document()["paths"]:
        if re.fullmatch(re.sub(r"\\\{[a-z0-9_]+\\\}", "[^/]+", re.escape(template)), path):
            return str(template)
    return None
