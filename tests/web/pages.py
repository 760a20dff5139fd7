"""Every page of the product with the world's things in its address, and who may open it."""

from collections.abc import Mapping

from compliance.checks.models import Finding
from tests.web.world import HOSTILE, World

EVERYBODY = frozenset({"anna", "hanna", "regina", "max", "stefan", "ingo"})
AUDITORS = frozenset({"anna", "hanna"})
NOT_REGINA = EVERYBODY - {"regina"}

# Page, and who opens it: administrator, auditor, regulator, the maker's manager, utility's and installer's member.
OPEN_TO: Mapping[str, frozenset[str]] = {
    "overview": EVERYBODY,
    "find": EVERYBODY,
    "nothing found": EVERYBODY,
    "meters": EVERYBODY,
    "no meters": EVERYBODY,
    "handed on": EVERYBODY,
    "meter": NOT_REGINA,
    "meter with violations": NOT_REGINA - {"ingo"},  # fitted it, but never had it
    "meter in the cell": frozenset({"anna", "hanna", "max"}),
    "frameworks": EVERYBODY,
    "framework": frozenset({"anna", "hanna", "regina"}),
    "editorial framework": frozenset({"anna", "hanna", "regina"}),
    "requirement": EVERYBODY,
    "evidence list": NOT_REGINA,
    "accepted evidence": frozenset({"anna", "hanna", "max"}),
    "evidence to review": frozenset({"anna", "hanna", "max"}),
    "findings": NOT_REGINA,
    "finding": NOT_REGINA - {"max"},  # of a time after the maker had it
    "reports": EVERYBODY,
    "issued report": AUDITORS | {"regina", "stefan"},
    "waiting report": AUDITORS,
    "failed report": AUDITORS,
    "organisations": EVERYBODY,
    "organisation": frozenset({"anna", "hanna", "max"}),
    "account": EVERYBODY,
}
PUBLIC = {
    "sign in": "/login",
    "check a proof": "/verify",
    "how it works": "/docs",
    "interface": "/api/v1/docs",
    "problems": "/docs/problems",
    "identifiers": "/docs/identifiers",
}


def address(world: World, page: str) -> str:
    """Where `page` of the world is."""
    evidence = {title: each.public_id for title, each in world.evidence.items()}
    reports = {name: each.public_id for name, each in world.reports.items()}
    shared = Finding.objects.filter(subject__endswith="2413", detector="AN-14").values_list("pk", flat=True)
    return {
        **PUBLIC,
        "overview": "/",
        "find": "/find?q=ELS",
        "nothing found": "/find?q=<script>alert(1)</script>",
        "meters": "/meters",
        "no meters": "/meters?view=exceptions&phase=decommissioned",
        "handed on": "/meters?view=handed-on",
        "meter": f"/meters/{world.meter_id(0)}",
        "meter with violations": f"/meters/{world.meter_id(3)}",
        "meter in the cell": f"/meters/{world.meter_id(5)}",
        "frameworks": "/frameworks",
        "framework": "/frameworks/eu-cra-annex-i",
        "editorial framework": "/frameworks/uk-cpa-sm",
        "requirement": "/frameworks/iso27001-2022/A.8.24",
        "evidence list": "/evidence",
        "accepted evidence": f"/evidence/{next(iter(evidence.values()))}",
        "evidence to review": f"/evidence/{evidence[HOSTILE[0]]}",
        "findings": "/findings",
        "finding": f"/findings/{shared[0]}",
        "reports": "/reports",
        "issued report": f"/reports/{reports['issued']}",
        "waiting report": f"/reports/{reports['waiting']}",
        "failed report": f"/reports/{reports['failed']}",
        "organisations": "/organisations",
        "organisation": "/organisations/elster",
        "account": "/account",
    }[page]
