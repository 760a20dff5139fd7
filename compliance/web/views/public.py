"""Pages that need no account: checking a proof, and the short texts that problems and pages point to."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from compliance.proof.identifiers import SCHEMES
from compliance.web.trust import VERIFY_STEPS, trust_files


@require_GET
def verify(request: HttpRequest) -> HttpResponse:
    """Check a proof bundle in the browser. The file is read there and never sent."""
    return render(
        request,
        "web/verify.html",
        {"trust": trust_files(), "verify_steps": VERIFY_STEPS},
    )


@require_GET
def docs(request: HttpRequest) -> HttpResponse:
    """How events are sent, how proofs are checked."""
    return render(request, "web/docs.html", {"base_url": settings.METERPROOF["BASE_URL"]})


@require_GET
def identifiers(request: HttpRequest) -> HttpResponse:
    """The identifier schemes and their normal forms."""
    return render(request, "web/identifiers.html", {"schemes": SCHEMES})
