"""What every address of the interface shares: credential, permission, strict parameters, problems, headers."""

from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar, cast

import orjson
from django.http import HttpResponse
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.views import APIView

from compliance.accounts import policy
from compliance.accounts.models import ApiKey
from compliance.api import bodies, problems
from compliance.api.authentication import ApiKeyAuthentication
from compliance.api.problems import ApiProblem
from compliance.api.shapes import Shape
from compliance.api.throttles import PerCredential

_Thing = TypeVar("_Thing")


class OneForm(BaseContentNegotiation):
    """Every address answers in one form, whatever Accept says (RFC 9110 section 12.5.1 allows it)."""

    def select_parser(self, request: Request, parsers: Any) -> None:
        return None

    def select_renderer(self, request: Request, renderers: Any, format_suffix: str | None = None) -> Any:
        return renderers[0], renderers[0].media_type


class ApiView(APIView):
    """A view that names, for each method, the action of the policy table it is."""

    actions: ClassVar[Mapping[str, str]] = {}
    query_shapes: ClassVar[Mapping[str, type[Shape]]] = {}
    http_method_names = ["get", "head", "post", "delete"]

    authentication_classes = [ApiKeyAuthentication]
    parser_classes = []  # bodies are read by `bodies`
    renderer_classes = [JSONRenderer]
    content_negotiation_class = OneForm
    throttle_classes = [PerCredential]
    permission_classes = []
    sent = b""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        self.throttle: PerCredential | None = None
        super().initial(request, *args, **kwargs)
        self.query = self.read_query(request) if self.answers(request) else {}

    def check_permissions(self, request: Request) -> None:
        if not self.answers(request):
            return  # 405 comes next, and tells nothing
        if not isinstance(request.user, ApiKey):
            self.permission_denied(request)
        action = self.actions[self.method_of(request)]
        if policy.allows(request.user, action):
            return
        scope = policy.SCOPES.get(action)
        if scope and scope not in request.user.scopes:
            raise ApiProblem("credential.scope", f"The API key lacks the scope {scope}.")
        raise policy.NotAllowed(action)

    def answers(self, request: Request) -> bool:
        """Whether there is something to do for the method of `request` here."""
        name = (request.method or "").lower()
        return name in self.http_method_names and hasattr(self, name)

    @staticmethod
    def method_of(request: Request) -> str:
        """The method that stands in tables: HEAD is GET without the body."""
        return "GET" if request.method == "HEAD" else request.method or ""

    def get_throttles(self) -> list[Any]:
        self.throttle = PerCredential()
        return [self.throttle]

    def finalize_response(self, request: Any, response: Any, *args: Any, **kwargs: Any) -> Any:
        final = super().finalize_response(request, response, *args, **kwargs)
        throttle = getattr(self, "throttle", None)
        if throttle is not None:
            for name, value in throttle.headers().items():
                final.headers[name] = value
        return final

    def get_exception_handler(self) -> Any:
        return problems.exception_handler

    def read_query(self, request: Request) -> dict[str, Any]:
        """The query, checked: unknown, repeated and malformed parameters are problems."""
        given = request.query_params
        repeated = [name for name in given if len(given.getlist(name)) > 1]
        shape = self.query_shapes.get(self.method_of(request), Shape)(data=dict(given.items()))
        if repeated or not shape.is_valid():
            wrong = {
                **{name: ["Given twice."] for name in repeated},
                **cast(dict[str, Any], shape.errors if not repeated else {}),
            }
            errors = [
                {"parameter": str(name), "code": "request.parameter", "detail": str(texts[0])}
                for name, texts in wrong.items()
            ]
            raise ApiProblem("request.parameter", errors=errors)
        return dict(shape.validated_data)

    def read_body(self, shape: type[Shape], request: Request) -> dict[str, Any]:
        """The JSON body, checked against `shape`. Its bytes stay in `sent`."""
        value, self.sent = bodies.read_json(request._request)
        reader = shape(data=value)
        reader.is_valid(raise_exception=True)
        return dict(reader.validated_data)

    def found(self, thing: _Thing | None) -> _Thing:
        """`thing`, or 404: what is not there and what is not for the caller look alike."""
        if thing is None:
            raise ApiProblem("not_found")
        return thing

    @property
    def caller(self) -> ApiKey:
        """The API key that asks; only views with an action have one."""
        return cast(ApiKey, self.request.user)


class PublicView(ApiView):
    """An address for everybody."""

    authentication_classes = []

    def check_permissions(self, request: Request) -> None:
        """Everybody may."""


def json_response(body: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> HttpResponse:
    """`body` as JSON."""
    return HttpResponse(orjson.dumps(body), status=status, content_type="application/json", headers=dict(headers or {}))
