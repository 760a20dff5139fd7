"""Who reads a page. Views behind `login_required` have a person; this says so once, and checks it."""

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest

from compliance.accounts.models import Person


def reader(request: HttpRequest) -> Person:
    """The person who is signed in."""
    if not isinstance(request.user, Person):
        raise PermissionDenied
    return request.user
