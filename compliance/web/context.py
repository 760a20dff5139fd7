"""What the frame around every page shows: where one is, what one may open, how much there is."""

from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse

from compliance.accounts import policy
from compliance.accounts.models import Person
from compliance.accounts.roles import MembershipRole
from compliance.checks.selectors import findings_visible_to
from compliance.custody.selectors import meters_shared_now
from compliance.evidence.selectors import evidence_visible_to

ROLE_WORDS = {
    MembershipRole.ADMINISTRATOR: "Administrator of the platform",
    MembershipRole.AUDITOR: "Auditor, read and review",
    MembershipRole.REGULATOR: "Regulator, read",
    MembershipRole.MANAGER: "Manager",
    MembershipRole.MEMBER: "Member",
}


@dataclass(frozen=True, slots=True)
class NavLink:
    """One line of the rail. `letter` follows G on the keyboard."""

    name: str
    url: str
    icon: str
    letter: str = ""
    count: int | None = None
    current: bool = False


@dataclass(frozen=True, slots=True)
class NavGroup:
    """Lines under one heading; the first group has none."""

    heading: str
    links: list[NavLink]


def frame(request: HttpRequest) -> dict[str, Any]:
    """Values for the frame; the log's name alone for somebody who has not signed in."""
    origin = settings.METERPROOF["ORIGIN"]
    person = getattr(request, "user", None)
    if not isinstance(person, Person):
        return {"origin": origin}
    return {
        "origin": origin,
        "nav": _navigation(person, _section(request)),
        "workspace": _workspace(person),
        "initials": initials(person),
    }


def initials(person: Person) -> str:
    """Up to two letters for the account button."""
    words = (person.name or person.username).split()
    return "".join(word[0] for word in (words[:1] + words[1:][-1:])).upper()


def _workspace(person: Person) -> dict[str, str]:
    memberships = person.active_memberships
    if not memberships:
        return {"name": "No organisation", "role": "Ask an administrator"}
    first = memberships[0]
    return {"name": first.organisation.name, "role": ROLE_WORDS[MembershipRole(first.role)]}


def _section(request: HttpRequest) -> str:
    match = getattr(request, "resolver_match", None)
    page = match.url_name.split("_")[0] if match and match.url_name else ""
    return "framework" if page == "requirement" else page.rstrip("s")


def _navigation(person: Person, section: str) -> list[NavGroup]:
    def link(name: str, target: str, icon: str, letter: str = "", count: int | None = None) -> NavLink:
        current = section == target.split("_")[0].rstrip("s")
        return NavLink(name, reverse(f"web:{target}"), icon, letter, count, current)

    def may(action: str) -> bool:
        return policy.allows(person, action)

    work = [link("Overview", "overview", "overview", "o")]
    if may("meter.read"):
        work.append(link("Meters", "meters", "meter", "m", meters_shared_now(person).count()))
    assurance = [link("Frameworks", "frameworks", "framework", "f")]
    if may("evidence.read"):
        assurance.append(link("Evidence", "evidence_list", "evidence", "e", evidence_visible_to(person).count()))
    if may("finding.read"):
        open_findings = findings_visible_to(person).filter(state="open").count()
        assurance.append(link("Findings", "findings", "finding", "d", open_findings))
    publish = []
    if may("report.read"):
        publish.append(link("Reports", "reports", "report", "r"))
    publish.append(link("Public verification", "verify", "rosette"))
    groups = [NavGroup("", work), NavGroup("Assurance", assurance), NavGroup("Publish", publish)]
    if policy.reach(person, "organisation.read") == policy.Reach.ALL:
        groups.append(NavGroup("Administration", [link("Organisations", "organisations", "organisation")]))
    return groups
