"""A demo whose results do not verify says so: in its summary, and by its exit status."""

import json
from pathlib import Path
from typing import Any, cast

import pytest

from compliance.client import Session
from compliance.demo.account import Account
from compliance.demo.journey import AUDIT_REPORT, SUMMARY, Journey
from compliance.demo.management.commands.demo import Command
from tests.demo.test_generator import scenario

NO_SERVER = "http://127.0.0.1:9"


class DamagedReport(Command):
    """The command, on a journey that is at its end with a report that is none."""

    def _run(self, account: Account, running: Any, logs: Path, folder: Path, options: dict[str, Any]) -> None:
        (folder / AUDIT_REPORT).write_bytes(b"%PDF-1.7\n")
        no_server = cast(Session, None)  # everything was sent
        journey = Journey(no_server, ("auditor", ""), scenario(), folder, folder / "trust", account)
        journey._verify([AUDIT_REPORT])
        journey._leave()


def test_what_does_not_verify_ends_the_demo_with_a_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        DamagedReport().run_from_argv(["manage.py", "demo", "--server", NO_SERVER, "--folder", str(tmp_path)])
    assert end.value.code == 1
    said = capsys.readouterr()
    assert f"{AUDIT_REPORT} does not verify" in said.err
    assert "Everything was verified" not in said.out
    summary = json.loads((tmp_path / SUMMARY).read_text())
    assert summary["verified"] is False
    assert summary["failures"] == [f"{AUDIT_REPORT} does not verify"]
