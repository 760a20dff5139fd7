"""What surrounds every request: an id to find it by, and problems instead of HTML under the addresses of machines."""

import re
import uuid
from collections.abc import Callable

from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponse

from compliance.api import problems
from compliance.api.problems import ApiProblem

_MACHINES = ("/api/", "/log/")
_CLIENT_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_CODES = {
    400: "request.malformed",
    403: "not_allowed",
    404: "not_found",
    405: "method.not_allowed",
    413: "body.too_large",
}

Handler = Callable[[HttpRequest], HttpResponse]


class RequestId:
    """Gives each request an id, or keeps the UUID the client chose, and says it in the answer.

    Outermost, so that it also sees what no view answered: a wrong host, a path that leads nowhere, a crash.
    """

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        wanted = request.headers.get("X-Request-Id", "")
        request.request_id = wanted if _CLIENT_ID.fullmatch(wanted) else str(uuid.uuid4())  # type: ignore[attr-defined]
        answer = self._answer_machine if request.path.startswith(_MACHINES) else self.get_response
        response = answer(request)
        response.headers["X-Request-Id"] = problems.request_id(request)
        return response

    def _answer_machine(self, request: HttpRequest) -> HttpResponse:
        try:
            request.get_host()
        except DisallowedHost:
            return problems.answer(ApiProblem("request.malformed", "The header Host names another host."), request)
        response = self.get_response(request)
        if response.status_code >= 400 and not _is_problem(response):
            return self._as_problem(request, response)
        return response

    def _as_problem(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        fallback = "internal" if response.status_code >= 500 else "request.malformed"
        code = _CODES.get(response.status_code, fallback)
        kept = {name: response.headers[name] for name in ("Allow", "Retry-After") if name in response.headers}
        return problems.answer(ApiProblem(code, status=response.status_code, headers=kept), request)


def _is_problem(response: HttpResponse) -> bool:
    return response.headers.get("Content-Type", "").startswith(problems.MEDIA_TYPE)
