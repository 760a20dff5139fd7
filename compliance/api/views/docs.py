"""The interface explained by itself: the OpenAPI document, a page to try it, and the page of problems."""

from csp.decorators import csp_replace
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe

from compliance.api import catalogue, openapi

# Swagger UI builds its pages by assigning HTML and writes style attributes. No other page here does, or may.
RELAXED = {"style-src": ["'self'", "'unsafe-inline'"], "require-trusted-types-for": None}


@csrf_exempt
@require_safe
def schema(request: HttpRequest) -> HttpResponse:
    """`/api/v1/schema`: the document as JSON."""
    return HttpResponse(openapi.as_json(), content_type="application/vnd.oai.openapi+json;version=3.1")


@csrf_exempt
@require_safe
def schema_yaml(request: HttpRequest) -> HttpResponse:
    """`/api/v1/schema.yaml`: the document as YAML."""
    return HttpResponse(openapi.as_yaml(), content_type="application/vnd.oai.openapi;version=3.1")


@require_safe
@csp_replace(RELAXED)
def explore(request: HttpRequest) -> HttpResponse:
    """`/api/v1/docs`: Swagger UI, served from here."""
    return render(request, "api/explore.html")


@require_safe
def problems(request: HttpRequest) -> HttpResponse:
    """`/docs/problems`: what each problem means and how to mend it; the `type` of a problem leads here."""
    return render(request, "api/problems.html", {"problems": list(catalogue.entries().values())})
