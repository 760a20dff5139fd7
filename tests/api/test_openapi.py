"""The OpenAPI document says what the server does: each success, each refusal, and whatever a fuzzer makes of it."""

import json
import re
from contextlib import suppress
from typing import Any

import pytest
import requests
import schemathesis
from django.core.cache import cache
from django.core.management import call_command
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from openapi_spec_validator import OpenAPIV31SpecValidator
from schemathesis.generation import GenerationMode

from compliance.api import openapi, urls
from compliance.proof import batch as batches
from tests.api import conformance, house
from tests.api.house import House
from tests.api.machines import NOBODY, Machine, problem
from tests.custody import world

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("log")]

EXAMPLES = 3  # for each operation, mode and kind of path; some 300 requests in all
OPERATIONS = [
    (operation["operationId"], method, template)
    for template, operations in openapi.document()["paths"].items()
    for method, operation in operations.items()
]
POSTS = {  # what makes each of the writing operations succeed
    "create_api_key": {"organisation": "elster", "scopes": ["events:read"]},
    "register_organisation": {
        "id": "acme",
        "name": "Acme",
        "roles": ["manufacturer"],
        "first_key": f"sha256:{'0' * 64}",
    },
    "request_report": {"kind": "framework_audit", "parameters": {"framework": "iso27001-2022"}},
    "rotate_api_key": None,
    "run_checks": None,
}


@pytest.fixture
def full(log) -> House:
    return house.build()


def test_the_document_is_openapi_3_1():
    document = openapi.document()
    assert document["openapi"].startswith("3.1")
    OpenAPIV31SpecValidator(document).validate()


def test_the_document_is_made_without_a_warning(tmp_path):
    """An operator who opens the interface's page reads nothing odd in the server's log."""
    call_command("spectacular", "--validate", "--fail-on-warn", "--file", str(tmp_path / "schema.yaml"))


def test_it_is_served_as_json_and_yaml():
    assert json.loads(NOBODY.get("/api/v1/schema").content) == openapi.document()
    assert NOBODY.get("/api/v1/schema.yaml").content.startswith(b"openapi: 3.1")


def test_every_address_is_documented():
    """What answers under /api/v1 stands in the document; the document names nothing else."""
    served = {f"/{route}" for route in (str(each.pattern) for each in urls.urlpatterns) if route.startswith("api/v1/")}
    plain = {_without_converters(route) for route in served} - conformance.OUTSIDE
    assert plain == set(openapi.document()["paths"])


def test_every_success_is_given_and_as_documented(full: House):
    """Each operation with each of its good statuses, on real things; the machine compares body and document."""
    conformance.seen.clear()
    for name, method, template in OPERATIONS:
        if method == "get":
            query = "?scheme=dlms_ldn&value=ELS0000000000001" if name == "find_subject" else ""
            for asking in (full.admin, full.auditor, full.factory):
                asking.get(full.fill(template) + query)
        elif name in POSTS:
            full.admin.post(full.fill(template), POSTS[name], Idempotency_Key=name)
    signed = full.elster.sign(world.born(3))
    for _ in range(2):
        full.factory.post("/api/v1/batches", signed.ndjson, Content_Type=batches.NDJSON)
        full.factory.post("/api/v1/evidence", b"a,b\n1,2\n", **house.evidence_headers(b"a,b\n1,2\n"))
    full.admin.send("DELETE", full.fill("/api/v1/api-keys/{api_key_id}"))
    promised = {
        (operation["operationId"], int(status))
        for operations in openapi.document()["paths"].values()
        for operation in operations.values()
        for status in operation["responses"]
        if status < "300"
    }
    assert {each for each in conformance.seen if each[1] < 300} == promised


def test_every_operation_asks_for_the_credential_it_names(full: House):
    """Security as documented: without a key 401, and only where the document says so."""
    for name, method, template in OPERATIONS:
        response = NOBODY.send(method.upper(), full.fill(template))
        if "security" in openapi.document()["paths"][template][method]:
            problem(response, 401, "credential.missing")
        else:
            assert response.status_code == 200, name


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
def test_whatever_a_fuzzer_sends_is_answered_as_documented(full: House, mode: GenerationMode):
    """Schemathesis, valid and invalid requests for every operation, on real and on made-up things.

    No answer is undocumented, of another form, or a fault; nothing invalid is taken for valid.
    """
    requests_sent = 0
    fuzzed = schemathesis.openapi.from_dict(openapi.document())
    for result in fuzzed.get_all_operations():
        operation = result.ok()
        template, method = operation.path, operation.method.upper()
        real = {name: full.path[name] for name in full.path if f"{{{name}}}" in template}
        for path_parameters in [None, real] if real else [None]:
            strategy = operation.as_strategy(generation_mode=mode, path_parameters=path_parameters)
            with suppress(Unsatisfiable):  # there is nothing to get wrong in a GET without parameters
                requests_sent += _fuzz(full, method, strategy, is_valid=mode is GenerationMode.POSITIVE)
    assert requests_sent >= EXAMPLES * len(OPERATIONS) / 2


def _fuzz(full: House, method: str, strategy: Any, *, is_valid: bool) -> int:
    sent = 0

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=strategy)
    def send(case: Any) -> None:
        nonlocal sent
        sent += 1
        cache.clear()
        is_senders = case.path.startswith(("/api/v1/batches", "/api/v1/evidence"))
        response = _send(full.factory if is_senders else full.admin, method, case)
        assert response.status_code < 500, (response.status_code, case.as_curl_command())
        assert is_valid or not _is_wrong(case) or response.status_code >= 400, (case.as_curl_command(), case.meta)

    send()
    return sent


def _is_wrong(case: Any) -> bool:
    """Whether query, path or body break the document; headers alone may not, since several forms of them are taken."""
    wrong = {place.name for place, part in case.meta.components.items() if part.mode is GenerationMode.NEGATIVE}
    return bool(wrong & {"QUERY", "PATH", "BODY"})


def _send(sender: Machine, method: str, case: Any) -> Any:
    """One generated request, by way of the test client."""
    sent = case.as_transport_kwargs(base_url="http://testserver")
    prepared = requests.Request(
        method, sent["url"], params=sent.get("params"), data=sent.get("data"), json=sent.get("json")
    ).prepare()
    body = prepared.body.encode() if isinstance(prepared.body, str) else prepared.body
    kind = case.media_type or prepared.headers.get("Content-Type", "")
    chosen = {name: value for name, value in (case.headers or {}).items() if name.lower() != "authorization"}
    headers = {
        "Content_Type": kind or "application/json",
        **{name.replace("-", "_"): str(value) for name, value in chosen.items()},
    }
    return sender.send(method, prepared.path_url, body, **headers)


def _without_converters(route: str) -> str:
    return re.sub(r"<(?:[a-z0-9]+:)?([a-z0-9_]+)>", r"{\1}", route)
