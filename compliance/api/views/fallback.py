"""Whatever is asked for under the addresses of machines and is not there."""

from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt

from compliance.api import problems
from compliance.api.problems import ApiProblem


@csrf_exempt
def nothing_here(request: HttpRequest) -> HttpResponse:
    """A problem, for every method."""
    return problems.answer(ApiProblem("not_found"), request)
