"""The world that page tests look at: a log, organisations, people, meters, evidence, findings and reports.

Everything is made through the product's own actions, as in use. Names carry characters that a careless page would run,
break on or mirror (`HOSTILE`).
"""

import io
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from compliance.accounts import actions as accounts_actions
from compliance.accounts.models import Person
from compliance.accounts.policy import SYSTEM
from compliance.accounts.roles import PLATFORM
from compliance.accounts.selectors import organisation
from compliance.checks import actions as checks
from compliance.evidence import actions as evidence
from compliance.evidence.intake import IncomingFile
from compliance.evidence.models import Evidence
from compliance.frameworks.actions import load_shipped
from compliance.jobs import worker
from compliance.ledger import setup
from compliance.ledger.integrate import integrate
from compliance.ledger.publish import publish
from compliance.proof.subject import key_of
from compliance.reports import actions as reports
from compliance.reports.models import Report, State
from tests.accounts import world as accounts
from tests.accounts.world import Member
from tests.web.histories import meter, send_histories

# What a careless page would run, break on or mirror.
HOSTILE = (
    '<script>alert("a")</script>',
    '"><img src=x onerror=alert(1)>',
    "{{ 7*7 }}{% debug %}",
    "javascript:alert(1)//",
    "\u202egnp.exe",
    "'; DROP TABLE meter; --</title></script>",
)
SPRING = (datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 5, 31, tzinfo=UTC))
ROLES = {
    "elster": ["manufacturer"],
    "stadtwerk": ["utility", "operator"],
    "spedition": ["logistics_provider"],
    "installateur": ["installer"],
    "pruefhaus": ["auditor"],
    "behoerde": ["regulator"],
}
PEOPLE = {
    "anna": (PLATFORM, "administrator"),
    "hanna": ("pruefhaus", "auditor"),
    "regina": ("behoerde", "regulator"),
    "max": ("elster", "manager"),
    "stefan": ("stadtwerk", "member"),
    "ingo": ("installateur", "member"),
}


@dataclass
class World:
    """What was built, by the names that tests use."""

    folder: Path
    members: dict[str, Member] = field(default_factory=dict)
    people: dict[str, Person] = field(default_factory=dict)
    evidence: dict[str, Evidence] = field(default_factory=dict)
    reports: dict[str, Report] = field(default_factory=dict)

    @staticmethod
    def meter_id(number: int) -> str:
        """Public id of the `number`-th meter of `histories`."""
        return f"mtr_{key_of(meter(number)).hex()}"


def build_world(folder: Path) -> World:
    """Make the world. It takes some seconds."""
    setup.create_log()
    load_shipped()
    world = World(folder)
    for id, roles in ROLES.items():  # noqa: A001
        world.members[id] = accounts.join(id, *roles)
    for username, (of, role) in PEOPLE.items():
        home = organisation(of)
        assert home is not None
        world.people[username] = accounts.person(username, home, role)
    _name_badly(world)
    send_histories(world.members)
    _hand_in_evidence(world)
    integrate()
    checks.run()
    while checks.tell():
        integrate()
    publish()
    _ask_for_reports(world)
    integrate()
    publish()
    return world


def _name_badly(world: World) -> None:
    carrier = world.members["spedition"].organisation
    accounts_actions.change_organisation(
        by=SYSTEM,
        organisation=carrier,
        name=HOSTILE[0],
        roles=carrier.roles,
        first_key=carrier.first_key,
        signature_policy=carrier.signature_policy,
    )


def _hand_in_evidence(world: World) -> None:
    maker = world.members["elster"].organisation
    key, _ = accounts.api_key(maker, "evidence:write")
    titles = ("Key ceremony record, cell OSN-2", "Penetration test report, AS3000", *HOSTILE)
    for place, title in enumerate(titles):
        world.evidence[title] = evidence.submit_evidence(
            by=key,
            organisation=maker,
            title=title,
            kind="record",
            files=[
                IncomingFile(
                    f"{place}-<img src=x onerror=alert(1)>.txt", "text/plain", io.BytesIO(b"record %d\n" % place)
                )
            ],
            covers_from=SPRING[0],
            covers_to=SPRING[1],
            produced_at=SPRING[1],
            links=[("requirement", "iso27001-2022:A.8.24"), ("meter", meter(place % 6))],
        )
    evidence.accept_evidence(
        evidence=world.evidence[titles[0]], reviewer=world.people["hanna"], reason="Compared with the HSM's own log."
    )
    evidence.return_evidence(
        evidence=world.evidence[titles[1]], reviewer=world.people["hanna"], reason="Pages 4 to 9 are missing."
    )


def _ask_for_reports(world: World) -> None:
    """One that is issued, one that waits for its job, and one that failed."""
    auditor = world.people["hanna"]
    issued = reports.request_report(by=auditor, kind="meter_certificate", parameters={"meter": world.meter_id(0)})
    worker.run_until_idle()
    issued.refresh_from_db()
    assert issued.state == State.ISSUED, issued.failure
    waiting = reports.request_report(by=auditor, kind="meter_certificate", parameters={"meter": world.meter_id(1)})
    failed = reports.request_report(by=auditor, kind="framework_audit", parameters={"framework": "iso27001-2022"})
    reports.fail(failed, "the renderer ran out of memory")
    world.reports = {"issued": issued, "waiting": waiting, "failed": failed}
