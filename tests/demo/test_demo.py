"""The main job from end to end, as `./run demo` does it: real HTTP, a real worker, real files, and the truth compared.

On SQLite with the embedded worker; on PostgreSQL with Celery on a real Redis.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import aics_tlog
import psycopg
import pytest

from compliance.demo.truth import Planted, Truth, compare
from tests.services.process import find_program, folder
from tests.services.redis import broker

PROJECT = Path(__file__).resolve().parents[2]
METERS = 60  # the smallest round number in which every detector has something to find
LIMIT_SECONDS = 600  # on a machine that does something else besides

pytestmark = [pytest.mark.slow, pytest.mark.both_engines, pytest.mark.timeout(LIMIT_SECONDS)]

DETECTORS = {"AN-01", "AN-02", "AN-04", "AN-05", "AN-06", "AN-07", "AN-10", "AN-14", "AN-15", "AN-23"}
FINDINGS = """
import json
from compliance.checks.models import Finding
print(json.dumps(list(Finding.objects.values("detector", "subject", "meters", "about"))))
"""


@dataclass(frozen=True, slots=True)
class Installation:
    """A finished demo in a folder of its own."""

    var: Path
    environment: dict[str, str]
    said: str

    @property
    def results(self) -> Path:
        return self.var / "demo"

    def manage(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run `manage.py arguments` on it."""
        return call("manage.py", *arguments, environment=self.environment)

    def verify(self, file: Path) -> "subprocess.CompletedProcess[str]":
        """Run the offline verifier on `file`, with the trust folder of the demo."""
        return call("-m", "compliance.proof", "verify", file, "--policy", self.var / "trust", environment={})


def call(*arguments: "str | Path", environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    """Run Python with `arguments` in the project's folder."""
    command = [sys.executable, *map(str, arguments)]
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return subprocess.run(
        command, cwd=PROJECT, env=kept | environment, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False
    )


@pytest.fixture(scope="module")
def demo() -> Iterator[Installation]:
    """A demo that ran on an empty database of the engine under test."""
    with ExitStack() as stack:
        var = stack.enter_context(folder("meterproof-demo-")) / "var"
        environment = {"METERPROOF_VAR": str(var), "DJANGO_SETTINGS_MODULE": "compliance.config.settings.embedded"}
        if url := os.environ.get("DATABASE_URL", ""):
            environment["DATABASE_URL"] = stack.enter_context(_own_database(url))
            environment["CELERY_BROKER_URL"] = stack.enter_context(broker()).url
        done = call("manage.py", "demo", "--meters", str(METERS), environment=environment)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:] + _logs(var)
        yield Installation(var, environment, done.stdout)


class _own_database:  # noqa: N801  (reads as the verb it is)
    """An empty database beside the one of `url`; dropped at the end."""

    def __init__(self, url: str) -> None:
        self.url, self.name = url, f"demo_{uuid4().hex[:8]}"

    def __enter__(self) -> str:
        with psycopg.connect(self.url, autocommit=True) as server:
            server.execute(f'CREATE DATABASE "{self.name}"')
        return f"{self.url.rpartition('/')[0]}/{self.name}"

    def __exit__(self, *_: object) -> None:
        with psycopg.connect(self.url, autocommit=True) as server:
            server.execute(f'DROP DATABASE "{self.name}" WITH (FORCE)')


def _logs(var: Path) -> str:
    return "\n".join(path.read_text(errors="replace")[-3000:] for path in sorted((var / "demo" / "logs").glob("*.log")))


def truth_of(demo: Installation) -> Truth:
    """The file that the platform never saw."""
    kept: dict[str, Any] = json.loads((demo.results / "truth.json").read_text())
    for name in ("plants", "decoys"):
        kept[name] = [Planted(**{**one, "meters": tuple(one["meters"])}) for one in kept[name]]
    return Truth(**kept)


def test_everything_is_left_and_was_verified(demo: Installation) -> None:
    """What the README promises lies in the folder, and the summary says so."""
    for name in ("audit-report.pdf", "meter-certificate.pdf", "meter.proof", "truth.json", "summary.json"):
        assert (demo.results / name).stat().st_size
    for name in (
        "log/checkpoint",
        "trust/log.vkey",
        "trust/policy",
        "trust/trust.json",
        "trust/report-root.crt",
        "trust/tsa-root.crt",
    ):
        assert (demo.var / name).stat().st_size
    summary = json.loads((demo.results / "summary.json").read_text())
    assert summary["verified"] is True
    assert summary["failures"] == []
    assert summary["figures"]["meters"] == METERS
    assert set(summary["figures"]["coverage"]) == {"iso27001-2022", "bsi-cc-pp-0073", "uk-cpa-sm"}
    assert "Everything was verified" in demo.said


def test_every_plant_is_found_and_no_decoy_reported(demo: Installation) -> None:
    """G5: the platform's findings against the truth file, without the demo's own comparison."""
    asked = demo.manage("shell", "--no-imports", "-c", FINDINGS)
    findings = json.loads(asked.stdout.splitlines()[-1])
    truth = truth_of(demo)
    assert {plant.detector for plant in truth.plants} >= DETECTORS
    assert truth.decoys
    compared = compare(truth, findings)
    assert not compared.missed
    assert not compared.decoys_reported
    assert not compared.unexpected


def test_a_stranger_verifies_the_three_files(demo: Installation) -> None:
    """Our verifier, poppler and qpdf, each by itself."""
    for name in ("audit-report.pdf", "meter-certificate.pdf", "meter.proof"):
        done = demo.verify(demo.results / name)
        assert done.returncode == 0, done.stdout
        assert "VERIFIED" in done.stdout
    for name in ("audit-report.pdf", "meter-certificate.pdf"):
        pdf = demo.results / name
        signed = subprocess.run([find_program("pdfsig"), pdf], capture_output=True, text=True, check=False).stdout
        assert "Signature is Valid" in signed
        checked = subprocess.run([find_program("qpdf"), "--check", pdf], capture_output=True, text=True, check=False)
        assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_log_opens_with_an_implementation_that_is_not_ours(demo: Installation) -> None:
    """What docs/ledger.md prints, on the log that the publisher wrote: checkpoint, every tile, every entry bundle."""
    log, vkey = demo.var / "log", (demo.var / "trust" / "log.vkey").read_text().strip()
    note = aics_tlog.parse_note((log / "checkpoint").read_text())
    assert aics_tlog.verify_checkpoint(note, aics_tlog.parse_vkey(vkey)).ok
    checkpoint = aics_tlog.parse_checkpoint(note.text)
    audited = aics_tlog.audit_tiles(aics_tlog.FileSystemTileReader(log), checkpoint.size, checkpoint.root)
    assert audited.bundles == -(-checkpoint.size // 256)
    done = demo.verify(log)
    assert done.returncode == 0, done.stdout


def test_one_changed_byte_is_found(demo: Installation, tmp_path: Path) -> None:
    """T9: the middle of each file, where nobody looks."""
    for name in ("audit-report.pdf", "meter-certificate.pdf", "meter.proof"):
        content = bytearray((demo.results / name).read_bytes())
        content[len(content) // 2] ^= 0x01
        (tmp_path / name).write_bytes(content)
        done = demo.verify(tmp_path / name)
        assert done.returncode == 1, done.stdout
        assert "NOT VERIFIED" in done.stdout


def test_the_bundle_inside_a_certificate_verifies_alone(demo: Installation, tmp_path: Path) -> None:
    """The certificate carries its proof with it; poppler takes it out."""
    pdf = demo.results / "meter-certificate.pdf"
    subprocess.run([find_program("pdfdetach"), "-saveall", "-o", tmp_path, pdf], check=True, capture_output=True)
    assert demo.verify(tmp_path / "meter.proof").returncode == 0


def test_fsck_finds_all_in_order_and_then_what_was_changed(demo: Installation) -> None:
    """Every stored byte is read; one tile edited behind the product's back is named."""
    done = demo.manage("fsck")
    assert done.returncode == 0, done.stdout + done.stderr
    tile = sorted((demo.var / "log" / "tile" / "0").rglob("000"))[0]
    kept = tile.read_bytes()
    tile.write_bytes(bytes([kept[0] ^ 1]) + kept[1:])
    try:
        done = demo.manage("fsck")
    finally:
        tile.write_bytes(kept)
    assert done.returncode == 1
    assert "tile/0/000" in done.stdout
