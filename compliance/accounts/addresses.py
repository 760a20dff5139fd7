"""Where a request comes from, told alike by the lock on signing in and by the rate limits of the API."""

from django.http import HttpRequest
from rest_framework.throttling import BaseThrottle


def client_address(request: HttpRequest) -> str:
    """The address of the client, past METERPROOF_PROXIES proxies; what further hosts claim is not believed."""
    return BaseThrottle().get_ident(request)  # type: ignore[arg-type]  # asks for the header and REMOTE_ADDR alone
