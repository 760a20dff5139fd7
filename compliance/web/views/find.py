"""Find anything the reader may see by what is written on it: an identifier, a reference, a title, a digest."""

from dataclasses import dataclass
from typing import Any

from django.contrib.auth.decorators import login_required
from django.db.models import Exists, OuterRef, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET

from compliance.accounts import policy
from compliance.custody import selectors as custody
from compliance.custody.models import Identifier
from compliance.evidence.selectors import evidence_visible_to
from compliance.frameworks.models import Requirement
from compliance.web import words
from compliance.web.filters import MAX_SEARCH_CHARACTERS
from compliance.web.reader import reader

LIMIT = 10


@dataclass(frozen=True, slots=True)
class Result:
    """One thing that was found."""

    words: str
    kind: str
    url: str
    icon: str


@login_required
@require_GET
def find(request: HttpRequest) -> HttpResponse:
    """The search page; a single result is opened at once."""
    query = request.GET.get("q", "").strip().replace("\0", "")[:MAX_SEARCH_CHARACTERS]
    results = (
        [*_meters(reader(request), query), *_requirements(query), *_evidence(reader(request), query)] if query else []
    )
    if len(results) == 1:
        return redirect(results[0].url)
    return render(request, "web/find.html", {"query": query, "results": results, "limit": LIMIT})


def _meters(person: Any, query: str) -> list[Result]:
    if not policy.allows(person, "meter.read"):
        return []
    known = Identifier.objects.filter(subject_key=OuterRef("subject_key"), value__icontains=query)
    named = Q(subject__icontains=query) | Q(public_id=query) | Exists(known)
    return [
        Result(
            each.subject.split(":", 2)[2],
            f"Meter, {words.state(each.claimed_state).lower()}",
            reverse("web:meter", args=[each.public_id]),
            "meter",
        )
        for each in custody.as_seen_by(
            person, custody.meters_visible_to(person).filter(named).order_by("subject")[:LIMIT]
        )
    ]


def _requirements(query: str) -> list[Result]:
    _, _, ref = query.rpartition(":")
    found = Requirement.objects.filter(Q(ref__iexact=ref) | Q(title__icontains=query)).select_related("framework")
    return [
        Result(
            f"{each.ref} {each.title}",
            f"Requirement, {each.framework.key}",
            reverse("web:requirement", args=[each.framework.key, each.ref]),
            "framework",
        )
        for each in found.order_by("framework_id", "position")[:LIMIT]
    ]


def _evidence(person: Any, query: str) -> list[Result]:
    if not policy.allows(person, "evidence.read"):
        return []
    digest = query.lower().removeprefix("sha256:")
    named = Q(title__icontains=query) | Q(public_id=query)
    if len(digest) >= 8:
        named |= Q(manifest_sha256__startswith=digest) | Q(files__sha256__startswith=digest)
    return [
        Result(each.title, "Evidence", reverse("web:evidence", args=[each.public_id]), "evidence")
        for each in evidence_visible_to(person).filter(named).distinct()[:LIMIT]
    ]
