"""Answers for what goes wrong: `application/problem+json` of RFC 9457, whatever raised it.

Rooms below raise their own exceptions with a code of the catalogue; this module alone knows HTTP. No answer holds a
stack, SQL, or anything of another organisation.
"""

import errno
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from rest_framework import exceptions as drf

from compliance.accounts.policy import NotAllowed
from compliance.api import catalogue
from compliance.ledger.errors import LedgerError, Refused
from compliance.ledger.proofs import NotYetIncluded
from compliance.proof.errors import ProofError

MEDIA_TYPE = "application/problem+json"
MAX_ERRORS = 100  # places listed in one answer; `error_count` says how many there were
RETRY_SECONDS = 5  # after a lock time-out or a lost connection, long enough for a restart of the database

log = logging.getLogger(__name__)


class ApiProblem(Exception):
    """A problem of the catalogue, raised where a request is answered."""

    def __init__(
        self,
        code: str,
        detail: str | None = None,
        *,
        status: int | None = None,
        errors: Sequence[Mapping[str, Any]] = (),
        error_count: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(code)
        self.entry = catalogue.entry(code)
        self.detail = detail or self.entry.detail
        self.status = status or self.entry.status
        self.errors = list(errors[:MAX_ERRORS])
        self.error_count = len(errors) if error_count is None else error_count
        self.headers = dict(headers or {})


def answer(problem: ApiProblem, request: HttpRequest) -> HttpResponse:
    """The response that says `problem`."""
    body: dict[str, Any] = {
        "type": problem.entry.type,
        "title": problem.entry.title,
        "status": problem.status,
        "detail": problem.detail,
        "instance": f"urn:uuid:{request_id(request)}",
        "code": problem.entry.code,
        "mend": problem.entry.mend,
    }
    if problem.errors:
        body["errors"] = problem.errors
        body["error_count"] = problem.error_count
    if retry_after := problem.headers.get("Retry-After"):
        body["retry_after"] = int(retry_after)
    return HttpResponse(orjson.dumps(body), status=problem.status, content_type=MEDIA_TYPE, headers=problem.headers)


def request_id(request: HttpRequest) -> str:
    """The id under which the operator finds this request; middleware gave it."""
    return str(getattr(request, "request_id", "00000000-0000-0000-0000-000000000000"))


def exception_handler(exception: Exception, context: Mapping[str, Any]) -> HttpResponse:
    """What REST framework calls with whatever a view raised. It always answers: a crash too is a problem."""
    request = context["request"]
    return answer(problem_of(exception), getattr(request, "_request", request))


def problem_of(exception: Exception) -> ApiProblem:
    """The problem that tells of `exception`; an unforeseen one is logged and told without its words."""
    match exception:
        case ApiProblem():
            return exception
        case Refused() | ProofError():
            return _refused(exception)
        case NotAllowed() | drf.PermissionDenied() | PermissionDenied():
            return ApiProblem("not_allowed")
        case Http404() | drf.NotFound():
            return ApiProblem("not_found")
        case RequestDataTooBig():
            return ApiProblem("body.too_large")
        case drf.APIException():
            return _of_framework(exception)
        case SuspiciousOperation():
            return ApiProblem("request.malformed")
        case OperationalError() | InterfaceError():
            log.warning("database not available", exc_info=exception)
            return _full_or_unavailable(exception)
        case OSError() if exception.errno in {errno.ENOSPC, errno.EDQUOT}:
            log.error("no space left", exc_info=exception)
            return ApiProblem("storage.full", headers={"Retry-After": "60"})
        case NotYetIncluded():
            return ApiProblem("proof.pending", exception.detail, headers={"Retry-After": "1"})
        case LedgerError():
            log.error("the ledger stopped: %s", exception)
            return ApiProblem("unavailable", headers={"Retry-After": "60"})
    code = getattr(exception, "code", None)
    if isinstance(code, str) and code in catalogue.entries():  # a room's own exception, written for the catalogue
        return ApiProblem(code, getattr(exception, "detail", None))
    log.error("unforeseen", exc_info=exception)
    return ApiProblem("internal")


def _refused(exception: Refused | ProofError) -> ApiProblem:
    place: dict[str, Any] = {"pointer": exception.pointer, "code": exception.code, "detail": exception.detail}
    if isinstance(exception, Refused):
        place["index"] = exception.index
    known = {name: value for name, value in place.items() if value is not None}
    return ApiProblem(exception.code, exception.detail, errors=[known] if "pointer" in known else [])


def _of_framework(exception: drf.APIException) -> ApiProblem:
    match exception:
        case drf.NotAuthenticated():
            return ApiProblem("credential.missing", headers={"WWW-Authenticate": 'Bearer realm="meterproof"'})
        case drf.AuthenticationFailed():
            headers = {"WWW-Authenticate": 'Bearer realm="meterproof", error="invalid_token"'}
            return ApiProblem("credential.wrong", headers=headers)
        case drf.MethodNotAllowed():
            return ApiProblem("method.not_allowed")
        case drf.UnsupportedMediaType():
            return ApiProblem("media_type.unsupported")
        case drf.Throttled():
            wait = max(1, round(getattr(exception, "wait", None) or 1))
            return ApiProblem("rate.exceeded", headers={"Retry-After": str(wait)})
        case drf.ValidationError():
            places = list(_places(exception.get_full_details(), ""))
            return ApiProblem("request.value", errors=places)
    return ApiProblem("request.malformed")


def _places(details: Any, pointer: str) -> Sequence[dict[str, str]]:
    """Flatten the framework's nested details into pointers."""
    if isinstance(details, Mapping) and set(details) == {"message", "code"}:
        return [{"pointer": pointer, "code": "request.value", "detail": str(details["message"])}]
    if isinstance(details, Mapping):
        items = [("" if name == "non_field_errors" else f"/{name}", each) for name, each in details.items()]
    elif all(isinstance(each, Mapping) and set(each) == {"message", "code"} for each in details):
        items = [("", each) for each in details]
    else:
        items = [(f"/{position}", each) for position, each in enumerate(details)]
    return [place for name, each in items for place in _places(each, pointer + name)]


def _full_or_unavailable(exception: Exception) -> ApiProblem:
    text = str(exception).lower()
    if "disk is full" in text or "no space left" in text:
        return ApiProblem("storage.full", headers={"Retry-After": "60"})
    return ApiProblem("unavailable", headers={"Retry-After": str(RETRY_SECONDS)})
