"""Keys, evidence, and what becomes of a receipt."""

import os
import shutil
import stat
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from compliance.client import ClientError, Session, SigningKey
from compliance.client.errors import NotTrusted
from compliance.client.inclusion import Standing, check_receipt
from compliance.client.receipts import KeptReceipt
from compliance.client.transport import Transport
from compliance.client.trusting import Trust
from compliance.ledger import keys, rotation
from compliance.ledger.integrate import integrate
from compliance.ledger.publish import publish
from compliance.proof import batch
from compliance.proof.trust import LOG_KEYS
from tests.client.conftest import Sender

pytestmark = pytest.mark.django_db(transaction=True)


def test_keygen_keeps_the_private_key_for_its_owner(sender: Sender) -> None:
    """0600, and the public half, the holder and the organisation beside it."""
    folder = sender.home.keys / "alice"
    assert stat.S_IMODE((folder / "key.pem").stat().st_mode) == 0o600
    key = sender.key()
    assert (key.organisation, dict(key.holder)) == ("acme", {"person": "alice"})
    assert b"PRIVATE" not in (folder / "registration.ndjson").read_bytes()


def test_keygen_never_replaces_a_key(sender: Sender, capsys: pytest.CaptureFixture[str]) -> None:
    """What it signed could not be continued."""
    before = (sender.home.keys / "alice" / "key.pem").read_bytes()
    assert sender.run("keygen", "--organisation", "acme", "--person", "alice") == 2
    assert (sender.home.keys / "alice" / "key.pem").read_bytes() == before
    assert "already" in capsys.readouterr().err


def test_a_registration_can_be_made_without_network(sender: Sender) -> None:
    """A station that never meets the network is given the log's origin by hand."""
    offline = Sender("http://127.0.0.1:9", sender.home, sender.folder)
    arguments = ["--organisation", "acme", "--station", "st-9", "--algorithm", "ecdsa_p256_sha256"]
    assert offline.run("keygen", *arguments, "--log", "meterproof.example/log") == 0
    read = batch.read((sender.home.keys / "st-9" / "registration.ndjson").read_bytes())
    assert read.payload["log"] == "meterproof.example/log"
    assert SigningKey.load(sender.home, "st-9").key.public.algorithm == "ecdsa_p256_sha256"


@pytest.mark.parametrize("name", ["Acme", "platform", "eui64", "a"])
def test_ids_that_no_organisation_may_have(sender: Sender, name: str) -> None:
    """Said before anything is written."""
    assert sender.run("keygen", "--organisation", name, "--person", "x", "--log", "meterproof.example/log") == 2


def test_recorded_becomes_included(sender: Sender, events_of_acme: str, capsys: pytest.CaptureFixture[str]) -> None:
    """First the signed promise, after the next checkpoint a proof that the client verifies itself."""
    sender.run("submit", sender.file(events_of_acme))
    capsys.readouterr()
    assert sender.run("status") == 0
    assert "recorded" in capsys.readouterr().out
    integrate()
    publish()
    assert sender.run("status", "--every") == 0
    out = capsys.readouterr().out
    assert "included" in out
    assert "each of them proven" in out


def test_a_receipt_that_was_changed_is_called_broken(sender: Sender, events_of_acme: str) -> None:
    """The store is only files: whoever changes one is found out."""
    sender.run("submit", sender.file(events_of_acme))
    (path,) = sender.home.receipts.glob("*.receipt.json")
    content = path.read_bytes()
    at = content.index(b'"sig":"') + 20
    path.write_bytes(content[:at] + (b"A" if content[at : at + 1] != b"A" else b"B") + content[at + 1 :])
    assert sender.run("status") == 1


def test_a_promise_not_kept_is_proof_against_the_operator(
    sender: Sender, events_of_acme: str, settings: object
) -> None:
    """merge_by has passed, no checkpoint covers the entry."""
    settings.METERPROOF = {**settings.METERPROOF, "MAX_MERGE_DELAY_SECONDS": 0}  # type: ignore[attr-defined]
    sender.run("submit", sender.file(events_of_acme))
    with sender.session() as session:
        (kept,) = session.receipts
        found = check_receipt(session, kept)
    assert found.standing is Standing.BROKEN
    assert "proof against the operator" in found.says


def test_receipts_are_listed_and_verify_offline(
    sender: Sender, events_of_acme: str, folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`verify` is the offline verifier, on the file that was kept."""
    sender.run("submit", sender.file(events_of_acme))
    capsys.readouterr()
    assert sender.run("receipts") == 0
    path = capsys.readouterr().out.split()[-1]
    command = [sys.executable, "-m", "compliance.client", "verify", path, "--policy", str(folders / "trust_dir")]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=_plain_environment())
    assert done.returncode == 0, done.stdout + done.stderr


def test_evidence_is_handed_in_once(sender: Sender, capsys: pytest.CaptureFixture[str]) -> None:
    """A file with what it shows; the same again is the same evidence."""
    path = sender.file("station,offset\nst-1,3\n", "clocks.csv")
    arguments = ["evidence", "add", path, "--title", "Clock offsets", "--covers-from", "2026-01-01"]
    arguments += ["--covers-to", "2026-06-30", "--link", "requirement=iso27001-2022:A.8.17"]
    assert sender.run(*arguments) == sender.run(*arguments) == 0
    first, second = (line for line in capsys.readouterr().out.splitlines() if line.startswith("Evidence"))
    assert first == second


def test_evidence_that_is_not_what_its_name_says_is_refused(sender: Sender, capsys: pytest.CaptureFixture[str]) -> None:
    """The reason reaches the sender."""
    path = sender.file("no image", "photo.png")
    dates = ["--covers-from", "2026-01-01", "--covers-to", "2026-06-30"]
    assert sender.run("evidence", "add", path, "--title", "Photo", *dates) == 1
    assert "file.content" in capsys.readouterr().err


def test_a_key_never_travels_in_the_clear() -> None:
    """http is for this very machine."""
    with pytest.raises(ClientError, match="not encrypted"):
        Transport("http://meterproof.example", "mp_live_x")
    Transport("http://127.0.0.1:8000").close()
    Transport("https://meterproof.example").close()


def test_a_server_that_is_another_is_noticed(sender: Sender, folders: Path) -> None:
    """A trust folder of this log, a server of another."""
    with Session(sender.server, home=sender.home, trust=folders / "trust_dir") as session:
        changed = {**session.service, "log": "elsewhere.example/log"}
        with pytest.raises(ClientError, match="elsewhere"):
            session.trust.require_same(changed)


def test_the_library_is_the_command_line(sender: Sender, events_of_acme: str) -> None:
    """Session, prepare, send: what the command does, for one's own programs."""
    from compliance.client import submission

    with sender.session() as session:
        sending = submission.prepare(session, sender.file(events_of_acme), keys=[sender.key()], source="desk-1")
        (sent,) = submission.send(session, sending, mode="atomic")
        assert sent.outcome.recorded == 8
        assert batch.read(sending.batches[0].path.read_bytes()).payload["source"] == "desk-1"
        kept: list[KeptReceipt] = list(session.receipts)
    assert kept[0].note["server"] == sender.server


def test_no_bar_where_a_program_reads(sender: Sender, events_of_acme: str, capsys: pytest.CaptureFixture[str]) -> None:
    """tqdm only on a terminal."""
    sender.run("submit", sender.file(events_of_acme))
    assert "%" not in capsys.readouterr().err


def _plain_environment() -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).resolve().parents[2])}


@pytest.mark.parametrize("reason", ["superseded", "compromised"])
def test_what_a_revoked_key_signed_counts_as_the_offline_verifier_says(
    sender: Sender, events_of_acme: str, folders: Path, tmp_path: Path, reason: str
) -> None:
    """Both keys change. In the overlap old and new trust hold; then `log-keys.proof` decides."""
    sender.run("submit", sender.file(events_of_acme))
    integrate()
    publish()
    given, old = folders / "trust_dir", tmp_path / "old"
    shutil.copytree(given, old)
    with sender.session(trust=given) as session:
        (kept,) = session.receipts
        entry = kept.read().payload["entries"][0]
        proof = session.inclusion_proof(kept.batch_id, entry["index"])
    assert proof is not None
    leaf_hash = bytes.fromhex(entry["hash"])

    def standing(trust: Path) -> Standing:
        with sender.session(trust=trust) as asked:
            return check_receipt(asked, kept).standing

    for use in (keys.LOG, keys.RECEIPTS):
        rotation.begin(use)
    assert standing(old) is standing(given) is Standing.INCLUDED
    theft = datetime(2020, 1, 1, tzinfo=UTC) if reason == "compromised" else None
    for use in (keys.LOG, keys.RECEIPTS):
        rotation.finish(use, reason=reason, effective_at=theft)
    trust = Trust.load(given)
    if reason == "superseded":
        assert standing(given) is Standing.INCLUDED
        assert trust.verify_inclusion(proof, leaf_hash).size
    else:
        assert standing(given) is Standing.BROKEN
        with pytest.raises(NotTrusted, match=r"key\.revoked.*was revoked from 2020"):
            trust.verify_inclusion(proof, leaf_hash)
        with sender.session(trust=given) as session, pytest.raises(NotTrusted, match=r"key\.revoked"):
            session.trust.require_same({**session.service, "log_key": (old / "log.vkey").read_text().strip()})
    (given / LOG_KEYS).unlink()
    assert Trust.load(given).verify_inclusion(proof, leaf_hash).size
    assert standing(given) is Standing.INCLUDED
