"""Whose rows a request may touch: nobody's until it is known who asks."""

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils.functional import SimpleLazyObject

from compliance.accounts import policy
from compliance.jobs import row_scope


class RowScope:
    """Begins each request without a row scope, and gives it that of the person whose session it carries.

    After Django's AuthenticationMiddleware, and as late as that: a page that asks for nobody reads no session. API keys
    settle theirs when they are recognised (`api.authentication`).
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        signed_in = request.user

        def known() -> Any:
            row_scope.settle(policy.row_scope_of(signed_in) if signed_in.is_authenticated else row_scope.NOTHING)
            return signed_in

        with row_scope.use(row_scope.NOTHING):
            request.user = SimpleLazyObject(known)  # type: ignore[assignment]
            return self.get_response(request)
