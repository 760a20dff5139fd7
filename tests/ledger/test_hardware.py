"""A log key in a token: real PKCS #11, by SoftHSM."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from compliance.ledger import files, hardware, integrate, keys, publish, rotation, selectors, setup, signer
from compliance.ledger.errors import KeyUnavailable, LedgerError
from compliance.proof.verify import verify_file
from tests.ledger.world import Factory, found, meter
from tests.services import softhsm

pytestmark = [pytest.mark.django_db, pytest.mark.both_engines]


@pytest.fixture(scope="module")
def library() -> Iterator[str]:
    """The library of a running token."""
    with softhsm.token() as path:
        yield path


@pytest.fixture
def uri(library: str, settings: Any, folders: Path, request: pytest.FixtureRequest) -> str:
    """The place of a key that does not exist yet; the PIN lies in a file."""
    files.make_secret(folders / "pin", softhsm.PIN.encode())
    settings.METERPROOF = {**settings.METERPROOF, "HSM_PIN_FILE": str(folders / "pin")}
    return f"pkcs11:token={softhsm.TOKEN};object={request.node.name[:40]}?module-path={library}"


def verifies() -> None:
    """fsck finds nothing and a stranger verifies the published log."""
    assert found() == []
    verdict = verify_file(settings.METERPROOF["LOG_DIR"], settings.METERPROOF["TRUST_DIR"])
    assert verdict.error is None, verdict.error


def test_a_log_key_in_a_token(alone: None, uri: str, settings: Any, folders: Path) -> None:
    """It signs from the first checkpoint on, its private half is in no file, and the PIN stays where it was."""
    settings.METERPROOF = {**settings.METERPROOF, "LOG_KEY": uri}
    setup.create_log()
    factory = Factory()
    factory.register()
    integrate.integrate()
    publish.publish()
    verifies()
    secrets = settings.METERPROOF["SECRETS_DIR"]
    assert sorted(path.name for path in secrets.iterdir()) == ["keys.json", "platform.pem", "receipts.pem"]
    for path in folders.rglob("*"):
        if path.is_file() and path.name != "pin":
            assert softhsm.PIN.encode() not in path.read_bytes(), path
    assert hardware.find_or_make(uri).public == keys.known(keys.LOG)[0]  # found, not made anew


def test_from_a_file_to_a_token_while_the_log_goes_on(factory: Factory, uri: str) -> None:
    factory.register()
    change = rotation.begin(keys.LOG, uri=uri)
    factory.send([factory.event(meter(1))])
    integrate.integrate()
    publish.publish()
    verifies()
    assert rotation.finish(keys.LOG) == change
    (settings.METERPROOF["SECRETS_DIR"] / "log.pem").unlink()
    factory.send([factory.event(meter(1))])
    integrate.integrate()
    publish.publish()
    verifies()


def test_while_the_token_is_away_events_are_taken_and_publishing_waits(
    factory: Factory, uri: str, settings: Any
) -> None:
    """F44: nothing unsigned is shown as signed, and the signer remembers nothing it did not sign."""
    factory.register()
    rotation.begin(keys.LOG, uri=uri)
    before = signer.last_signed()
    away = {**settings.METERPROOF, "HSM_PIN_FILE": "/nowhere/pin"}
    there, settings.METERPROOF = settings.METERPROOF, away
    sent = factory.send([factory.event(meter(1))])
    integrate.integrate()
    with pytest.raises(KeyUnavailable, match="PIN cannot be read"):
        publish.publish()
    assert signer.last_signed() == before
    assert selectors.receipt(sent.batch_id) is not None
    assert selectors.latest_checkpoint().note == before.note  # type: ignore[union-attr]
    assert selectors.waiting()[1] is not None  # readiness and pages say that the log is late
    settings.METERPROOF = there
    publish.publish()
    assert selectors.latest_checkpoint().size == before.checkpoint.size + 1  # type: ignore[union-attr]
    assert selectors.waiting() == (0, None)
    verifies()


def test_what_is_wrong_with_a_token_is_said(uri: str, settings: Any, folders: Path) -> None:
    (folders / "wrong").write_text("0000")
    settings.METERPROOF = {**settings.METERPROOF, "HSM_PIN_FILE": str(folders / "wrong")}
    with pytest.raises(KeyUnavailable, match="cannot be used"):
        hardware.find_or_make(uri)
    settings.METERPROOF = {**settings.METERPROOF, "HSM_PIN_FILE": str(folders / "pin")}
    with pytest.raises(KeyUnavailable, match="token other cannot be used"):
        hardware.find_or_make(uri.replace(softhsm.TOKEN, "other"))
    key = hardware.find_or_make(uri)
    other = hardware.find_or_make(uri.replace("object=", "object=other-"))
    with pytest.raises(KeyUnavailable, match="another key"):
        hardware.HardwareKey(other.uri, key.public).sign(b"checkpoint")
    shutil.rmtree(folders / "secrets_dir", ignore_errors=True)
    for wrong in (f"{uri}&pin-value=4711", "pkcs11:token=x", "file:/etc/key.pem", f"{uri}&slot-id=1"):
        with pytest.raises(LedgerError):
            hardware.Place.from_uri(wrong)
