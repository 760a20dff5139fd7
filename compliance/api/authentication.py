"""Who sends: an API key in the header Authorization, never in an address (RFC 6750 section 2.1)."""

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework import exceptions
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from compliance.accounts import api_keys, policy
from compliance.accounts.models import ApiKey
from compliance.jobs import clock, row_scope

MAX_HEADER = 200  # a key has 55 characters


class ApiKeyAuthentication(BaseAuthentication):
    """`Authorization: Bearer mp_live_…`. The key itself is the actor."""

    def authenticate(self, request: Request) -> tuple[ApiKey, str] | None:
        header = request.headers.get("Authorization", "")
        if not header:
            return None
        kind, _, secret = header.partition(" ")
        if kind.lower() != "bearer" or len(header) > MAX_HEADER:
            raise exceptions.AuthenticationFailed
        key = api_keys.recognise(secret.strip(), at=clock.now())
        if key is None:
            raise exceptions.AuthenticationFailed
        row_scope.settle(policy.row_scope_of(key))
        return key, secret

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="meterproof"'


class ApiKeyScheme(OpenApiAuthenticationExtension):
    """The same, for the OpenAPI document."""

    target_class = ApiKeyAuthentication
    name = "apiKey"

    def get_security_definition(self, auto_schema: object) -> dict[str, str]:
        return {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "mp_live_<8>_<38>",
            "description": "An API key made by an administrator. Each operation names the scope it needs.",
        }
