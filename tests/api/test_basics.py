"""What holds for every address: problems, request ids, strict bodies and queries, credentials, paging, rates."""

import gzip
import json
import uuid
from datetime import timedelta

import pytest
from django.core.cache import cache
from django.db import OperationalError
from rest_framework.settings import api_settings

from compliance.accounts import actions, api_keys
from compliance.accounts.policy import SYSTEM
from compliance.api import throttles
from compliance.api.models import AnsweredRequest
from compliance.jobs import clock
from compliance.jobs.models import Job
from tests.accounts import world
from tests.api.machines import NOBODY, Machine, machine, problem

pytestmark = [pytest.mark.django_db, pytest.mark.both_engines, pytest.mark.usefixtures("log")]

NEW = {"id": "acme", "name": "Acme", "roles": ["manufacturer"], "first_key": f"sha256:{'0' * 64}"}


class TestProblems:
    """RFC 9457 everywhere under the addresses of machines."""

    @pytest.mark.parametrize("path", ["/api/v1/nothing", "/api/v2/service", "/api/", "/log/nothing", "/log/tile/0/1"])
    @pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "PATCH"])
    def test_404(self, path, method):
        problem(NOBODY.send(method, path), 404, "not_found")

    @pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
    def test_405_says_what_is_possible(self, method):
        response = NOBODY.send(method, "/api/v1/organisations")
        problem(response, 405, "method.not_allowed")
        assert response.headers["Allow"] == "GET, HEAD, POST"

    def test_405_of_the_log(self):
        problem(NOBODY.send("POST", "/log/checkpoint"), 405, "method.not_allowed")

    def test_a_wrong_host_is_a_problem_too(self, settings):
        settings.ALLOWED_HOSTS = ["right.example"]
        problem(NOBODY.get("/api/v1/service", Host="wrong.example"), 400, "request.malformed")

    def test_a_crash_says_nothing_of_the_inside(self, admin, monkeypatch, caplog):
        """500 without stack, SQL or names; the log has the cause."""

        def broken(*args, **kwargs):
            raise RuntimeError("SELECT secret FROM somewhere")

        monkeypatch.setattr("compliance.accounts.selectors.organisations_visible_to", broken)
        response = admin.get("/api/v1/organisations")
        said = problem(response, 500, "internal")
        assert "SELECT" not in json.dumps(said)
        assert "SELECT secret" in caplog.text

    @pytest.mark.parametrize(
        ("raised", "status", "code"),
        [
            (
                OperationalError("server closed the connection"),
                503,
                "unavailable",
            ),
            (OperationalError("database or disk is full"), 507, "storage.full"),
            (OSError(28, "No space left on device"), 507, "storage.full"),
        ],
    )
    def test_what_passes_says_when_to_come_back(self, admin, monkeypatch, raised, status, code):
        """F10, F11, F21: a full disk or a lost database is told as such, with Retry-After."""

        def failing(*args, **kwargs):
            raise raised

        monkeypatch.setattr("compliance.accounts.selectors.organisations_visible_to", failing)
        response = admin.get("/api/v1/organisations")
        said = problem(response, status, code)
        assert said["retry_after"] == int(response.headers["Retry-After"]) > 0

    def test_request_id_is_made_or_kept(self):
        made = NOBODY.get("/api/v1/service").headers["X-Request-Id"]
        assert uuid.UUID(made).version == 4
        mine = str(uuid.uuid4())
        assert NOBODY.get("/api/v1/service", X_Request_Id=mine).headers["X-Request-Id"] == mine

    @pytest.mark.parametrize("wanted", ["x", "a\tb", "../../etc", "é", "0" * 4000])
    def test_request_id_of_another_form_is_not_repeated(self, wanted):
        """F55: nothing a client writes lands in a header or a log line unread."""
        assert wanted not in NOBODY.get("/api/v1/service", X_Request_Id=wanted).headers["X-Request-Id"]


class TestCredentials:
    """T2, T18: no way in without a living key of the right scope."""

    @pytest.mark.parametrize(
        "header",
        [
            "Bearer",
            "Bearer ",
            "Bearer x",
            "Basic YWRtaW46YWRtaW4=",
            "Bearer " + "x" * 300,
            "Bearer mp_live_00000000_" + "0" * 38,
            "Token abc",
        ],
    )
    def test_anything_but_a_key(self, header):
        response = NOBODY.get("/api/v1/organisations", Authorization=header)
        problem(response, 401, "credential.wrong")
        assert response.headers["WWW-Authenticate"].startswith("Bearer ")

    def test_none(self):
        response = NOBODY.get("/api/v1/organisations")
        problem(response, 401, "credential.missing")
        assert response.headers["WWW-Authenticate"] == 'Bearer realm="meterproof"'

    def test_head_is_no_way_round(self):
        assert NOBODY.send("HEAD", "/api/v1/organisations").status_code == 401

    def test_a_session_is_no_credential_here(self, client):
        """A page in somebody's browser cannot use the interface with a cookie (CSRF)."""
        person = world.person("ada", world.join("acme", "manufacturer").organisation, "manager")
        client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
        problem(client.get("/api/v1/organisations"), 401, "credential.missing")

    def test_a_key_in_the_address_is_not_looked_at(self, admin):
        problem(NOBODY.get(f"/api/v1/organisations?api_key={admin.secret}"), 401, "credential.missing")

    def test_a_missing_scope_is_named(self):
        world.join("acme", "manufacturer")
        said = problem(machine("acme", "events:read").post("/api/v1/organisations", NEW), 403, "credential.scope")
        assert "organisations:write" in said["detail"]

    def test_revoked_and_ended(self, admin):
        assert admin.get("/api/v1/organisations").status_code == 200
        actions.revoke_api_key(by=SYSTEM, key=admin.key)
        problem(admin.get("/api/v1/organisations"), 401, "credential.wrong")

    def test_every_wrong_key_gets_the_same_answer(self, admin):
        """T1: unknown, mistyped and revoked keys cannot be told apart."""
        other = Machine(machine("platform", "events:read").secret)
        key = api_keys.recognise(other.secret, at=clock.now())
        actions.revoke_api_key(by=SYSTEM, key=key)
        answers = []
        for secret in (other.secret, api_keys.generate().text, admin.secret[:-1] + "_"):
            said = Machine(secret).get("/api/v1/organisations").json()
            del said["instance"]
            answers.append(said)
        assert answers[0] == answers[1] == answers[2]


class TestBodies:
    """F50-F54, F58: what is not clear JSON of the right shape is refused with the place."""

    @pytest.mark.parametrize(
        ("body", "status", "code"),
        [
            (b"", 400, "json.syntax"),
            (b"{", 400, "json.syntax"),
            (b"{} {}", 400, "json.syntax"),
            (b"\xef\xbb\xbf{}", 400, "json.syntax"),
            (b'{"id":"a","id":"b"}', 400, "json.duplicate_name"),
            (b'{"id":NaN}', 422, "json.number"),
            (b'{"id":1e999}', 422, "json.number"),
            (b'{"id":1.5}', 422, "json.number"),
            (b'{"id":9007199254740993}', 422, "json.number"),
            (b'{"id":' + b"9" * 5000 + b"}", 422, "json.number"),
            (b'{"id":"\\ud800"}', 422, "json.surrogate"),
            (b'{"id":"\\u0000"}', 422, "json.nul"),
            (b'{"id":"\xff"}', 400, "json.utf8"),
            (b'{"ID":"a"}', 422, "json.name"),
            (b"[" * 100_000, 413, "body.too_large"),
            (b"[" * 50_000, 400, "json.depth"),
            (b"[]", 422, "request.value"),
            (b'"text"', 422, "request.value"),
            (b"null", 422, "request.value"),
        ],
    )
    def test_strict_json(self, admin, body, status, code):
        problem(admin.post("/api/v1/organisations", body), status, code)

    @pytest.mark.parametrize(
        ("change", "pointer"),
        [
            ({"id": None}, "/id"),
            ({"id": 5}, "/id"),
            ({"id": "Acme"}, "/id"),
            ({"id": "acme\n"}, "/id"),
            ({"name": ""}, "/name"),
            ({"name": 7}, "/name"),
            ({"name": "x" * 201}, "/name"),
            ({"roles": []}, "/roles"),
            ({"roles": "manufacturer"}, "/roles"),
            ({"roles": ["king"]}, "/roles/0"),
            ({"first_key": "sha256:xyz"}, "/first_key"),
            ({"signature_policy": "whatever"}, "/signature_policy"),
            ({"is_platform": True}, "/is_platform"),
        ],
    )
    def test_each_wrong_member_is_named(self, admin, change, pointer):
        """API3: no member more than the shape has is taken, silently or otherwise."""
        said = problem(admin.post("/api/v1/organisations", {**NEW, **change}), 422, "request.value")
        assert [error["pointer"] for error in said["errors"]] == [pointer]
        assert said["error_count"] == 1

    @pytest.mark.parametrize("missing", sorted(NEW))
    def test_each_missing_member_is_named(self, admin, missing):
        body = {name: value for name, value in NEW.items() if name != missing}
        said = problem(admin.post("/api/v1/organisations", body), 422, "request.value")
        assert [error["pointer"] for error in said["errors"]] == [f"/{missing}"]

    @pytest.mark.parametrize("kind", ["text/plain", "application/xml", "multipart/form-data; boundary=x", ""])
    def test_another_media_type(self, admin, kind):
        response = admin.post("/api/v1/organisations", json.dumps(NEW).encode(), Content_Type=kind)
        problem(response, 415, "media_type.unsupported")

    def test_length_must_be_said_and_true(self, admin):
        """F58: a body cut short, or without a length, is not taken."""
        body = json.dumps(NEW).encode()
        problem(admin.post("/api/v1/organisations", body, Content_Length=""), 411, "length.required")
        problem(admin.post("/api/v1/organisations", body, Content_Length=str(len(body) + 10)), 400, "request.truncated")
        problem(admin.post("/api/v1/organisations", body, Content_Length="-5"), 411, "length.required")

    def test_gzip_is_unpacked_within_bounds(self, admin):
        """T3, F57: a compressed bomb costs its first bytes only."""
        world_before = json.dumps(NEW).encode()
        response = admin.post("/api/v1/organisations", gzip.compress(world_before), Content_Encoding="gzip")
        assert response.status_code == 201
        bomb = gzip.compress(b" " * 50_000_000)
        problem(admin.post("/api/v1/organisations", bomb, Content_Encoding="gzip"), 413, "body.too_large")
        problem(
            admin.post("/api/v1/organisations", gzip.compress(world_before)[:-4], Content_Encoding="gzip"),
            400,
            "encoding.broken",
        )
        problem(admin.post("/api/v1/organisations", b"plain", Content_Encoding="gzip"), 400, "encoding.broken")
        problem(admin.post("/api/v1/organisations", b"{}", Content_Encoding="br"), 415, "encoding.unsupported")


class TestQueries:
    """Parameters are strict, cursors are ours."""

    @pytest.mark.parametrize(
        "query", ["limit=0", "limit=201", "limit=x", "limit=5&limit=6", "limit=", "page=2", "limit=\u0665"]
    )
    def test_unknown_or_wrong_parameters(self, admin, query):
        said = problem(admin.get(f"/api/v1/organisations?{query}"), 400, "request.parameter")
        assert said["errors"][0]["parameter"] in {"limit", "page"}

    def test_pages_follow_without_gap_or_repetition(self, admin):
        for name in ("alpha", "bravo", "charlie", "delta"):
            world.join(name, "utility")
        seen, path = [], "/api/v1/organisations?limit=2"
        while path:
            response = admin.get(path)
            body = response.json()
            assert len(body["items"]) <= 2
            seen += [item["id"] for item in body["items"]]
            path = body["next"] and f"/api/v1/organisations?limit=2&cursor={body['next']}"
            assert ("Link" in response.headers) is bool(path)
        assert seen == ["alpha", "bravo", "charlie", "delta", "platform"]

    def test_a_cursor_is_bound_to_list_and_credential(self, admin):
        """T5, T19: a cursor is no key to another list, and cannot be made up."""
        for name in ("alpha", "bravo"):
            world.join(name, "utility")
        cursor = admin.get("/api/v1/organisations?limit=1").json()["next"]
        other = machine("platform", "organisations:write", "api-keys:write")
        problem(other.get(f"/api/v1/organisations?cursor={cursor}"), 400, "request.cursor")
        problem(admin.get(f"/api/v1/api-keys?cursor={cursor}"), 400, "request.cursor")
        for forged in (cursor[:-1], cursor + "x", "ImFscGhhIg", "x:y", "%F0%9F%94%91"):
            problem(admin.get(f"/api/v1/organisations?cursor={forged}"), 400, "request.cursor")


class TestRates:
    """T3, G20: one credential cannot take everything."""

    def test_429_with_the_time_to_wait(self, admin, monkeypatch):
        monkeypatch.setattr(throttles, "READS", throttles.Bucket("reads", rate=0.5, burst=3))
        now = clock.now()
        with clock.use(lambda: now):
            answers = [admin.get("/api/v1/organisations") for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        said = problem(answers[3], 429, "rate.exceeded")
        assert said["retry_after"] == 2
        assert answers[0].headers["RateLimit-Policy"] == '"reads";q=3;w=6'
        assert answers[0].headers["RateLimit"] == '"reads";r=2;t=2'
        assert machine("platform", "organisations:write").get("/api/v1/organisations").status_code == 200

    def test_tokens_come_back(self, admin, monkeypatch):
        monkeypatch.setattr(throttles, "READS", throttles.Bucket("reads", rate=1, burst=1))
        now = clock.now().replace(microsecond=0)
        for seconds, status in ((0, 200), (0, 429), (1, 200)):
            with clock.use(lambda moment=now + timedelta(seconds=seconds): moment):
                assert admin.get("/api/v1/organisations").status_code == status
        cache.clear()

    def test_nobody_empties_the_bucket_of_a_key_by_naming_it_as_his_address(self, admin, monkeypatch):
        monkeypatch.setattr(throttles, "READS", throttles.Bucket("reads", rate=0.001, burst=2))
        for _ in range(5):
            NOBODY.get("/api/v1/service", X_Forwarded_For=str(admin.key.pk))
        assert admin.get("/api/v1/organisations").status_code == 200

    def test_nobody_gets_a_fresh_bucket_by_making_up_an_address(self, monkeypatch):
        monkeypatch.setattr(throttles, "READS", throttles.Bucket("reads", rate=0.001, burst=2))
        answers = [NOBODY.get("/api/v1/service", X_Forwarded_For=f"10.0.0.{each}") for each in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]

    def test_behind_a_proxy_the_address_is_what_the_proxy_added(self, monkeypatch):
        monkeypatch.setattr(throttles, "READS", throttles.Bucket("reads", rate=0.001, burst=1))
        monkeypatch.setattr(api_settings, "NUM_PROXIES", 1)
        for forwarded, status in (("10.0.0.1", 200), ("10.0.0.2", 200), ("6.6.6.6, 10.0.0.1", 429)):
            assert NOBODY.get("/api/v1/service", X_Forwarded_For=forwarded).status_code == status


class TestIdempotency:
    """What must not be done twice is answered twice."""

    BODY = {"organisation": "platform", "scopes": ["events:read"], "days": 10}

    def test_the_same_key_gives_the_same_answer_and_one_effect(self, admin):
        first = admin.post("/api/v1/api-keys", self.BODY, Idempotency_Key='"abc-1"')
        again = admin.post("/api/v1/api-keys", self.BODY, Idempotency_Key="abc-1")
        assert first.status_code == again.status_code == 201
        assert first.json() == again.json()
        assert again.headers["Idempotency-Replayed"] == "true"
        assert "Idempotency-Replayed" not in first.headers
        assert len(admin.get("/api/v1/api-keys").json()["items"]) == 2

    def test_the_stored_answer_is_sealed(self, admin):
        """T15, G21: a dump of the table shows no secret."""
        secret = admin.post("/api/v1/api-keys", self.BODY, Idempotency_Key="abc-2").json()["secret"]
        row = AnsweredRequest.objects.values().get()
        assert secret.encode() not in bytes(row["sealed"])
        assert secret not in repr(row)

    def test_another_request_with_the_key(self, admin):
        admin.post("/api/v1/api-keys", self.BODY, Idempotency_Key="abc-3")
        other = {**self.BODY, "days": 11}
        problem(admin.post("/api/v1/api-keys", other, Idempotency_Key="abc-3"), 422, "idempotency.reused")

    def test_without_the_key(self, admin):
        problem(admin.post("/api/v1/api-keys", self.BODY), 400, "idempotency.missing")
        for form in ("", '""', "a b", "x" * 256, "schlüssel"):
            response = admin.post("/api/v1/api-keys", self.BODY, Idempotency_Key=form)
            problem(response, 400, "idempotency.form")

    def test_keys_of_two_credentials_do_not_meet(self, admin):
        other = machine("platform", "api-keys:write")
        first = admin.post("/api/v1/api-keys", self.BODY, Idempotency_Key="same").json()
        second = other.post("/api/v1/api-keys", self.BODY, Idempotency_Key="same").json()
        assert first["id"] != second["id"]

    def test_a_refusal_is_not_remembered(self, admin):
        """The retry after a refusal does real work."""
        wrong = {"organisation": "acme", "scopes": ["events:read"]}
        problem(admin.post("/api/v1/api-keys", wrong, Idempotency_Key="abc-4"), 422, "organisation.unknown")
        world.join("acme", "manufacturer")
        assert admin.post("/api/v1/api-keys", wrong, Idempotency_Key="abc-4").status_code == 201


def test_service_tells_what_a_client_needs():
    """keygen asks for the origin before there is any credential."""
    said = NOBODY.get("/api/v1/service").json()
    assert said["log"] == "meterproof.example/log"
    assert said["log_key"].startswith("meterproof.example/log+")
    assert said["receipt_keys"][0]["keyid"] != said["platform_key"]["keyid"]
    assert said["limits"]["batch_events"] == 1000
    assert {"manufacturer", "utility", "auditor"} <= set(said["market_roles"])


def test_a_job_is_shown_to_those_who_may(admin):
    job = Job.objects.create(task="checks.sweep", run_at=clock.now(), created_at=clock.now(), failure="a\nwrong")
    said = admin.get(f"/api/v1/jobs/{job.pk}").json()
    assert (said["state"], said["percent"], said["failure"]) == ("queued", 0, "wrong")
    world.join("acme", "manufacturer")
    response = machine("acme", "reports:read").get(f"/api/v1/jobs/{job.pk}")
    problem(response, 403, "not_allowed")
    problem(admin.get(f"/api/v1/jobs/job_{'0' * 32}"), 404, "not_found")
