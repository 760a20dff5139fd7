"""Who seals and who stamps the time: the development authority, an operator's own seal, outside authorities."""

import shutil
import subprocess
import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from asn1crypto import tsp
from django.core.management import CommandError, call_command

from compliance.jobs import clock
from compliance.proof.report import verify_report
from compliance.proof.trust import TrustFolder
from compliance.reports import authority, sealing
from compliance.reports.authority import TimeStampUnavailable, timestamps
from compliance.reports.authority.development import DevelopmentAuthority
from compliance.reports.sealing import SealRefused
from tests.reports.making import Workshop


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[tuple[str, DevelopmentAuthority]]:
    """A time stamp authority over HTTP that is not the platform's; its address and its keys."""
    made = DevelopmentAuthority.open(tmp_path / "outside")
    unit = made.signer("tsa")

    class Desk(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = tsp.TimeStampReq.load(self.rfile.read(int(self.headers["Content-Length"])))
            body = timestamps.answer(request, unit=unit, moment=clock.now()).dump()
            self.send_response(200)
            self.send_header("Content-Type", "application/timestamp-reply")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: object) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Desk)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/tsr", made
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def own_seal(workshop: Workshop, settings: Any, tmp_path: Path) -> Path:
    """An operator's own seal, issued somewhere else; its folder. The trust folder belongs to the workshop's log."""
    issuer = DevelopmentAuthority.open(tmp_path / "issuer").folder
    folder = tmp_path / "own"
    folder.mkdir()
    for name in ("seal.key", "seal.crt", "report-root.crt", "report-root.crl", "issuing.crl"):
        shutil.copy(issuer / name, folder / name)
    shutil.copy(issuer / "issuing.crt", folder / "seal-chain.crt")
    shutil.copytree(workshop.trust_folder, tmp_path / "trust")
    for name in ("report-root.crt", "tsa-root.crt"):
        (tmp_path / "trust" / name).unlink()
    here = {"AUTHORITY_DIR": folder, "TRUST_DIR": tmp_path / "trust", "ALLOW_DEVELOPMENT_AUTHORITY": False}
    settings.METERPROOF = {**settings.METERPROOF, **here}
    return folder


def stamped_by(settings: Any, *authorities: dict[str, Any]) -> None:
    settings.METERPROOF = {**settings.METERPROOF, "TIME_STAMP_AUTHORITIES": list(authorities)}


def test_with_an_own_seal_and_an_outside_time_stamp_it_verifies(
    own_seal: Path, outside: tuple[str, DevelopmentAuthority], unsigned_certificate: bytes, settings: Any
) -> None:
    """The first authority of the list does not answer; the report names the one that did."""
    address, stamping = outside
    shutil.copy(stamping.folder / "tsa-root.crl", own_seal / "stamping.crl")
    root = str(stamping.folder / "tsa-root.crt")
    stamped_by(settings, {"url": "http://127.0.0.1:9/", "root": root, "timeout": 1}, {"url": address, "root": root})
    sealed = sealing.seal(unsigned_certificate)
    assert (sealed.is_development, sealed.time_stamp_by) == (False, address)
    authority.publish_roots()
    steps = verify_report(sealed.data, TrustFolder.load(settings.METERPROOF["TRUST_DIR"]))
    assert [step.code for step in steps if step.status != "ok"] == [], [step.to_object() for step in steps]


def test_an_authority_that_stamps_under_another_policy_is_not_used(
    own_seal: Path, outside: tuple[str, DevelopmentAuthority], unsigned_certificate: bytes, settings: Any
) -> None:
    address, stamping = outside
    stamped_by(settings, {"url": address, "root": str(stamping.folder / "tsa-root.crt"), "policy": "1.2.3.4"})
    with pytest.raises(TimeStampUnavailable, match="refused: rejection; unaccepted_policy"):
        sealing.seal(unsigned_certificate)


def test_stale_revocation_lists_seal_nothing(
    own_seal: Path, outside: tuple[str, DevelopmentAuthority], unsigned_certificate: bytes, settings: Any
) -> None:
    """The operator forgot to fetch new ones."""
    address, stamping = outside
    stamped_by(settings, {"url": address, "root": str(stamping.folder / "tsa-root.crt")})
    later = clock.now() + timedelta(days=60)
    with clock.use(lambda: later), pytest.raises(SealRefused):
        sealing.seal(unsigned_certificate)


def test_the_development_unit_is_an_ordinary_authority(workshop: Workshop, tmp_path: Path) -> None:
    """OpenSSL accepts what it answers, and refuses it for other data."""
    with workshop.in_settings():
        (tmp_path / "reply.tsr").write_bytes(authority.time_stamp(b"some data"))
    (tmp_path / "right").write_bytes(b"some data")
    (tmp_path / "wrong").write_bytes(b"other data")
    root = workshop.trust_folder / "tsa-root.crt"
    for name, status in (("right", 0), ("wrong", 1)):
        command = ["openssl", "ts", "-verify", "-data", name, "-in", "reply.tsr", "-CAfile", str(root)]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == status, done.stdout + done.stderr


def test_the_command_says_who_seals_and_revokes(settings: Any, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("authority", "init")
    told = capsys.readouterr().out
    assert "this platform vouches for itself" in told
    before = authority.seal_material().certificate.sha256
    call_command("authority", "revoke-seal")
    assert authority.seal_material().certificate.sha256 != before
    settings.METERPROOF = {**settings.METERPROOF, "ALLOW_DEVELOPMENT_AUTHORITY": False}
    with pytest.raises(CommandError, match="ALLOW_DEVELOPMENT_AUTHORITY"):
        call_command("authority", "status")
