"""The interface and the pages on a connection of the application's own role: each gets its rows, and no other's.

Nothing here filters twice: what the product's policy lets through, row-level security must let through as well.
"""

from pathlib import Path

import pytest
from django.db import connection
from django.test import Client

from compliance.accounts.models import Organisation
from compliance.jobs import row_scope, worker
from compliance.jobs.models import PeriodicRun
from compliance.ledger import roles
from compliance.reports.models import Report, State
from tests.accounts import world as accounts
from tests.api import house as houses
from tests.api.machines import MANUFACTURER_SCOPES, machine
from tests.custody import world
from tests.services.application_role import connected_as_application

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_engines]
CONTENT = b"station,offset\nst-2,4\n"
NDJSON = "application/x-ndjson"


def signed_in(username: str) -> Client:
    """A browser that went through the sign-in page."""
    client = Client()
    answer = client.post("/login", {"username": username, "password": accounts.PASSWORD})
    assert answer.status_code == 302, answer.content
    return client


def listed(client: Client, path: str) -> str:
    answer = client.get(path)
    assert answer.status_code == 200, (path, answer.status_code)
    return answer.content.decode()


def test_the_main_steps_as_the_application(transactional_db: None, log: Path) -> None:
    """Evidence and a batch come in, an auditor accepts, a report is made; a rival with an account sees none of it."""
    house = houses.build()
    accounts.join("rival", "manufacturer")
    accounts.join("behoerde", "regulator")
    rival = machine("rival", *MANUFACTURER_SCOPES)
    machine_of_regulator = machine("behoerde", "reports:read")
    for username, of, role in (
        ("hanna", "pruefhaus", "auditor"),
        ("max", "elster", "manager"),
        ("rita", "rival", "manager"),
        ("regina", "behoerde", "regulator"),
        ("anna", "platform", "administrator"),
    ):
        accounts.person(username, Organisation.objects.get(pk=of), role)
    with connected_as_application():
        assert roles.excessive() == []
        sent = house.factory.post("/api/v1/evidence", CONTENT, **houses.evidence_headers(CONTENT, "more.csv"))
        assert sent.status_code == 201, sent.content
        place = f"/api/v1/evidence/{sent.json()['id']}"
        assert house.factory.get(place).status_code == 200
        assert rival.get(place).status_code == 404
        assert house.auditor.get(place).status_code == 200
        assert [len(each.get("/api/v1/findings").json()["items"]) for each in (house.factory, rival)] == [1, 0]

        batch = house.elster.sign(world.born(3)).ndjson
        assert house.factory.post("/api/v1/batches", batch, Content_Type=NDJSON).status_code == 201

        asked = {"kind": "meter_certificate", "parameters": {"meter": house.path["meter_id"]}}
        first, again = (house.admin.post("/api/v1/reports", asked, Idempotency_Key="one") for _ in range(2))
        assert (first.status_code, again.content) == (202, first.content)
        assert again.headers["Idempotency-Replayed"] == "true"
        made = house.admin.post(
            "/api/v1/api-keys", {"organisation": "rival", "scopes": ["events:read"]}, Idempotency_Key="two"
        )
        assert made.status_code == 201, made.content

        auditor, maker, stranger, administrator = map(signed_in, ("hanna", "max", "rita", "anna"))
        regulator = signed_in("regina")
        page = f"/evidence/{sent.json()['id']}"
        assert house.factory.key is not None
        assert house.factory.key.public_id in listed(auditor, page)
        accepted = auditor.post(page, {"decision": "accept", "reason": "Read in full."}, follow=True)
        assert accepted.status_code == 200
        assert "Read in full." in listed(maker, page)
        assert stranger.get(page).status_code == 404

        assert "ledger.publish" in worker.tick()
        assert not PeriodicRun.objects.exclude(last_failure="").exists()
        worker.run_until_idle()
        with row_scope.everything():
            report = Report.objects.get(kind="meter_certificate")
        assert (report.state, report.failure) == (State.ISSUED, "")
        for client in (auditor, maker, administrator, regulator):
            assert client.get(f"/reports/{report.public_id}/content").status_code == 200
        assert house.admin.key is not None
        assert house.admin.key.public_id in listed(maker, f"/reports/{report.public_id}"), "who asked for it"
        assert stranger.get(f"/reports/{report.public_id}").status_code == 404
        for client, sees in ((maker, True), (auditor, True), (administrator, True), (stranger, False)):
            assert ("Clock offsets" in listed(client, "/evidence")) is sees
            assert (str(report.number) in listed(client, "/reports")) is sees
        coverage = "/api/v1/coverage/iso27001-2022"
        supported = [{**each.get(coverage).json(), "computed_at": ""} for each in (machine_of_regulator, house.auditor)]
        assert supported[0] == supported[1]
        assert sent.json()["id"] in str(supported)
        for client in (administrator, stranger):
            assert made.json()["id"] in listed(client, "/organisations/rival")

        assert row_scope.current() == row_scope.NOTHING
        if connection.vendor == "postgresql":
            assert not Report.objects.exists(), "what no request asks for, nobody gets"
