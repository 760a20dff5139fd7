"""What is shown when a page fails. Nothing about the failure leaves the server but a reference to its log."""

import logging
import secrets

from django.http import HttpRequest, HttpResponse, HttpResponseServerError
from django.template import loader

from compliance.jobs import clock

log = logging.getLogger(__name__)


def server_error(request: HttpRequest) -> HttpResponse:
    """The page for an error of ours, with a reference that the server's log holds too."""
    reference = f"{secrets.token_hex(2)}-{secrets.token_hex(2)}, {clock.now():%H:%M:%S} UTC"
    log.error("page failed, reference %s, %s %s", reference, request.method, request.path)
    page = loader.get_template("500.html").render({"reference": reference, "retry": request.path})
    return HttpResponseServerError(page)
