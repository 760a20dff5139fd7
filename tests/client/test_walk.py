"""docs/manufacturers/sending-events.md, done: every command of the page as it stands, over real HTTP.

The server is the one that `manage.py serve` starts; the person at the keyboard has a home folder and nothing else.
"""

import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from compliance.proof.verify import verify_file
from tests.services.process import free_port, running

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "manufacturers" / "sending-events.md"
# Some thirty processes one after the other; on a busy machine each takes seconds.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(480)]
STEPS = ("1. Make a key", "2. Have it registered", "3. Write a file of events")
STEP_SECONDS = 60
CURL = """#!{python}
# Enough of curl for the examples, so that the test needs no package: -s, -H, -d, --data-binary @FILE, URL.
import argparse, pathlib, sys, httpx
parser = argparse.ArgumentParser()
parser.add_argument("-s", action="store_true")
parser.add_argument("-H", action="append", default=[])
parser.add_argument("-d", "--data-binary")
parser.add_argument("url")
asked = parser.parse_args()
data = asked.data_binary
body = pathlib.Path(data[1:]).read_bytes() if data and data[0] == "@" else data and data.encode()
headers = dict(line.split(": ", 1) for line in asked.H)
answer = httpx.request("POST" if body else "GET", asked.url, content=body, headers=headers, timeout=30)
sys.stdout.write(answer.text)
"""
REPORT_SECONDS = 120


@dataclass
class Keyboard:
    """A shell in an empty folder: home, data folder and server of its own."""

    folder: Path
    server: str

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "HOME": str(self.folder),
            "METERPROOF_VAR": str(self.folder / "var"),
            "METERPROOF_SERVER": self.server,
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def type(self, line: str) -> subprocess.CompletedProcess[str]:
        """One line, as typed; the repository's Python and manage.py stand for themselves."""
        line = line.replace(".venv/bin/python", shlex.quote(sys.executable))
        line = line.replace(" manage.py", f" {shlex.quote(str(ROOT / 'manage.py'))}")
        return subprocess.run(
            ["/bin/sh", "-c", line],
            cwd=self.folder,
            env=self.environment,
            check=False,
            capture_output=True,
            text=True,
            timeout=STEP_SECONDS,
        )

    def done(self, line: str) -> str:
        """What a line that must succeed says."""
        finished = self.type(line)
        assert finished.returncode == 0, f"{line}\n{finished.stdout}\n{finished.stderr}"
        return finished.stdout


def commands(section: str, page: Path = PAGE) -> list[str]:
    """The lines to be typed in a section of a page."""
    text = page.read_text("utf-8").split(f"# {section}\n")[1].split("\n## ")[0]
    return [line for block in re.findall(r"```sh\n(.*?)```", text, re.S) for line in block.splitlines()]


@pytest.fixture(scope="module")
def keyboard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keyboard]:
    """A new installation, served, and somebody who never saw it."""
    folder = tmp_path_factory.mktemp("walk")
    port = free_port()
    somebody = Keyboard(folder, f"http://127.0.0.1:{port}")
    curl = folder / "bin" / "curl"
    curl.parent.mkdir()
    curl.write_text(CURL.format(python=sys.executable))
    curl.chmod(0o755)
    for line in ("migrate --verbosity 0", "load_catalogues", "bootstrap"):
        somebody.done(f".venv/bin/python manage.py {line}")

    def answers() -> bool:
        try:
            return httpx.get(f"{somebody.server}/livez", timeout=2).status_code == 200
        except httpx.TransportError:
            return False

    serve = [sys.executable, ROOT / "manage.py", "serve", "--port", str(port), "--web-workers", "1"]
    with running(serve, answers=answers, log=folder / "serve.log", environment=somebody.environment):
        yield somebody


@pytest.fixture(scope="module")
def sent(keyboard: Keyboard) -> Keyboard:
    """The four steps."""
    for section in STEPS:
        for line in commands(section):
            keyboard.done(line)
    submit, *later = commands("4. Send it")
    said = keyboard.done(submit)
    assert "8 of 8 events recorded." in said
    for line in later:
        keyboard.done(line)
    return keyboard


def test_the_readme_has_the_same_steps() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    for line in (*(line for section in STEPS for line in commands(section)), commands("4. Send it")[0]):
        assert f"    {line}\n" in readme


def test_recorded_and_proven(sent: Keyboard) -> None:
    """The worker publishes a checkpoint each second; the client fetches the proofs and verifies them."""
    for _ in range(20):
        said = sent.done(".venv/bin/python -m compliance.client status --every --patience 20")
        if "included" in said:
            break
    assert "8 entries, each of them proven" in said


def test_sent_again_it_is_answered_alike(sent: Keyboard) -> None:
    before = sorted((sent.folder / ".meterproof" / "receipts").iterdir())
    assert "8 of 8 events recorded." in sent.done(commands("4. Send it")[0])
    assert sorted((sent.folder / ".meterproof" / "receipts").iterdir()) == before


def test_evidence_is_handed_in(sent: Keyboard) -> None:
    for line in commands("Evidence"):
        said = sent.done(line)
    assert "(submitted)" in said


def test_bad_lines_are_told_as_the_page_shows(sent: Keyboard) -> None:
    lines = (sent.folder / "events.ndjson").read_text().splitlines()
    lines[1] = lines[1].replace('"quantity": 100', '"quantity": "many"')
    lines[3] = lines[3].replace('"result": "pass", ', "")
    (sent.folder / "bad.ndjson").write_text("\n".join(lines))
    refused = sent.type(".venv/bin/python -m compliance.client submit bad.ndjson")
    assert refused.returncode == 1
    shown = re.search(r"```text\n(2 of the events.*?)```", PAGE.read_text("utf-8"), re.S)
    assert shown
    assert shown.group(1).strip() in refused.stderr


def test_the_next_report_has_it(sent: Keyboard) -> None:
    """A certificate of the user's own meter: asked for, made by the worker, fetched, verified offline."""
    secret = (sent.folder / "var" / "secrets" / "admin-api-key").read_text().strip()
    with httpx.Client(
        base_url=f"{sent.server}/api/v1", headers={"Authorization": f"Bearer {secret}"}, timeout=30
    ) as admin:
        looked_up = admin.get("/subjects", params={"scheme": "dlms_system_title", "value": "41434d0100000001"}).json()
        wanted = {"kind": "meter_certificate", "parameters": {"meter": looked_up["meter"]}}
        asked = admin.post("/reports", json=wanted, headers={"Idempotency-Key": "walk"})
        assert asked.status_code == 202, asked.text
        for _ in range(REPORT_SECONDS * 2):
            report = admin.get(f"/reports/{asked.json()['id']}").json()
            if report["state"] in {"issued", "failed"}:
                break
            time.sleep(0.5)
        assert report["state"] == "issued", report
        pdf = sent.folder / "certificate.pdf"
        pdf.write_bytes(admin.get(f"/reports/{report['id']}/content").content)
    verdict = verify_file(pdf, sent.folder / "var" / "trust")
    assert verdict.exit_status == 0, verdict.error


def test_the_examples_of_the_interface_page(sent: Keyboard) -> None:
    """docs/api.md: each is answered as the page says, with curl, from one shell."""
    page = ROOT / "docs" / "api.md"
    setting = [f"SERVER={sent.server}", *commands("The REST interface", page)[1:]]
    kept = next((sent.folder / ".meterproof" / "receipts").glob("*.receipt.json")).name.removesuffix(".receipt.json")
    (sent.folder / "batch.ndjson").write_bytes(
        (sent.folder / ".meterproof" / "receipts" / f"{kept}.ndjson").read_bytes()
    )
    for section, expected in (
        ("Authentication", '"claimed_state":"assembled"'),
        ("Batches", f'"batch":"{kept}"'),
        ("Evidence", '"state":"submitted"'),
        ("Receipts, proofs, the log", "meterproof.example/log"),
        ("Administration", '"kind":"framework_audit"'),
    ):
        assert expected in sent.done("\n".join([*setting, *commands(section, page)])), section


def test_two_people_sign(sent: Keyboard) -> None:
    for line in commands("More keys, and signing away from the network"):
        said = sent.done(line)
    assert "0 of 8 events recorded, 8 were recorded before" in said
