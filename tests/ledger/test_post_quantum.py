"""The second signature line, ML-DSA-44: off by default, passed over by who does not know it, checked by ours."""

import base64
import shutil
import stat
from io import StringIO
from pathlib import Path
from typing import Any

import aics_tlog
import pytest
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey
from django.conf import settings as configured
from django.core.management import call_command

from compliance.ledger import integrate, post_quantum_key, proofs, publish, tiles
from compliance.ledger.errors import KeyUnavailable, LedgerError
from compliance.ledger.models import Checkpoint as CheckpointRow
from compliance.proof import note
from compliance.proof.keys import PrivateKey
from compliance.proof.verify import Asked, verify_file
from tests.conftest import take_down_guards
from tests.ledger.world import Factory, found, meter

pytestmark = [pytest.mark.django_db, pytest.mark.both_engines]


@pytest.fixture
def factory(log: Path) -> Factory:
    made = Factory()
    made.register()
    return made


def turn(settings: Any, *, on: bool) -> None:
    settings.METERPROOF = {**settings.METERPROOF, "POST_QUANTUM": on}


def published(factory: Factory) -> str:
    factory.send([factory.event(meter(1))])
    integrate.integrate()
    publish.publish()
    return tiles.read_checkpoint() or ""


def make_key() -> str:
    out = StringIO()
    call_command("log", "post-quantum-key", stdout=out)
    return out.getvalue().split("\n")[0]


def defects() -> list[tuple[str, str]]:
    """What fsck finds beside the guards that a test took down."""
    return [(problem.code, problem.place) for problem in found() if problem.code != "guard.missing"]


def verdict_of(path: Path, trust: Path, **asked: Path) -> tuple[str, str]:
    """Reason code, and everything that was said."""
    verdict = verify_file(path, trust, asked=Asked(**asked))
    said = "\n".join(line for step in verdict.steps for line in step.lines)
    return (verdict.error.code if verdict.error else "ok"), said


def test_who_does_not_know_the_line_accepts_the_log_as_before(factory, settings, tmp_path):
    before = published(factory)
    old_trust = shutil.copytree(configured.METERPROOF["TRUST_DIR"], tmp_path / "trust")
    vkey = make_key()
    turn(settings, on=True)
    text = published(factory)
    assert len(note.split(before)[1]) == 1
    assert [len(signature) for _, _, signature in note.split(text)[1]] == [64, 8 + 2420]
    code, said = verdict_of(configured.METERPROOF["LOG_DIR"], old_trust)
    assert (code, "1 lines of keys not known to you were passed over" in said) == ("ok", True)
    theirs = aics_tlog.verify_checkpoint(
        aics_tlog.parse_note(text), aics_tlog.parse_vkey((old_trust / "log.vkey").read_text().strip())
    )
    assert theirs.ok
    checkpoint = aics_tlog.parse_checkpoint(aics_tlog.parse_note(text).text)
    aics_tlog.audit_tiles(aics_tlog.FileSystemTileReader(tiles.folder()), checkpoint.size, checkpoint.root)
    assert f"witness {post_quantum_key.WITNESS} {vkey}" in (configured.METERPROOF["TRUST_DIR"] / "policy").read_text()


def test_ours_checks_it_and_a_policy_can_ask_for_it(factory, settings, tmp_path):
    before, vkey = published(factory), make_key()
    turn(settings, on=True)
    text = published(factory)
    assert found() == []
    trust, log = configured.METERPROOF["TRUST_DIR"], configured.METERPROOF["LOG_DIR"]
    bundle = tmp_path / "meter.proof"
    bundle.write_bytes(proofs.proof_bundle([meter(1)]))
    for path in (log, bundle):
        code, said = verdict_of(path, trust)
        assert (code, "with ML-DSA-44 verifies" in said) == ("ok", True)
    strict = shutil.copytree(trust, tmp_path / "strict")
    policy = (strict / "policy").read_text()
    (strict / "policy").write_text(policy.replace("quorum none", f"quorum {post_quantum_key.WITNESS}"))
    assert verdict_of(log, strict)[0] == "ok"
    bare = tmp_path / "checkpoint"
    bare.write_text(before)
    assert verdict_of(bare, trust)[0] == "ok"
    assert verdict_of(bare, strict)[0] == "policy.quorum"
    lines = text.split("\n")
    for at in (20, 3000):  # inside the time, inside the signature
        data = bytearray(base64.b64decode(lines[5].rsplit(" ", 1)[1]))
        data[at % len(data) if at > 100 else 5] ^= 1
        broken = [*lines[:5], f"{lines[5].rsplit(' ', 1)[0]} {base64.b64encode(data).decode()}", ""]
        bare.write_text("\n".join(broken))
        assert verdict_of(bare, trust)[0] == "note.signature"
    assert note.NoteVerifier.from_vkey(vkey).vkey == vkey


def test_the_signed_bytes_are_those_of_the_specification(factory, settings):
    """https://c2sp.org/tlog-cosignature, "ML-DSA-44 signed message", put together by hand."""
    vkey = make_key()
    turn(settings, on=True)
    text = published(factory)
    origin, size, root = text.split("\n")[:3]
    signature = note.split(text)[1][1][2]
    name = origin.encode()
    message = b"subtree/v1\n\x00" + bytes([len(name)]) + name + signature[:8] + bytes([len(name)]) + name
    message += bytes(8) + int(size).to_bytes(8, "big") + base64.b64decode(root)
    raw = base64.b64decode(vkey.split("+", 2)[2])
    assert (raw[0], len(raw)) == (6, 1313)
    MLDSA44PublicKey.from_public_bytes(raw[1:]).verify(signature[8:], message)


def test_fsck_checks_the_line_of_every_checkpoint(factory, settings):
    make_key()
    turn(settings, on=True)
    published(factory)
    row = CheckpointRow.objects.order_by("-size").first()
    assert row is not None
    turn(settings, on=False)
    published(factory)
    assert found() == []
    lines = row.note.split("\n")
    swapped = lines[5][:-9] + ("A" if lines[5][-9] != "A" else "B") + lines[5][-8:]
    take_down_guards()
    CheckpointRow.objects.filter(size=row.size).update(note="\n".join([*lines[:5], swapped, ""]))
    assert defects() == [("note.signature", f"checkpoint {row.size}")]
    (configured.METERPROOF["TRUST_DIR"] / post_quantum_key.VKEY).unlink()
    assert defects() == [("note.unknown_key", f"checkpoint {row.size}")]


def test_the_key_lies_apart_and_publishing_waits_for_it(factory, settings):
    turn(settings, on=True)
    with pytest.raises(KeyUnavailable, match="post-quantum-key"):
        published(factory)
    turn(settings, on=False)
    vkey = make_key()
    path = configured.METERPROOF["SECRETS_DIR"] / post_quantum_key.FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert make_key() == vkey
    turn(settings, on=True)
    (configured.METERPROOF["TRUST_DIR"] / post_quantum_key.VKEY).unlink()
    with pytest.raises(KeyUnavailable, match="post-quantum-key"):
        publish.publish()
    make_key()
    path.chmod(0o644)
    with pytest.raises(LedgerError, match="chmod 600"):
        publish.publish()
    path.chmod(0o600)
    pem = path.read_bytes()
    path.write_bytes(PrivateKey.generate().to_pem())
    with pytest.raises(LedgerError, match="not of ML-DSA-44"):
        publish.publish()
    path.write_bytes(pem)
    assert publish.publish() is not None
    assert found() == []
