"""Keys change while the log goes on: what was signed stays provable, what a lost key signs counts for nothing."""

import contextlib
import itertools
import shutil
import threading
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings

from compliance.jobs import clock, failpoints
from compliance.ledger import integrate, key_history, keys, proofs, publish, rotation, selectors, setup, tasks, tiles
from compliance.ledger.append import append_batch
from compliance.ledger.errors import KeyUnavailable, LedgerError
from compliance.ledger.models import LogState
from compliance.proof import cose_receipt, note
from compliance.proof.errors import ProofError
from compliance.proof.history import open_checkpoint
from compliance.proof.keys import PrivateKey
from compliance.proof.log_keys import Revocation
from compliance.proof.note import NoteSigner
from compliance.proof.steps import Verdict
from compliance.proof.subject import signing_key
from compliance.proof.times import format_time, parse_time
from compliance.proof.trust import TrustFolder
from compliance.proof.verify import Asked, verify_file
from tests.ledger.processes import Child
from tests.ledger.world import Factory, found, meter, received
from tests.proof import time_stamps

pytestmark = [pytest.mark.django_db, pytest.mark.both_engines]


class Shown:
    """Copies of what relying parties were given at one time: trust folder, checkpoint, receipt, bundle."""

    def __init__(self, factory: Factory, at: Path) -> None:
        self._at = at
        at.mkdir()
        sent = factory.send([factory.event(meter(1))])
        integrate.integrate()
        publish.publish()
        (at / "receipt").write_bytes(sent.receipt)
        (at / "checkpoint").write_bytes((tiles.folder() / "checkpoint").read_bytes())
        (at / "meter.proof").write_bytes(proofs.proof_bundle([meter(1)]))
        (at / "entry").write_bytes(selectors.chain(meter(1))[-1].body)
        (at / "cose").write_bytes(proofs.cose_receipt(meter(1), selectors.chain(meter(1))[-1].seq))
        shutil.copytree(settings.METERPROOF["TRUST_DIR"], at / "trust")

    def verify(self, trust: Path | None = None) -> dict[str, str]:
        """What does not verify, and why: with the trust folder of today unless another is given."""
        wrong = {}
        asked = Asked(entry=self._at / "entry")
        for name in ("receipt", "checkpoint", "meter.proof", "cose"):
            verdict = verify_file(self._at / name, trust or settings.METERPROOF["TRUST_DIR"], asked=asked)
            if verdict.error is not None:
                wrong[name] = verdict.error.code
        return wrong

    @property
    def trust(self) -> Path:
        """The trust folder of then."""
        return self._at / "trust"

    @property
    def signed_by(self) -> list[str]:
        """Ids of the keys whose lines are on the checkpoint."""
        return [id_.hex() for _, id_, _ in note.split((self._at / "checkpoint").read_text())[1]]


def sound() -> None:
    """fsck finds nothing and the published log verifies with today's trust folder."""
    assert found() == []
    verdict = verify_file(settings.METERPROOF["LOG_DIR"], settings.METERPROOF["TRUST_DIR"])
    assert verdict.error is None, verdict.error


def test_a_log_key_is_changed_in_mid_stream(factory: Factory, tmp_path: Path) -> None:
    """T16, F47: both lines in the overlap, so that old and new trust folders go on; the old key stays verifiable."""
    factory.register()
    before = Shown(factory, tmp_path / "before")
    change = rotation.begin(keys.LOG)
    between = Shown(factory, tmp_path / "between")
    assert (before.signed_by, between.signed_by) == ([change.old], [change.old, change.new])
    assert between.verify(before.trust) == {} == before.verify()
    with pytest.raises(LedgerError, match="was not revoked yet"):
        rotation.begin(keys.LOG)
    assert rotation.finish(keys.LOG, text="yearly") == change
    after = Shown(factory, tmp_path / "after")
    assert after.signed_by == [change.new]
    assert before.verify() == between.verify() == after.verify() == {}
    assert after.verify(between.trust) == {}
    assert after.verify(before.trust) == {"checkpoint": "note.unknown_key", "meter.proof": "note.unknown_key"}
    sound()
    chain = [(entry.event["type"], entry.event["data"].get("reason")) for entry in selectors.chain(log_subject())]
    assert chain == [("log.created", None), ("log.key_added", None), ("log.key_revoked", "superseded: yearly")]
    with pytest.raises(LedgerError, match="No rotation was begun"):
        rotation.finish(keys.LOG)


def log_subject() -> str:
    """Subject text of the log."""
    return f"log:origin:{settings.METERPROOF['ORIGIN']}"


def test_what_a_stolen_log_key_signs_counts_for_nothing(factory: Factory, tmp_path: Path) -> None:
    """T16: a checkpoint counts if a time stamp shows that it is older than the theft; position and word do not."""
    factory.register()
    before = Shown(factory, tmp_path / "before")
    stolen = NoteSigner(settings.METERPROOF["ORIGIN"], keys.keys(keys.LOG)[0])  # type: ignore[arg-type]
    rotation.begin(keys.LOG)
    theft = time_stamps.NOW + timedelta(hours=1)  # the authority of these tests stamps at NOW
    rotation.finish(keys.LOG, effective_at=theft, reason="compromised", text="found on a laptop")
    sound()
    assert before.verify() == {"checkpoint": "key.revoked", "meter.proof": "key.revoked"}
    text = (tmp_path / "before" / "checkpoint").read_text()
    authority = time_stamps.authority()
    token = time_stamps.respond(authority, text.encode())
    trust = replace(TrustFolder.load(settings.METERPROOF["TRUST_DIR"]), time_stamp_roots=(authority.root,))
    place = "log", stolen.verifier.id.hex()

    def opened(effective_at: str, *, reason: str = "compromised", tokens: tuple[bytes, ...] = (token,)) -> Verdict:
        verdict = Verdict("checkpoint")
        known = replace(trust, revoked={place: Revocation(9, effective_at, reason)})
        open_checkpoint(text, known, verdict, time_tokens=tokens)
        return verdict

    assert opened(format_time(theft)).error is None
    assert opened(format_time(theft), reason="superseded", tokens=()).notes
    for late in (
        lambda: opened(format_time(time_stamps.NOW)),
        lambda: opened(format_time(time_stamps.NOW), reason="superseded"),
        lambda: opened(format_time(theft), tokens=()),
    ):
        with pytest.raises(ProofError) as refusal:
            late()
        assert refusal.value.code == "key.revoked"
    # A log that goes on under the stolen key: whoever has only the old trust folder still sees the revocation in it.
    state = LogState.objects.get()
    published = (tiles.folder() / "checkpoint").read_text()
    (tiles.folder() / "checkpoint").write_text(note.sign(note.split(published)[0], [stolen]))
    verdict = verify_file(tiles.folder(), before.trust)
    assert verdict.error is not None
    assert (verdict.error.code, state.size) == ("key.revoked", state.size)


def test_a_receipt_key_is_changed_in_mid_stream(factory: Factory, tmp_path: Path) -> None:
    factory.register()
    before = Shown(factory, tmp_path / "before")
    change = rotation.begin(keys.RECEIPTS)
    between = Shown(factory, tmp_path / "between")
    assert between.verify(before.trust) == {}  # the new one waits until everybody has it
    rotation.finish(keys.RECEIPTS)
    after = Shown(factory, tmp_path / "after")
    assert before.verify() == between.verify() == after.verify() == after.verify(between.trust) == {}
    assert after.verify(before.trust) == {
        "receipt": "receipt.key",
        "meter.proof": "receipt.key",
        "cose": "receipt.key",
    }
    assert keys.receipt_key().public.keyid == change.new
    sound()
    late = tmp_path / "late"
    shutil.copytree(tmp_path / "after", late)
    end = key_history.read().revoked["receipt", change.old].effective_at
    old = PrivateKey.from_pem((settings.METERPROOF["SECRETS_DIR"] / "receipts.pem").read_bytes())
    forged = forge_receipt(tmp_path / "before" / "receipt", old, issued_at=end)
    (late / "receipt").write_bytes(forged)
    (late / "cose").write_bytes(forge_cose(tmp_path / "before" / "cose", old, issued_at=end))
    for name in ("receipt", "cose"):
        error = verify_file(late / name, settings.METERPROOF["TRUST_DIR"]).error
        assert error is not None
        assert error.code == "key.revoked"


def forge_cose(path: Path, key: PrivateKey, *, issued_at: str) -> bytes:
    """The COSE receipt at `path` as the owner of `key` would date it."""
    read = cose_receipt.read(path.read_bytes())
    assert isinstance(read, cose_receipt.InclusionReceipt)
    return cose_receipt.sign_inclusion(
        log=read.issuer,
        subject=read.subject,
        index=read.index,
        size=read.size,
        path=read.path,
        root=bytes(32),
        at=int(parse_time(issued_at).timestamp()) + 1,
        key=key,
    )


def forge_receipt(path: Path, key: PrivateKey, *, issued_at: str) -> bytes:
    """The receipt at `path` as the owner of `key` would date it."""
    from compliance.proof import receipt
    from compliance.proof.canonical import encode

    payload = receipt.read(path.read_bytes()).payload
    merge_by = "2999-01-01T00:00:00.000000Z"
    return receipt.sign(encode({**payload, "issued_at": issued_at, "merge_by": merge_by}), key)


def test_the_platform_key_is_changed_in_mid_stream(log: Path, tmp_path: Path) -> None:
    """With the accounts room at work, which holds keys and judges key lines. Pins of the first key cover the next."""
    factory = Factory()
    factory.register()
    pinned = (settings.METERPROOF["TRUST_DIR"] / "trust.json").read_bytes()
    change = rotation.begin(keys.PLATFORM)
    assert keys.platform_key().public.keyid == change.new
    with pytest.raises(LedgerError, match="may still be on their way"):
        rotation.finish(keys.PLATFORM)
    later = clock.now() + timedelta(minutes=2)
    with clock.use(lambda: later):
        rotation.finish(keys.PLATFORM, reason="lost", text="disk gone")
        assert keys.references(keys.PLATFORM) == [{"file": f"platform-{change.new[7:23]}.pem"}]
        Factory("other").register()
        tasks.integrate_and_publish()
    sound()
    assert b'"organisations"' in pinned
    first = change.old.encode()
    assert first in (settings.METERPROOF["TRUST_DIR"] / "trust.json").read_bytes()


@pytest.mark.parametrize("use", keys.USES)
def test_an_interrupted_rotation_is_gone_on_with(factory: Factory, use: str) -> None:
    """A crash at any step: the step is repeated, no second key is made, and nothing is lost."""
    factory.register()
    later = clock.now() + timedelta(minutes=2)
    for name in ("ledger.rotation.made", "ledger.rotation.said"):
        with failpoints.arm(name, crash), pytest.raises(CrashError):
            rotation.begin(use)
    with pytest.raises(LedgerError, match="was not revoked yet"):
        rotation.begin(use)
    with clock.use(lambda: later):
        for name in ("ledger.rotation.switched", "ledger.rotation.revoked"):
            with failpoints.arm(name, crash), pytest.raises(CrashError):
                rotation.finish(use)
        rotation.finish(use)
    assert len(keys.references(use)) == 1
    factory.send([factory.event(meter(1))])
    with clock.use(lambda: later + timedelta(minutes=1)):
        tasks.integrate_and_publish()
    sound()


class CrashError(Exception):
    """What a crash is to this process."""


def crash() -> None:
    """Go no further."""
    raise CrashError


def test_without_its_key_a_log_is_not_published(factory: Factory) -> None:
    """F44: no checkpoint goes out that lacks a line; events are taken all the same."""
    factory.register()
    rotation.begin(keys.LOG)
    new = settings.METERPROOF["SECRETS_DIR"] / keys.references(keys.LOG)[1]["file"]
    new.rename(new.with_suffix(".away"))
    factory.send([factory.event(meter(1))])
    integrate.integrate()
    with pytest.raises(KeyUnavailable, match="is missing"):
        publish.publish()
    assert key_history.read().verifiers  # and pages, trust folder and fsck need no private key
    new.with_suffix(".away").rename(new)
    publish.publish()
    setup.write_trust_folder()
    sound()


LOOKS_AT_THE_CLOCK = 12  # more than it takes to register a key


@pytest.mark.parametrize("looked", range(LOOKS_AT_THE_CLOCK))
def test_a_key_is_not_registered_for_a_time_to_come(log: Path, looked: int) -> None:
    """F45: the clock is ten years ahead at one look. What is valid from then on only could not be taken back."""
    looks = itertools.count()
    today = clock.now()
    with clock.use(lambda: today + timedelta(days=3_650 * (next(looks) == looked))), contextlib.suppress(LedgerError):
        rotation.begin(keys.PLATFORM)
    assert next(looks) < LOOKS_AT_THE_CLOCK
    for entry in (entry for key in keys.known(keys.PLATFORM) for entry in selectors.chain(signing_key(key.keyid))):
        assert parse_time(entry.event["data"]["valid_from"]) <= today


def test_a_key_that_cannot_be_referred_to_is_not_left_behind(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """F49: nobody would know of a private key in that file."""
    before = sorted(settings.METERPROOF["SECRETS_DIR"].iterdir())

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(keys, "set_references", full)
    with pytest.raises(OSError, match="No space left"):
        rotation.begin(keys.RECEIPTS)
    assert sorted(settings.METERPROOF["SECRETS_DIR"].iterdir()) == before


MOST_BATCHES = 60  # on a slow machine the rotation takes longer, not the test


def send_until(name: str, done: str) -> int:
    """Send batch after batch until the file `done` is there; how many were recorded."""
    factory = Factory(name)
    sent = 0
    while not Path(done).exists() and sent < MOST_BATCHES:
        append_batch(received(factory.sign([factory.event(f"meter:factory_serial:{name}-{sent % 5}")])))
        sent += 1
        Path(done).with_suffix(f".{name}").touch()
        threading.Event().wait(0.05)
    return sent


def publish_until(done: str) -> None:
    """What the worker does."""
    while not Path(done).exists():
        tasks.integrate_and_publish()
        threading.Event().wait(0.02)


def test_all_keys_change_while_others_send_and_publish(committed_log: Path, tmp_path: Path) -> None:
    """F47: no event is lost and no valid batch is refused."""
    done = tmp_path / "done"
    names = ("acme", "brand")
    writers = [Child(send_until, name, str(done)) for name in names]
    worker = Child(publish_until, str(done))
    while not all(done.with_suffix(f".{name}").exists() for name in names):  # ended by the test's time-out
        time.sleep(0.01)
    for use in (keys.LOG, keys.RECEIPTS, keys.PLATFORM):
        rotation.begin(use)
    for use in (keys.LOG, keys.RECEIPTS):
        rotation.finish(use)
    done.touch()
    sent = sum(child.answer() for child in writers)
    assert worker.end() == 0
    tasks.integrate_and_publish()
    assert sent
    assert selectors.log_size() == 3 + 2 + 2 + 1 + sent
    assert found() == []
