"""Who may do what over the interface: every operation, every kind of credential, with and without the scope.

The policy table itself is tested in tests/accounts/test_policy.py; here, that each address asks it the right question.
"""

import base64

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from compliance.accounts import policy
from compliance.accounts.models import ApiKey, Organisation
from compliance.accounts.policy import SYSTEM, Reach, Role
from compliance.api import openapi, urls
from compliance.checks.models import Finding
from compliance.custody.models import Visibility
from compliance.jobs import clock
from compliance.ledger import integrate, publish
from compliance.proof.subject import key_of
from compliance.reports import actions as reports
from tests.accounts import world as accounts
from tests.api import house
from tests.api.house import House
from tests.api.machines import Machine, machine, problem
from tests.custody import world

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("log")]

# What each kind of credential gets from each operation when it has every scope: y answered, n refused (403), and what
# belongs to somebody else: h hidden (404). Columns: administrator, auditor, regulator, the maker, another maker.
EXPECTED = {
    "list_api_keys": "ynnyy",
    "create_api_key": "ynnnn",
    "get_api_key": "ynnyh",
    "revoke_api_key": "ynnnn",
    "rotate_api_key": "ynnnn",
    "submit_batch": "nyyyy",
    "get_batch": "yyhyh",
    "run_checks": "yynnn",
    "get_coverage": "yyynn",
    "get_event": "yyhyh",
    "get_proof": "yyhyh",
    "get_entry": "yyhyh",
    "get_cose_receipt": "yyhyh",
    "get_receipt": "yyhyh",
    "submit_evidence": "nynyy",
    "get_evidence": "yynyh",
    "get_evidence_file": "yynyh",
    "list_findings": "yynyy",
    "get_finding": "yynyh",
    "list_frameworks": "yyyyy",
    "get_job": "yynnn",
    "list_meters": "yyyyy",
    "get_meter": "yyhyh",
    "list_meter_events": "yyhyh",
    "get_meter_proof": "yyhyh",
    "list_organisations": "yyyyy",
    "register_organisation": "ynnnn",
    "get_organisation": "yyhyh",
    "list_reports": "yyyyy",
    "request_report": "yynnn",
    "get_report": "yyyhh",
    "get_report_content": "yyyhh",
    "find_subject": "yyyyy",
}
COLUMNS = (Role.ADMINISTRATOR, Role.AUDITOR, Role.REGULATOR, Role.MEMBER, Role.MEMBER)
HOMES = ("platform", "pruefhaus", "behoerde", "elster", "rival")
VIEWS = {
    f"/{each.pattern}": each.callback.view_class for each in urls.urlpatterns if hasattr(each.callback, "view_class")
}


def with_scopes(organisation: str, scopes: list[str]) -> Machine:
    """A key with scopes that nobody would give it: the role must hold alone."""
    made = machine(organisation, "events:read")
    ApiKey.objects.filter(pk=made.key.pk).update(scopes=scopes)
    return Machine(made.secret, ApiKey.objects.get(pk=made.key.pk))


@pytest.fixture
def full(log) -> House:
    made = house.build()
    accounts.join("behoerde", "regulator")
    world.join("rival", "manufacturer")
    return made


def operations():
    for template, methods in openapi.document()["paths"].items():
        for method, operation in methods.items():
            if operation["operationId"] != "get_service":
                yield operation["operationId"], method.upper(), template


def test_every_operation_stands_in_the_matrix():
    assert {name for name, _, _ in operations()} == set(EXPECTED)


def test_what_each_kind_of_credential_gets(full: House):
    """An empty or missing body is refused only after the permission: any other answer than 403 and 404 is a yes."""
    for column, home in enumerate(HOMES):
        everything = with_scopes(home, sorted(policy.ALL_SCOPES))
        found = {}
        for name, method, template in operations():
            query = "?scheme=dlms_ldn&value=ELS0000000000001" if name == "find_subject" else ""
            response = everything.send(method, full.fill(template) + query, None if method != "POST" else b"")
            found[name] = {403: "n", 404: "h"}.get(response.status_code, "y")
        assert found == {name: row[column] for name, row in EXPECTED.items()}, home


def test_without_its_scope_every_operation_is_refused(full: House):
    """And the missing scope is named."""
    for home in HOMES:
        poor = {scope: with_scopes(home, sorted(policy.ALL_SCOPES - {scope})) for scope in policy.ALL_SCOPES}
        for name, method, template in operations():
            needed = policy.SCOPES[_action(template, method)]
            said = problem(poor[needed].send(method, full.fill(template), None), 403, "credential.scope")
            assert needed in said["detail"], (name, home)


def test_the_scope_in_the_document_is_that_of_the_policy():
    for name, method, template in operations():
        action = _action(template, method)
        assert f"Needs the scope `{policy.SCOPES[action]}`" in _description(template, method), name


def test_the_matrix_agrees_with_the_policy_table():
    """Where the table gives nothing, nobody gets anything; where it gives all, nothing is hidden."""
    for name, method, template in operations():
        row = policy.TABLE[_action(template, method)]
        for column, role in enumerate(COLUMNS):
            letter = EXPECTED[name][column]
            assert (row[role] is Reach.NONE) == (letter == "n"), (name, role)
            assert row[role] is not Reach.ALL or letter == "y", (name, role)


def test_a_report_that_is_not_issued_is_for_those_who_make_it(full: House):
    """State: regulators and organisations see what was issued, the administrator and auditors what is under way."""
    asked = reports.request_report(by=SYSTEM, kind="framework_audit", parameters={"framework": "iso27001-2022"})
    for home, status in (("platform", 200), ("pruefhaus", 200), ("behoerde", 404), ("elster", 404)):
        reader = with_scopes(home, ["reports:read"])
        assert reader.get(f"/api/v1/reports/{asked.public_id}").status_code == status, home
        assert reader.get(f"/api/v1/reports/{asked.public_id}/content").status_code == 404, home
        listed = [each["id"] for each in reader.get("/api/v1/reports").json()["items"]]
        assert (asked.public_id in listed) == (status == 200), home


@pytest.fixture
def party(full: House) -> Machine:
    """Another organisation that is a party to the first of the two meters alone."""
    Visibility.objects.create(subject_key=key_of(world.title(1)), organisation="rival", from_seq=0)
    return with_scopes("rival", ["events:read"])


def test_who_sees_one_event_does_not_get_the_receipt_with_the_other_subjects_of_the_batch(full: House, party: Machine):
    event = full.fill("/api/v1/events/{batch_id}/{index}")
    assert party.get(event).status_code == 200
    assert party.get(f"{event}/proof").status_code == 200
    problem(party.get(f"{event}/receipt"), 404, "not_found")
    problem(party.get(full.fill("/api/v1/batches/{batch_id}")), 404, "not_found")
    for reader in (full.factory, full.auditor, full.admin):
        assert world.title(2) in base64.b64decode(reader.get(f"{event}/receipt").json()["payload"]).decode()


def test_a_finding_names_only_the_meters_that_the_reader_may_see(full: House, party: Machine):
    both = [world.title(1), world.title(2)]
    Finding.objects.filter(pk=full.path["finding_id"]).update(meters=both, meter_count=2)
    for reader, meters in ((party, both[:1]), (full.factory, both), (full.auditor, both), (full.admin, both)):
        one = reader.get(full.fill("/api/v1/findings/{finding_id}")).json()
        (listed,) = reader.get("/api/v1/findings").json()["items"]
        assert one == listed
        assert (one["meters"], one["meter_count"]) == (meters, 2)


def test_an_ended_key_is_no_key_whatever_its_scopes(full: House):
    ended = with_scopes("elster", sorted(policy.ALL_SCOPES))
    with clock.use(lambda: ended.key.expires_at):
        problem(ended.get("/api/v1/meters"), 401, "credential.wrong")


# Queries that a GET may take, whatever the number of rows.
BUDGETS = {
    "/api/v1/service": 2,
    "/api/v1/organisations": 3,
    "/api/v1/organisations/{organisation_id}": 3,
    "/api/v1/api-keys": 3,
    "/api/v1/api-keys/{api_key_id}": 3,
    "/api/v1/batches/{batch_id}": 8,
    "/api/v1/events/{batch_id}/{index}": 8,
    "/api/v1/events/{batch_id}/{index}/receipt": 8,
    "/api/v1/events/{batch_id}/{index}/proof": 14,
    "/api/v1/events/{batch_id}/{index}/entry": 8,
    "/api/v1/events/{batch_id}/{index}/cose-receipt": 15,
    "/api/v1/meters": 6,
    "/api/v1/meters/{meter_id}": 8,
    "/api/v1/meters/{meter_id}/events": 10,
    "/api/v1/meters/{meter_id}/proof": 40,
    "/api/v1/evidence/{evidence_id}": 6,
    "/api/v1/evidence/{evidence_id}/files/{sha256}": 6,
    "/api/v1/findings": 6,
    "/api/v1/findings/{finding_id}": 6,
    "/api/v1/frameworks": 4,
    "/api/v1/coverage/{framework_key}": 20,
    "/api/v1/reports": 5,
    "/api/v1/reports/{report_id}": 4,
    "/api/v1/reports/{report_id}/content": 4,
    "/api/v1/jobs/{job_id}": 3,
    "/api/v1/subjects": 10,
}


def test_every_get_keeps_its_budget_of_queries_whatever_the_number_of_rows(full: House):
    reader = with_scopes("platform", sorted(policy.ALL_SCOPES))
    few = {template: _queries(full, reader, template) for template in BUDGETS}
    assert set(BUDGETS) == {template for _, method, template in operations() if method == "GET"} | {"/api/v1/service"}
    _many_more(full)
    many = {template: _queries(full, reader, template) for template in BUDGETS}
    over = {template: many[template] for template, budget in BUDGETS.items() if many[template] > budget}
    assert not over
    assert {template: count for template, count in many.items() if count > few[template]} == {}


def _queries(full: House, reader: Machine, template: str) -> int:
    query = "?scheme=dlms_ldn&value=ELS0000000000001" if template.endswith("/subjects") else ""
    with CaptureQueriesContext(connection) as captured:
        assert reader.get(full.fill(template) + query).status_code == 200, template
    return len(captured)


def _many_more(full: House) -> None:
    """Ten times the rows in every list, and a longer chain."""
    full.elster.send(*(world.born(number) for number in range(10, 30)))
    full.elster.send(*(world.event("mfg.calibrated", world.title(1)) for _ in range(5)))
    for number in range(2, 12):
        house.finding(number)
        accounts.api_key(Organisation.objects.get(pk="elster"), "events:read")
        accounts.join(f"more_{number}", "utility")
    house.issued(reports.request_report(by=SYSTEM, kind="framework_audit", parameters={"framework": "bsi-cc-pp-0073"}))
    integrate.integrate()
    publish.publish()


def _action(template: str, method: str) -> str:
    for pattern, view in VIEWS.items():
        if _plain(pattern) == template:
            return str(view.actions[method])
    raise LookupError(template)


def _plain(pattern: str) -> str:
    return "/".join(f"{{{part[1:-1].split(':')[-1]}}}" if part.startswith("<") else part for part in pattern.split("/"))


def _description(template: str, method: str) -> str:
    return str(openapi.document()["paths"][template][method.lower()]["description"])
