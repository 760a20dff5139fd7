"""The pages in Chromium: nothing against them from axe-core, no error of policy or script, and proofs really checked.

Every page is opened once in the light theme on a wide screen and once in the dark theme on a narrow one. Whatever a
page logs as an error or warning fails its test (`Browser.page`), so that each test is one of the policy too.
"""

import base64
import json
import re
from pathlib import Path

import pytest
from django.test import override_settings

from compliance.proof import subject
from compliance.proof.canonical import encode
from compliance.proof.note import TYPE_MLDSA44, NoteSigner, sign
from compliance.proof.post_quantum import PostQuantumPrivateKey
from compliance.proof.verify import verify_file
from tests.proof.vectors import CASES, METERPROOF
from tests.proof.world import World, key_of
from tests.web.pages import OPEN_TO, PUBLIC, address

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(180)]
BUNDLES = [case for case in CASES if case["kind"] == "bundle"]
READER = dict.fromkeys([*OPEN_TO], "hanna") | dict.fromkeys(PUBLIC) | {"organisations": "anna", "organisation": "anna"}


@pytest.mark.parametrize("name", [*OPEN_TO, *PUBLIC])
def test_a_page_is_accessible_and_fits(chromium, world, name):
    reader = READER[name]
    with chromium.page(reader) as page:
        assert page.goto(address(world, name)).status == 200
        chromium.look_at(page)


def test_pages_of_errors_are_accessible(chromium, world):
    with chromium.page("hanna", allowed=("404 (Not Found)",)) as page:
        assert page.goto("/meters/none").status == 404
        assert chromium.axe_violations(page) == []
    with chromium.page("regina", allowed=("403 (Forbidden)",), theme="dark") as page:
        assert page.goto("/evidence").status == 403
        assert chromium.axe_violations(page) == []
    with chromium.page(None, allowed=("400 (Bad Request)",)) as page:
        assert page.goto(chromium.server.replace("127.0.0.1", "localhost")).status == 400  # a name we do not serve
        assert "This request cannot be read" in page.inner_text("h1")
        chromium.look_at(page)


def test_a_failure_of_ours_is_shown_accessibly(chromium, world, monkeypatch):
    def broken(*_args, **_kwargs):
        raise RuntimeError

    monkeypatch.setattr("compliance.web.views.meters.trust_files", broken)
    with chromium.page("hanna", allowed=("500 (Internal Server Error)",)) as page:
        assert page.goto(address(world, "meter")).status == 500
        assert "This page failed to load" in page.inner_text("h1")
        chromium.look_at(page)


def test_a_form_that_came_without_its_cookie_is_refused_accessibly(chromium):
    with chromium.page(None, allowed=("403 (Forbidden)",)) as page:
        page.goto("/login")
        page.context.clear_cookies()
        page.click("button[type=submit]")
        page.wait_for_selector("text=This form is no longer valid")
        chromium.look_at(page)


def test_whoever_guesses_too_often_is_told_accessibly(chromium):
    with (
        override_settings(AXES_ENABLED=True, AXES_FAILURE_LIMIT=2),
        chromium.page(None, allowed=("429 (Too Many Requests)",)) as page,
    ):
        page.goto("/login")
        for _ in range(2):
            page.fill("#id_username", "nobody")
            page.fill("#id_password", "wrong")
            page.click("button[type=submit]")
            page.wait_for_selector(".errsum, h1:text('Too many attempts')")
        assert page.inner_text("h1") == "Too many attempts"
        chromium.look_at(page)


@pytest.mark.parametrize(
    ("reader", "name", "button", "status"),
    [
        ("hanna", "evidence to review", "Record decision", 422),
        ("hanna", "reports", "Request report", 422),
        ("anna", "organisations", "Register organisation", 422),
        ("anna", "organisation", "Make API key", 422),
        (None, "sign in", "Sign in", 200),
    ],
)
def test_a_form_with_errors_is_accessible_and_takes_the_focus(chromium, world, reader, name, button, status):
    with chromium.page(reader, allowed=("422 (Unprocessable",)) as page:
        page.goto(address(world, name))
        with page.expect_response(lambda answer: answer.request.method == "POST") as answered:
            page.click(f"main button:has-text('{button}')")
        assert answered.value.status == status
        page.wait_for_selector(".errsum")
        assert page.title().startswith("Error: ")
        assert page.evaluate("document.activeElement.className") == "errsum"
        links = page.locator(".errsum a").evaluate_all("links => links.map(link => link.getAttribute('href'))")
        assert links
        assert [link for link in links if link == "#" or page.locator(link).count() != 1] == []
        chromium.look_at(page)


def test_the_page_that_shows_a_new_api_key_is_accessible(chromium, world):
    with chromium.page("anna") as page:
        page.goto(address(world, "organisation"))
        page.check("input[value='events:write']")
        page.click("text=Make API key")
        assert page.inner_text("#secret").startswith("mp_live_")
        assert page.is_visible("text=Copy the key")
        chromium.look_at(page)


def conclusion(page):
    """What the panel says at the end, and the step that failed."""
    page.wait_for_selector("[data-out]:not([hidden])")
    failed = page.locator('li[data-step][data-state="bad"]')
    return page.inner_text("[data-out]"), failed.first.get_attribute("data-step") if failed.count() else None


@pytest.mark.parametrize("name", ["meter", "meter with violations", "meter in the cell"])
def test_the_panel_verifies_an_honest_meter(chromium, world, name):
    with chromium.page("hanna") as page:
        page.goto(address(world, name))
        page.click("[data-verify]")
        said, failed = conclusion(page)
        assert said.startswith("Verified in this browser in "), said
        assert failed is None
        assert page.locator('li[data-step][data-state="ok"]').count() == 7
        assert page.inner_text("#live") == said


def test_the_panel_finds_one_altered_event(chromium, world):
    with chromium.page("hanna") as page:
        page.goto(address(world, "meter"))
        page.click("[data-tamper]")
        said, failed = conclusion(page)
        assert re.match(r"Does not verify: .* \(proof\.inclusion, leaf \d+\)", said), said
        assert failed == "inclusion"
        assert chromium.axe_violations(page) == []
        page.click("[data-verify]")  # the honest bundle again
        page.wait_for_function("document.querySelector('[data-out]').textContent.startsWith('Verified')")


def entry_of(item):
    return json.loads(base64.b64decode(item["entry"])) if "entry" in item else {}


def own(bundle):
    """Places of the meter's own entries."""
    subject = bundle["subjects"][0]
    return [place for place, item in enumerate(bundle["entries"]) if entry_of(item).get("subject") == subject]


def drop_one(bundle):
    del bundle["entries"][own(bundle)[4]]


def drop_the_last(bundle):
    del bundle["entries"][own(bundle)[-1]]


def swap_two(bundle):
    one, other = (bundle["entries"][place] for place in own(bundle)[3:5])
    one["entry"], other["entry"] = other["entry"], one["entry"]


def edit_one(bundle):
    item = bundle["entries"][own(bundle)[2]]
    entry = entry_of(item)
    entry["event"]["occurred_at"] = "2026-01-01T00:00:00.000000Z"
    item["entry"] = base64.b64encode(encode(entry)).decode()


def sign_falsely(bundle):
    bundle["heads"]["signatures"][0]["sig"] = base64.b64encode(b"\1" * 64).decode()


def forge_the_checkpoint(bundle):
    lines = bundle["checkpoint"].split("\n")
    lines[1] = str(int(lines[1]) + 1)
    bundle["checkpoint"] = "\n".join(lines)


def another_log(bundle):
    bundle["log"] = "evil.example/log"


@pytest.mark.parametrize(
    ("change", "step", "code", "place"),
    [
        (drop_one, "chain", "chain.gap", "event 5"),
        (drop_the_last, "heads", "bundle.incomplete", "454C530000002410"),
        (swap_two, "inclusion", "proof.inclusion", "leaf "),
        (edit_one, "inclusion", "proof.inclusion", "leaf "),
        (sign_falsely, "heads", "", "heads"),
        (forge_the_checkpoint, "checkpoint", "note.signature", "checkpoint"),
        (another_log, "file", "bundle.log", "bundle"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_the_panel_names_the_link_that_fails(chromium, world, change, step, code, place):
    """A server, or somebody on the way, gives out a bundle that was changed."""

    def tampered(route):
        bundle = json.loads(route.fetch().body())
        change(bundle)
        route.fulfill(body=encode(bundle), content_type="application/json")

    with chromium.page("hanna") as page:
        page.route("**/proof", tampered)
        page.goto(address(world, "meter"))
        page.click("[data-verify]")
        said, failed = conclusion(page)
        found = re.match(r"Does not verify: .* \(([a-z_.]+), (.*)\)\. Do not rely", said)
        assert found, said
        assert found[1].startswith(code), said
        assert place in found[2], said
        assert failed == step


def test_a_page_that_shows_another_event_than_the_proven_one_is_called_out(chromium, world):
    def falsified(route):
        answer = route.fetch()
        text = re.sub(r'(data-seq="7" data-hash=")[0-9a-f]{64}', rf"\g<1>{'0' * 64}", answer.text())
        route.fulfill(response=answer, body=text)

    with chromium.page("hanna") as page:
        page.route(re.compile(r"/meters/mtr_[0-9a-f]+$"), falsified)
        page.goto(address(world, "meter"))
        page.click("[data-verify]")
        said, _ = conclusion(page)
        assert said.startswith("The proof holds, but event 7 on this page is not the one it proves."), said


def test_the_check_needs_no_network_once_the_file_is_here(chromium, world, tmp_path):
    bundle = tmp_path / "meter.proof"
    with chromium.page("hanna") as page:
        answer = page.request.get(f"{address(world, 'meter')}/proof")
        bundle.write_bytes(answer.body())
    with chromium.page(None) as page:
        page.goto("/verify")
        page.wait_for_load_state("networkidle")
        page.context.set_offline(True)
        page.set_input_files("#pick", bundle)
        page.wait_for_selector('[data-verdict="ok"]:not([hidden])')
        assert "Genuine and unchanged" in page.inner_text("main")
        bundle.write_bytes(bundle.read_bytes().replace(b'"leaf":', b'"leaf": ', 1))
        page.set_input_files("#pick", [])
        page.set_input_files("#pick", bundle)
        page.wait_for_selector('[data-verdict="bad"]:not([hidden])')
        assert "json.not_canonical" in page.inner_text('[data-verdict="bad"]')
        bundle.write_bytes(b"%PDF-1.7")
        page.set_input_files("#pick", [])
        page.set_input_files("#pick", bundle)
        page.wait_for_selector('[data-verdict="warn"]:not([hidden])')


def test_readers_bring_their_own_trust(chromium, world):
    folder = METERPROOF / "trust"
    with chromium.page(None) as page:
        page.goto("/verify")
        page.click("text=Use your own trust files")
        page.set_input_files("[data-trust]", [folder / "trust.json", folder / "policy"])
        page.wait_for_function("document.querySelector('[data-trust-said]').textContent.startsWith('Using your own')")
        page.set_input_files("#pick", METERPROOF / "valid" / "meter.proof")
        page.wait_for_selector('[data-verdict="ok"]:not([hidden])')
        page.set_input_files("[data-trust]", [])
        page.set_input_files("#pick", METERPROOF / "valid" / "redacted.proof")
        page.wait_for_selector('[data-verdict="bad"]:not([hidden])')
        assert "bundle.log" in page.inner_text('[data-verdict="bad"]')


def test_the_browser_and_the_command_line_agree_on_every_vector(chromium, world):
    """Each bundle of the published vectors, with the trust folder it names: the same exit status and reason."""
    with chromium.page(None) as page:
        page.goto("/verify")
        for case in BUNDLES:
            folder = METERPROOF / case["trust"]
            files = {"trust": (folder / "trust.json").read_text(), "policy": (folder / "policy").read_text()}
            result = verified_in(page, (METERPROOF / case["file"]).read_bytes(), files)
            assert result == {"exit": case["exit"], "code": case["expect"]}, case["id"]


def verified_in(page, data, files):
    return page.evaluate(
        """([data, files]) => Meterproof.verifyBundle(
             Uint8Array.from(atob(data), c => c.charCodeAt(0)), files, () => null)
           .then(result => ({exit: result.exit, code: result.code || "ok"}))""",
        [base64.b64encode(data).decode(), files],
    )


def test_a_browser_passes_over_a_post_quantum_line_and_says_when_it_cannot(chromium, world):
    """ML-DSA-44 beside the log's line: WebCrypto has none, so it is passed over unless the quorum needs it."""
    trust, policy = ((METERPROOF / "trust" / name).read_text() for name in ("trust.json", "policy"))
    bundle = json.loads((METERPROOF / "valid/meter.proof").read_bytes())
    text = bundle["checkpoint"].rpartition("\n\n")[0] + "\n"
    signer = NoteSigner(bundle["log"], PostQuantumPrivateKey.generate(), TYPE_MLDSA44)
    bundle["checkpoint"] += signer.line(text, time=1_777_878_000)
    data = encode(bundle)
    lines = policy.replace("quorum ", f"witness pq {signer.vkey}\nquorum ")
    asked = policy.replace("quorum w1", f"witness pq {signer.vkey}\ngroup both all w1 pq\nquorum both")
    assert asked != policy
    with chromium.page(None) as page:
        page.goto("/verify")
        for wanted, said in (
            (policy, {"exit": 0, "code": "ok"}),
            (lines, {"exit": 0, "code": "ok"}),
            (f"log {signer.vkey}\n{policy}", {"exit": 0, "code": "ok"}),
            (asked, {"exit": 2, "code": "policy.quorum"}),
        ):
            assert verified_in(page, data, {"trust": trust, "policy": wanted}) == said


def rotated(tmp_path, *, reason, effective_at):
    """A bundle from before a change of both keys, and the trust folders of then, of the overlap and of afterwards."""
    world = World()
    world.create()
    world.register_organisation("acme", "acme")
    about = subject.log(world.origin)
    old = world.write_trust(tmp_path / "old", quorum="none")
    before, old_log, old_receipt = world.bundle(subject.organisation("acme")), world.signer, world.receipt_key
    new_log = NoteSigner(world.origin, key_of("log-2"))
    added = {"use": "log", "key": new_log.vkey}
    world.append("platform", ["platform"], [world.event(about, "log.key_added", added)])
    added = {"use": "receipt", "key": key_of("receipt-2").public.to_object()}
    world.append("platform", ["platform"], [world.event(about, "log.key_added", added)])
    overlap = world.bundle(
        subject.organisation("acme"), checkpoint=sign(world.checkpoint().to_text(), [old_log, new_log])
    )
    for use, keyid in (("log", old_log.verifier.id.hex()), ("receipt", old_receipt.public.keyid)):
        data = {"use": use, "keyid": keyid, "effective_at": effective_at, "reason": reason}
        world.append("platform", ["platform"], [world.event(about, "log.key_revoked", data)])
    world.log_key, world.receipt_key = key_of("log-2"), key_of("receipt-2")
    new = world.write_trust(tmp_path / "new", quorum="none")
    lines = (new / "policy").read_text()
    (new / "policy").write_text(f"log {old_log.vkey}\n{lines}")
    trust = json.loads((new / "trust.json").read_bytes())
    trust["receipt_keys"].append(old_receipt.public.to_object())
    trust["receipt_keys"].sort(key=lambda key: key["keyid"])
    (new / "trust.json").write_bytes(encode(trust))
    (new / "log-keys.proof").write_bytes(world.bundle(about))
    return {"before": before, "overlap": overlap}, old, new


def texts_of(folder):
    """The trust folder as the page hands it to the script."""
    names = {"trust": "trust.json", "policy": "policy", "vkey": "log.vkey", "keyProof": "log-keys.proof"}
    return {key: (folder / name).read_text() for key, name in names.items() if (folder / name).exists()}


EARLY, LATE = "2020-01-01T00:00:00Z", "2030-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("reason", "effective_at", "before", "overlap"),
    [
        ("superseded: yearly", LATE, "ok", "ok"),
        ("compromised", EARLY, "key.revoked", "key.revoked"),
        ("compromised", LATE, "key.revoked", "ok"),
    ],
)
def test_revoked_keys_of_the_log_count_in_the_browser_as_offline(
    chromium, world, tmp_path, reason, effective_at, before, overlap
):
    bundles, old, new = rotated(tmp_path, reason=reason, effective_at=effective_at)
    wanted = {"before": before, "overlap": overlap}
    with chromium.page(None) as page:
        page.goto("/verify")
        for name, data in bundles.items():
            (tmp_path / name).write_bytes(data)
            for trust, code in ((old, "ok"), (new, wanted[name])):
                offline = verify_file(tmp_path / name, trust)
                said = verified_in(page, data, texts_of(trust))
                assert said == {"exit": int(code != "ok"), "code": code}, (name, trust.name)
                assert (offline.exit_status, offline.error.code if offline.error else "ok") == tuple(said.values())
            without = {key: text for key, text in texts_of(new).items() if key != "keyProof"}
            assert verified_in(page, data, without) == {"exit": 0, "code": "ok"}
        broken = texts_of(new) | {"keyProof": bundles["before"].decode()}
        assert verified_in(page, bundles["before"], broken) == {"exit": 2, "code": "trust.form"}


def test_pages_work_without_script(chromium, world):
    with chromium.page("hanna", script=False) as page:
        page.goto("/meters")
        assert page.locator("tbody tr").count() == 6
        page.check('input[name="phase"][value="operating"]')
        page.click("text=Apply filters")
        assert page.locator("tbody tr").count() == 3
        page.click("th[scope=row] a >> nth=0")
        assert page.locator(".chain .ev").count() > 10
        assert not page.is_visible("[data-verify]")
        assert "Verifying here needs JavaScript" in page.inner_text(".verify")


def test_the_keyboard_reaches_everything(chromium, world):
    with chromium.page("hanna") as page:
        page.goto("/meters")
        page.keyboard.press("j")
        page.keyboard.press("j")
        page.keyboard.press("k")
        first = page.evaluate("document.activeElement.closest('tr') && document.activeElement.closest('tr').rowIndex")
        assert first == 1
        page.keyboard.press("g")
        page.keyboard.press("f")
        page.wait_for_url("**/frameworks")
        page.keyboard.press("Control+k")
        page.wait_for_selector("dialog.cmd[open]")
        assert chromium.axe_violations(page) == []
        page.keyboard.type("454C530000002410")
        page.keyboard.press("Enter")
        page.wait_for_url("**/meters/mtr_*")
        page.keyboard.press("v")
        assert conclusion(page)[0].startswith("Verified")


def test_a_theme_that_was_chosen_stays(chromium, world):
    with chromium.page("hanna") as page:
        page.goto("/")
        while page.inner_text("[data-theme-toggle]") != "Theme: dark":
            page.click("[data-theme-toggle]")
        page.goto("/meters")
        assert page.inner_text("[data-theme-toggle]") == "Theme: dark"
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(247, 247, 243)"
        assert chromium.axe_violations(page) == []


def test_the_waiting_report_follows_its_job(chromium, world):
    with chromium.page("hanna") as page:
        page.goto(address(world, "waiting report"))
        with page.expect_response(re.compile("/progress$")) as asked:
            page.wait_for_selector("[data-poll]")
        assert asked.value.json()["over"] is False


def test_nothing_is_left_in_the_project_folder():
    project = Path(__file__).resolve().parents[2]
    assert not [name for name in ("nss", ".pki", "test-results") if (project / name).exists()]
