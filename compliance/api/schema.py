"""How operations are described, so that the OpenAPI document says what the server does: each status an operation can
give, the scope it needs, the exact shapes.
"""

from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any, TypeVar

from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers

from compliance.accounts import policy
from compliance.api import catalogue
from compliance.api.problems import MEDIA_TYPE

_View = TypeVar("_View", bound=Callable[..., Any])

ALWAYS = (400, 429, 500, 503, 507)  # a query that cannot be read, too much, a fault of ours, no database, no space
SCOPE = "x-scope"  # OpenAPI knows scopes for OAuth alone; ours stand in this extension
WITH_CREDENTIAL = (401, 403)
WITH_BODY = (411, 413, 415, 422)


class ProblemPlace(serializers.Serializer):
    """One place in what was sent, and what is wrong there."""

    code = serializers.CharField()
    detail = serializers.CharField()
    pointer = serializers.CharField(required=False, help_text="JSON pointer (RFC 6901) into the event or the body.")
    parameter = serializers.CharField(required=False, help_text="Name of a query parameter.")
    line = serializers.IntegerField(required=False, help_text="Line of the NDJSON body, from 1.")
    index = serializers.IntegerField(required=False, help_text="Position in the signed batch, from 0.")


class Problem(serializers.Serializer):
    """RFC 9457. `code` is for programs; /docs/problems explains each."""

    type = serializers.URLField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    instance = serializers.CharField(help_text="The request, as in X-Request-Id.")
    code = serializers.CharField()
    mend = serializers.CharField(help_text="What you can do about it.")
    errors = ProblemPlace(many=True, required=False)  # type: ignore[assignment]  # taken out by the metaclass
    error_count = serializers.IntegerField(required=False, help_text="How many places there are; 100 are listed.")
    retry_after = serializers.IntegerField(required=False)


def operation(
    name: str,
    summary: str,
    *,
    tag: str,
    answer: Any = None,
    success: int | Sequence[int] = 200,
    media_type: str | None = None,
    action: str | None = None,
    body: Any = None,
    query: Any = None,
    also: Sequence[int] = (),
    parameters: Sequence[OpenApiParameter] = (),
    description: str = "",
) -> Callable[[_View], _View]:
    """Describe one operation. `also` are statuses beyond those every operation of its kind can give."""
    statuses = {*ALWAYS, *also}
    if action is not None:
        statuses.update(WITH_CREDENTIAL)
        description = f"{description}\n\nNeeds the scope `{policy.SCOPES[action]}`.".strip()
    if body is not None:
        statuses.update(WITH_BODY)
    successes = [success] if isinstance(success, int) else list(success)
    responses: dict[Any, Any] = {}
    for status in successes:
        place = (status, media_type) if media_type else status
        responses[place] = OpenApiResponse(answer, description=HTTPStatus(status).phrase)
    for status in sorted(statuses):
        codes = ", ".join(f"`{each.code}`" for each in catalogue.entries().values() if each.status == status)
        responses[(status, MEDIA_TYPE)] = OpenApiResponse(
            Problem, description=f"{HTTPStatus(status).phrase}. Codes with this status: {codes}."
        )
    return extend_schema(
        operation_id=name,
        summary=summary,
        description=description or f"{summary}.",
        tags=[tag],
        request={"application/json": body} if isinstance(body, type) else body,
        responses=responses,
        parameters=[*([query] if query else []), *parameters],
        extensions={SCOPE: policy.SCOPES[action]} if action is not None else None,
    )


def header(name: str, text: str, *, required: bool = True, pattern: str | None = None) -> OpenApiParameter:
    """A request header."""
    kind: Any = {"type": "string", "pattern": pattern} if pattern else str
    return OpenApiParameter(name=name, type=kind, location=OpenApiParameter.HEADER, required=required, description=text)


def path_text(name: str, text: str, pattern: str) -> OpenApiParameter:
    """A part of the path, with the form it must have to lead anywhere."""
    return OpenApiParameter(
        name=name,
        type={"type": "string", "pattern": pattern},
        location=OpenApiParameter.PATH,
        required=True,
        description=text,
    )
