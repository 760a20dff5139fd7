"""The pages through Django's own client: who may open what, what every answer carries, and what the forms record."""

import io
import json
import re
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest
from django.conf import settings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from compliance.accounts import policy
from compliance.accounts import selectors as accounts_selectors
from compliance.accounts.models import ApiKey
from compliance.api import openapi
from compliance.checks.models import Finding
from compliance.evidence.actions import submit_evidence
from compliance.evidence.intake import IncomingFile
from compliance.evidence.models import State
from compliance.frameworks.models import Framework
from compliance.jobs import clock
from compliance.ledger import selectors as ledger
from compliance.proof.keys import PrivateKey
from tests.accounts import world as accounts
from tests.web.pages import EVERYBODY, OPEN_TO, PUBLIC, address
from tests.web.world import HOSTILE, SPRING

pytestmark = pytest.mark.django_db
PROJECT = Path(__file__).resolve().parents[2]
MOST_QUERIES = 46  # of any page: most are the frame's counts and the policy's; none may grow with what is shown
QUERIES_A_CATALOGUE = 7  # coverage is computed for each on the page that lists them all
CSP = {
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' data:",
    "font-src 'self'",
    "connect-src 'self'",
    "form-action 'self'",
    "base-uri 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
}


def as_(world, username):
    client = Client()
    client.force_login(world.people[username], backend="django.contrib.auth.backends.ModelBackend")
    return client


class Markup(HTMLParser):
    """What a policy without 'unsafe-inline' would block, and the ids of the page."""

    def __init__(self, text):
        super().__init__()
        self.inline, self.ids, self._script = [], [], None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.inline += [f"{tag} {name}" for name in values if name == "style" or name.startswith("on")]
        self.inline += [f"{tag} {name}={value}" for name, value in attrs if "javascript:" in (value or "").lower()]
        if tag == "style" or (tag == "script" and "src" not in values and values.get("type") != "application/json"):
            self.inline.append(tag)
        self.ids += [values["id"]] if "id" in values else []


def test_nobody_reads_a_page_without_signing_in(world, client):
    for page in OPEN_TO:
        path = address(world, page)
        answer = client.get(path)
        assert (answer.status_code, answer.url.split("?")[0]) == (302, "/login"), path


@pytest.mark.parametrize("page", PUBLIC)
def test_public_pages_need_no_account(world, client, page):
    answer = client.get(PUBLIC[page])
    assert answer.status_code == 200
    assert set(answer["Content-Security-Policy"].split("; ")) == CSP
    assert not Markup(answer.content.decode()).inline


def test_the_page_of_the_interface_lists_every_operation_with_its_scope(world, client):
    lines = [line for group in client.get(PUBLIC["interface"]).context["groups"].values() for line in group]
    described = [
        (method.upper(), path, each)
        for path, methods in openapi.document()["paths"].items()
        for method, each in methods.items()
    ]
    assert {(line.method, line.path) for line in lines} == {(method, path) for method, path, _ in described}
    for line in lines:
        _, _, each = next(one for one in described if one[:2] == (line.method, line.path))
        assert line.scope in policy.ALL_SCOPES if "security" in each else not line.scope, line
        assert f"`{line.scope}`" in each["description"] or not line.scope, line


@pytest.mark.parametrize("username", sorted(EVERYBODY))
def test_each_role_opens_its_pages_and_no_other(world, username):
    client = as_(world, username)
    opened = {page: client.get(address(world, page)).status_code for page in OPEN_TO}
    expected = {page for page, people in OPEN_TO.items() if username in people}
    assert {page for page, status in opened.items() if status == 200} == expected, opened
    assert {status for page, status in opened.items() if page not in expected} <= {403, 404}


@pytest.mark.parametrize("page", OPEN_TO)
def test_every_page_is_strict_and_asks_little_of_the_database(world, page):
    client = as_(world, "hanna")
    with CaptureQueriesContext(
        connection,
    ) as asked:
        answer = client.get(address(world, page))
    budget = MOST_QUERIES + (QUERIES_A_CATALOGUE * Framework.objects.count() if page == "frameworks" else 0)
    assert len(asked) <= budget, [query["sql"][:120] for query in asked]
    assert set(answer["Content-Security-Policy"].split("; ")) == CSP
    assert answer["Cache-Control"] == "no-store"
    assert answer["X-Frame-Options"] == "DENY"
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Cross-Origin-Opener-Policy"] == "same-origin"
    text = answer.content.decode()
    markup = Markup(text)
    assert not markup.inline
    assert len(markup.ids) == len(set(markup.ids))
    assert text.count("<h1") == 1


def test_a_page_asks_no_more_for_more_rows(world):
    client = as_(world, "hanna")

    def asked(path):
        with CaptureQueriesContext(connection) as queries:
            assert client.get(path).status_code == 200
        return len(queries)

    asked("/meters")
    assert asked("/meters") == asked("/meters?q=2410")
    assert asked("/evidence") == asked("/evidence?q=ceremony")
    assert asked("/findings?view=all") == asked("/findings?view=all&q=2411")
    whole, short = (f"/meters/{world.meter_id(number)}" for number in (0, 5))
    assert abs(asked(whole) - asked(short)) <= 5  # 22 events and 3: what a meter has by kind, never by event


def test_what_others_wrote_is_shown_and_never_run(world):
    client = as_(world, "hanna")
    pages = [client.get(f"/evidence/{world.evidence[title].public_id}").content.decode() for title in HOSTILE]
    pages += [
        client.get(path).content.decode() for path in ("/", "/evidence", "/organisations", "/find?q=" + HOSTILE[0])
    ]
    for text in pages:
        assert "<script>alert" not in text
        assert "<img src=x" not in text
        assert not Markup(text).inline
    assert "{{ 7*7 }}{% debug %}" in pages[2]
    assert "&lt;script&gt;alert(&quot;a&quot;)&lt;/script&gt;" in pages[0]


def test_addresses_full_of_nonsense_are_answered_calmly(world):
    client = as_(world, "hanna")
    for query in (
        "after=%%%",
        "after=WyJhIl0",
        "after=W251bGwsbnVsbF0",
        "before=eyJ9",
        "sort=password",
        "rows=-1",
        "q=%00",
        "view=../..",
        "phase=x&maker=x",
        "after=WzEsMl0&sort=-events",
        "q=" + "a" * 5_000,
    ):
        for path in ("/meters", "/evidence", "/findings", "/reports", "/find"):
            assert client.get(f"{path}?{query}").status_code == 200, f"{path}?{query}"


def test_pages_follow_each_other_without_gap_or_repetition(world, monkeypatch):
    monkeypatch.setattr("compliance.web.paging.PAGE_SIZES", (2,))
    client = as_(world, "hanna")
    for sort in ("meter", "-recorded", "violations", "state"):
        seen, path = [], f"/meters?sort={sort}&rows=2"
        for _ in range(3):
            context = client.get(path).context
            seen.append([row["name"] for row in context["rows"]])
            following = context["page"].next
            path = f"/meters{following}"
        assert not following
        assert sorted(name for names in seen for name in names) == [
            f"454C53000000{2410 + number}" for number in range(6)
        ]
        back = client.get(f"/meters{context['page'].previous}").context
        assert [row["name"] for row in back["rows"]] == seen[1]


def test_facets_count_what_they_would_give(world):
    client = as_(world, "hanna")
    groups = {group.name: group for group in client.get("/meters").context["list"].groups}
    for choice in groups["phase"].choices:
        assert client.get(f"/meters?phase={choice.value}").context["total"] == choice.count, choice.value
    chosen = client.get("/meters?phase=operating&record=violations").context
    assert [chip.words for chip in chosen["list"].chips] == ["Operating", "With violations"]
    assert [row["name"] for row in chosen["rows"]] == ["454C530000002413"]


def test_a_meter_page_shows_a_chain_whose_links_match(world):
    text = as_(world, "hanna").get(address(world, "meter")).content.decode()
    chain = ledger.chain(ledger_subject(0))
    shown = re.findall(r'data-seq="(\d+)" data-hash="([0-9a-f]{64})"', text)
    assert [(entry.seq, entry.hash.hex()) for entry in reversed(chain)] == [(int(seq), digest) for seq, digest in shown]
    assert text.count("Signature valid") == len(chain)
    for entry in chain[1:]:
        assert text.count(f'title="{entry.prev.hex()}"') == 2, (
            entry.seq
        )  # as this event, and as the next one's previous


def ledger_subject(number):
    return f"meter:dlms_system_title:454C53000000{2410 + number}"


def test_violations_are_said_at_the_event_and_on_top(world):
    text = as_(world, "hanna").get(address(world, "meter with violations")).content.decode()
    assert "The claimed state is not assured" in text
    assert 'class="ev warn"' in text
    assert "Open findings" in text


def test_the_trust_data_of_the_page_is_that_of_the_folder(world):
    context = as_(world, "hanna").get(address(world, "meter")).context
    folder = settings.METERPROOF["TRUST_DIR"]
    assert context["trust"]["trust"] == (folder / "trust.json").read_text()
    assert context["trust"]["vkey"] == (folder / "log.vkey").read_text()


def test_a_proof_bundle_is_for_who_sees_the_whole_chain(world):
    path = f"{address(world, 'meter')}/proof"
    answer = as_(world, "hanna").get(path)
    assert answer["Content-Disposition"] == 'attachment; filename="454C530000002410.proof"'
    assert json.loads(answer.content)["subjects"][0] == ledger_subject(0)
    assert as_(world, "ingo").get(path).status_code == 403  # had it in hand for a while only
    both = as_(world, "hanna").get("/meters/proof", {"meter": [world.meter_id(0), world.meter_id(1)]})
    assert {ledger_subject(0), ledger_subject(1)} <= set(json.loads(both.content)["subjects"])
    assert as_(world, "hanna").get("/meters/proof").status_code == 404


def test_coverage_is_computed_with_its_reasons(world):
    client = as_(world, "hanna")
    context = client.get("/frameworks/iso27001-2022").context
    row = next(row for group in context["groups"] for row in group["rows"] if row["requirement"].ref == "A.8.24")
    assert row["cells"][0].count == 1  # of eight linked items, one is accepted
    page = client.get("/frameworks/iso27001-2022/A.8.24")
    assert [reason.kind for reason in page.context["reasons"] if reason.effect == "supports"][:1] == ["evidence"]
    text = page.content.decode()
    assert "Key ceremony record, cell OSN-2" in text
    gaps = client.get("/frameworks/iso27001-2022?view=gaps").context["groups"]
    assert all(row["status"][1] != "Supported" for group in gaps for row in group["rows"])
    assert ">editorial theme</span>" in client.get("/frameworks/uk-cpa-sm").content.decode()
    assert client.get("/frameworks/no-such").status_code == client.get("/frameworks/uk-cpa-sm/none").status_code == 404


def test_an_auditor_accepts_with_a_reason_and_it_is_recorded(world):
    found, client = world.evidence[HOSTILE[0]], as_(world, "hanna")
    path = address(world, "evidence to review")
    wrong = client.post(path, {"decision": "accept", "reason": " "})
    assert wrong.status_code == 422
    assert "<title>Error: " in wrong.content.decode()
    assert 'href="#id_reason"' in wrong.content.decode()
    answer = client.post(path, {"decision": "accept", "reason": "Read in full."}, follow=True)
    assert "Decision recorded in the ledger." in answer.content.decode()
    found.refresh_from_db()
    assert (found.state, found.reason) == (State.ACCEPTED, "Read in full.")
    assert ledger.chain(found.subject)[-1].value["event"]["type"] == "evidence.accepted"
    assert client.get(path).context["form"] is None
    assert client.post(path, {"decision": "return", "reason": "Changed my mind"}).status_code == 403


def test_only_an_auditor_reviews_and_never_own_work(world):
    path = address(world, "evidence to review")
    for username in ("anna", "max"):
        assert as_(world, username).get(path).context["form"] is None
        assert as_(world, username).post(path, {"decision": "accept", "reason": "x"}).status_code == 403
    house = world.people["hanna"].organisations[0]
    own = submit_evidence(
        by=world.people["hanna"],
        organisation=house,
        title="Working paper",
        kind="record",
        files=[IncomingFile("a.txt", "text/plain", io.BytesIO(b"a"))],
        covers_from=SPRING[0],
        covers_to=SPRING[1],
        produced_at=SPRING[1],
        links=[],
    )
    page = as_(world, "hanna").get(f"/evidence/{own.public_id}")
    assert page.context["form"] is None
    assert "nobody reviews what their own organisation handed in" in page.content.decode()


def test_a_file_somebody_sent_is_saved_and_never_opened_here(world):
    found = world.evidence[HOSTILE[0]]
    file = found.files.get()
    answer = as_(world, "hanna").get(f"/evidence/{found.public_id}/files/{file.sha256}")
    assert b"".join(answer.streaming_content) == b"record 2\n"
    assert answer["Content-Disposition"].startswith("attachment")
    assert answer["Content-Type"] == "application/octet-stream"
    assert answer["Content-Security-Policy"] == "sandbox; default-src 'none'"
    assert as_(world, "ingo").get(f"/evidence/{found.public_id}/files/{file.sha256}").status_code == 404
    assert as_(world, "hanna").get(f"/evidence/{found.public_id}/files/{'0' * 64}").status_code == 404


def test_an_auditor_closes_a_finding(world):
    path, client = address(world, "finding"), as_(world, "hanna")
    assert client.post(path, {"resolution": "", "reason": ""}).status_code == 422
    choice = client.get(path).context["form"].fields["resolution"].choices[0][0]
    assert as_(world, "stefan").post(path, {"resolution": choice, "reason": "x"}).status_code == 403
    client.post(path, {"resolution": choice, "reason": "The hand-over was on paper."})
    found = Finding.objects.get(pk=path.rpartition("/")[2])
    assert (found.state, found.resolution) == ("closed", choice)
    assert as_(world, "max").post("/findings/run").status_code == 403
    assert client.post("/findings/run").status_code == 302


def test_a_report_is_requested_and_its_file_saved(world):
    client = as_(world, "hanna")
    assert client.get("/reports?kind=meter_certificate&meter=ELS1").context["form"].initial["meter"] == "ELS1"
    for wrong in ({}, {"kind": "framework_audit"}, {"kind": "meter_certificate", "meter": "nobody"}):
        assert client.post("/reports", wrong).status_code == 422
    made = client.post("/reports", {"kind": "meter_certificate", "meter": "ELS0000000002411"})
    assert made.status_code == 302
    progress = client.get(f"{made.url}/progress").json()
    assert not progress["over"]
    assert client.get(f"{made.url}/content").status_code == 404
    assert as_(world, "max").post("/reports", {"kind": "framework_audit", "framework": "uk-cpa-sm"}).status_code == 403
    issued = client.get(f"{address(world, 'issued report')}/content")
    assert b"".join(issued.streaming_content)[:5] == b"%PDF-"
    assert issued["Content-Disposition"].startswith("attachment")
    assert "Sealed, development authority" in client.get(address(world, "reports")).content.decode()
    assert "the renderer ran out of memory" in client.get(address(world, "failed report")).content.decode()


def registration(id="neuwerk"):  # noqa: A002
    key = PrivateKey.generate("ed25519")
    return key, accounts.sign(id, [accounts.key_event(id, key)], [key]).ndjson


def upload(data, **changes):
    form = {"name": "Neuwerk AG", "roles": ["manufacturer"], "signature_policy": "required"}
    return {**form, "registration": SimpleUploadedFile("registration.ndjson", data), **changes}


def test_an_administrator_registers_an_organisation_with_its_first_key(world):
    key, data = registration()
    client = as_(world, "anna")
    for wrong in (
        upload(b"{}"),
        upload(data, name=""),
        upload(data, roles=[]),
        upload(data.replace(b"neuwerk", b"altwerk")),
    ):
        assert client.post("/organisations", wrong).status_code == 422
    assert as_(world, "hanna").post("/organisations", upload(data)).status_code == 403
    answer = client.post("/organisations", upload(data), follow=True)
    assert "Neuwerk AG is registered" in answer.content.decode()
    assert accounts_selectors.signing_keys([key.public.keyid])[key.public.keyid].organisation_id == "neuwerk"
    assert ledger.chain("organisation:platform:neuwerk") or ledger.chain(
        accounts_selectors.organisation("neuwerk").subject
    )
    again = client.post("/organisations", upload(data))
    assert again.status_code == 422


def test_an_api_key_is_shown_once_and_revoked(world):
    client = as_(world, "anna")
    assert client.post("/organisations/elster", {"scopes": [], "days": 0}).status_code == 422
    made = client.post("/organisations/elster", {"scopes": ["events:write"], "days": 5, "name": "line 2"})
    secret = made.context["secret"]
    assert made.status_code == 201
    assert secret in made.content.decode()
    assert secret not in client.get("/organisations/elster").content.decode()
    key = ApiKey.objects.get(name="line 2")
    assert key.expires_at - clock.now() < timedelta(days=5)
    path = f"/organisations/elster/api-keys/{key.identifier}/revoke"
    assert as_(world, "hanna").post(path).status_code in {403, 404}
    assert client.post(path).status_code == 302
    key.refresh_from_db()
    assert key.revoked_at is not None


def test_signing_in_and_out(world, client):
    wrong = client.post("/login", {"username": "hanna", "password": "wrong"})
    assert "The user name or the password is not right" in wrong.content.decode()
    assert wrong.content.decode().count("<title>Error: ") == 1
    right = client.post("/login?next=/meters", {"username": "hanna", "password": accounts.PASSWORD, "next": "/meters"})
    assert right.url == "/meters"
    elsewhere = {"username": "hanna", "password": accounts.PASSWORD, "next": "https://evil.example/"}
    assert Client().post("/login", elsewhere).url == "/"
    client.post("/logout")
    assert client.get("/").status_code == 302


def test_forms_are_protected_from_other_sites(world):
    client = Client(enforce_csrf_checks=True)
    client.force_login(world.people["anna"], backend="django.contrib.auth.backends.ModelBackend")
    answer = client.post("/organisations", {})
    assert answer.status_code == 403
    assert "This form is no longer valid" in answer.content.decode()


def test_a_failure_of_ours_tells_a_reference_and_nothing_else(world, monkeypatch):
    def broken(*_args, **_kwargs):
        raise RuntimeError("password=hunter2")

    monkeypatch.setattr("compliance.web.views.meters.trust_files", broken)
    client = as_(world, "hanna")
    client.raise_request_exception = False
    answer = client.get(address(world, "meter"))
    text = answer.content.decode()
    assert answer.status_code == 500
    assert "hunter2" not in text
    assert re.search(r"ref [0-9a-f]{4}-[0-9a-f]{4}", text)
    assert not Markup(text).inline
    assert set(answer["Content-Security-Policy"].split("; ")) == CSP


def test_what_is_not_there_and_what_one_may_not_see_look_alike(world):
    client = as_(world, "ingo")
    hidden, missing = client.get(address(world, "meter in the cell")), client.get(f"/meters/mtr_{'0' * 32}")
    assert hidden.status_code == missing.status_code == 404
    assert "There is nothing here" in hidden.content.decode()


def test_templates_and_scripts_use_nothing_that_the_policy_forbids():
    templates = [path for folder in ("web", ".") for path in (PROJECT / "templates" / folder).glob("*.html")]
    templates += (PROJECT / "templates/web").rglob("*.html")
    for path in set(templates):
        text = path.read_text()
        assert not re.search(r'\sstyle="|\son[a-z]+="|<style|\|safe\b|autoescape off|<script>(?!\{)', text), path
    for path in (PROJECT / "compliance/web/static/web").glob("*.js"):
        assert not re.search(
            r"\beval\(|new Function|innerHTML|outerHTML|document\.write|insertAdjacentHTML", path.read_text()
        ), path


@pytest.mark.parametrize("name", ["app.css", "app.js", "proof.js", "bundle.js", "verify.js", "icon.svg"])
def test_what_pages_are_drawn_with_is_served_from_a_fresh_clone(client, name):
    answer = client.get(f"/static/web/{name}")
    assert answer.status_code == 200
    assert b"".join(answer.streaming_content) == (PROJECT / "compliance/web/static/web" / name).read_bytes()
