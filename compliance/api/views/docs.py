"""The interface explained by itself: the OpenAPI document, its operations as a page, and the page of problems."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe

from compliance.api import catalogue, openapi


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
def operations(request: HttpRequest) -> HttpResponse:
    """`/api/v1/docs`: every operation of the document, by what it is about."""
    return render(request, "api/operations.html", {"groups": openapi.operations_by_tag()})


@require_safe
def problems(request: HttpRequest) -> HttpResponse:
    """`/docs/problems`: what each problem means and how to mend it; the `type` of a problem leads here."""
    return render(request, "api/problems.html", {"problems": list(catalogue.entries().values())})
