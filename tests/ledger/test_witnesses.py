"""Cosignatures for our own checkpoints: real witnesses, and witnesses that are away, slow, lying or alarmed."""

import io
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import aics_tlog
import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.test import Client

from compliance.jobs import clock
from compliance.ledger import (
    checks,
    files,
    integrate,
    mirror,
    publish,
    selectors,
    setup,
    signer,
    startup,
    tasks,
    tiles,
    witness_requests,
    witnesses,
)
from compliance.ledger import keys as log_keys
from compliance.ledger.errors import LedgerError, WitnessAlarm
from compliance.ledger.models import Checkpoint as CheckpointRow
from compliance.proof import note
from compliance.proof.checkpoint import Checkpoint
from compliance.proof.note import NoteSigner, NoteVerifier
from compliance.proof.verify import verify_file
from compliance.proof.witness_protocol import MAX_ANSWER_BYTES, SIZE_TYPE, AddCheckpoint, size_answer
from compliance.witness import evidence, home
from compliance.witness.cosign import Witness
from tests.ledger.processes import KILLED, Child
from tests.ledger.world import Factory, found, meter
from tests.services import witnesses as running
from tests.services.lying_witness import Answer, LyingWitness, drips, floods, lying_witness, says
from tests.witness.logs import witness_signer

pytestmark = pytest.mark.django_db

Change = Callable[..., None]


@pytest.fixture
def policy(settings: Any, folders: Path) -> Change:
    """Write the operator's policy, and other settings beside."""

    def change(*lines: str, quorum: str = "none", **changes: Any) -> None:
        path = folders / "witness.policy"
        path.write_text("".join(f"{line}\n" for line in (*lines, f"quorum {quorum}")))
        settings.METERPROOF = {**settings.METERPROOF, "WITNESS_POLICY": path, "WITNESS_TIMEOUT_SECONDS": 30, **changes}

    return change


@pytest.fixture
def liar(log: Path, folders: Path) -> Iterator[LyingWitness]:
    """A witness that does as told, at first like a good one; `liar.good` is that answer."""
    with lying_witness(says(500)) as witness:
        witness.answer = witness.good = honest(folders / "good")
        yield witness


def honest(folder: Path, name: str = "witness.example.test/liar") -> Answer:
    """The answers of a real witness in `folder`, by the test's clock."""
    home.make(folder, name)
    home.add_log(folder, log_vkey())

    def answer(handler: Any, body: bytes) -> None:
        witness = Witness(
            home.load_signer(folder),
            home.load_store(folder),
            folder / home.EVIDENCE,
            read_clock=lambda: clock.now().timestamp(),
        )
        if handler.command == "GET":
            text = witness.checkpoint_at(handler.path.removeprefix("/"))
            says(200 if text else 404, (text or "").encode())(handler, body)
            return
        told = witness.add_checkpoint(body)
        says(told.status, told.body, Content_Type=told.content_type)(handler, body)

    return answer


def log_vkey() -> str:
    return (settings.METERPROOF["TRUST_DIR"] / "log.vkey").read_text().strip()


def log_signer() -> NoteSigner:
    """The log key, as whoever stole it would use it."""
    return log_keys.log_signers([NoteVerifier.from_vkey(log_vkey())])[0]


def line_of(folders: Path, liar: LyingWitness, name: str = "liar") -> str:
    return f"witness {name} {(folders / 'good' / 'vkey').read_text().strip()} {liar.url}"


def grow(factory: Factory, count: int = 3) -> None:
    factory.send([factory.event(meter(number)) for number in range(count)])
    integrate.integrate()


def shown() -> str:
    text = tiles.read_checkpoint()
    assert text is not None
    return text


def shown_size() -> int:
    text = tiles.read_checkpoint()
    return Checkpoint.from_text(note.split(text)[0]).size if text else 0


def later(seconds: float, than: datetime | None = None) -> Any:
    """The clock stands `seconds` ahead until the block ends."""
    moment = (than or clock.now()) + timedelta(seconds=seconds)
    return clock.use(lambda: moment)


def manage(*words: str) -> str:
    out = io.StringIO()
    call_command(*words, stdout=out)
    return out.getvalue()


def test_two_witnesses_one_of_them_not_ours(factory: Factory, folders: Path, policy: Change) -> None:
    """A quorum of both; verifiers, ours and others', count them; a fork is refused by both and stops publishing."""
    with ExitStack() as stack:
        ours = stack.enter_context(running.ours(folders / "ours", log_vkey()))
        theirs = stack.enter_context(running.theirs(folders / "theirs", log_vkey()))
        policy(
            f"witness o {ours.vkey} {ours.url}", f"witness t {theirs.vkey} {theirs.url}", "group both all o t",
            quorum="both",
        )  # fmt: skip
        setup.write_trust_folder()
        factory.register()
        for _ in range(2):
            grow(factory)
            assert publish.publish() is not None
        verdict = verify_file(settings.METERPROOF["LOG_DIR"], settings.METERPROOF["TRUST_DIR"])
        assert verdict.error is None, verdict.error
        assert verdict.facts["checkpoint"]["witnesses"] == ["o", "t"]
        vkeys = [aics_tlog.parse_vkey(vkey) for vkey in (ours.vkey, theirs.vkey)]
        assert aics_tlog.verify_checkpoint(
            aics_tlog.parse_note(shown()), aics_tlog.parse_vkey(log_vkey()), vkeys, quorum=2
        ).ok
        assert found() == []
        grow(factory)
        fork = Checkpoint(settings.METERPROOF["ORIGIN"], shown_size(), b"f" * 32)  # T8, T17: another history, right key
        signed = note.sign(fork.to_text(), [log_signer()])
        with pytest.raises(WitnessAlarm):
            witnesses.collect(signed, fork)
        before = shown()
        with pytest.raises(WitnessAlarm, match="Publishing is stopped"):
            publish.publish()
        assert shown() == before
        kept = evidence.count(folders / "ours" / home.EVIDENCE)
        assert kept == {"fork": 1, "unproven": 0}
        assert running.their_evidence(folders / "theirs")


@pytest.mark.both_engines
def test_cosignatures_are_renewed_while_the_log_is_idle(
    factory: Factory, folders: Path, policy: Change, liar: LyingWitness
) -> None:
    policy(line_of(folders, liar), quorum="liar", WITNESS_RENEW_SECONDS=300)
    grow(factory)
    start = clock.now()
    with later(1, start):
        assert publish.publish() is not None
    first, asked = shown(), len(liar.asked)
    row = CheckpointRow.objects.get()
    assert row.note == first
    for ahead in (2, 299):
        with later(ahead, start):
            assert publish.publish() is None
    assert (shown(), len(liar.asked)) == (first, asked)
    with later(303, start):
        assert publish.publish() is None
        renewed = shown()
        written = (tiles.folder() / tiles.CHECKPOINT).stat().st_mtime
        assert abs(written - clock.now().timestamp()) < 1
    assert renewed != first
    assert note.split(renewed)[0] == note.split(first)[0]
    assert CheckpointRow.objects.get().note == first  # what was proven under it stays
    assert selectors.latest_checkpoint().note == first  # type: ignore[union-attr]
    assert found() == []
    last = signer.last_signed()
    assert last is not None
    assert last.number == 1  # nothing was signed again


@pytest.mark.both_engines
@pytest.mark.parametrize("fail_closed", [True, False], ids=["closed", "open"])
def test_a_quorum_that_is_missing(
    factory: Factory, folders: Path, policy: Change, liar: LyingWitness, *, fail_closed: bool
) -> None:
    """Closed: nothing is shown until they sign, then all of it. Open: it is shown, and completed later."""
    policy(line_of(folders, liar), quorum="liar", WITNESS_FAIL_CLOSED=fail_closed)
    setup.write_trust_folder()
    factory.register()
    grow(factory)
    liar.answer = says(503)
    assert (publish.publish() is None) == fail_closed
    signed = signer.last_signed()
    assert signed is not None
    assert (shown_size() == 0) == fail_closed
    assert found() == []
    startup.verify_state()
    asked = len(liar.asked)
    assert publish.publish() is None
    assert len(liar.asked) == asked  # it is given a pause
    grow(factory)
    if fail_closed:
        with later(2.5):
            assert publish.publish() is None  # and asked again after it: nothing newer is signed before
            assert signer.last_signed() == signed
            assert "waits for witnesses" in manage("ledger", "status")
            assert len(liar.asked) == asked + 1
            assert "waits for witnesses" in manage("ledger", "publish")  # who says so is not made to wait
            assert len(liar.asked) == asked + 2
    liar.answer = liar.good
    with later(60):
        assert publish.publish() is not None
        assert shown_size() == selectors.log_size()
        assert found() == []
        verdict = verify_file(settings.METERPROOF["LOG_DIR"], settings.METERPROOF["TRUST_DIR"])
        assert verdict.error is None, verdict.error
        assert verdict.facts["checkpoint"]["witnesses"] == ["liar"]
    latest = selectors.latest_checkpoint()
    assert latest is not None
    assert len(note.split(latest.note)[1]) == 2


@pytest.mark.both_engines
def test_proofs_take_the_cosignatures_that_came_later(
    factory: Factory, folders: Path, policy: Change, liar: LyingWitness
) -> None:
    policy(line_of(folders, liar), quorum="liar", WITNESS_FAIL_CLOSED=False)
    grow(factory)
    liar.answer = says(503)
    assert publish.publish() is not None
    liar.answer = liar.good
    with later(10):
        assert publish.publish() is None
    latest, row = selectors.latest_checkpoint(), CheckpointRow.objects.get()
    assert latest is not None
    assert (latest.note, len(note.split(row.note)[1])) == (shown(), 1)
    assert found() == []


def test_a_witness_that_was_ahead_behind_or_new_is_told_where_to_begin(
    factory: Factory, folders: Path, policy: Change, liar: LyingWitness
) -> None:
    """409 with its size: the next request begins there. Our own memory of it may be lost or old."""
    policy(line_of(folders, liar), quorum="liar")
    grow(factory, 300)
    publish.publish()
    memory = (settings.METERPROOF["SIGNER_DIR"] / witnesses.STATE).read_bytes()
    grow(factory, 20)
    assert publish.publish() is not None
    (settings.METERPROOF["SIGNER_DIR"] / witnesses.STATE).write_bytes(memory)  # older than the witness
    assert publish.publish() is None
    (settings.METERPROOF["SIGNER_DIR"] / witnesses.STATE).write_text("not JSON")
    grow(factory, 7)
    assert publish.publish() is not None
    assert shown_size() == selectors.log_size()
    assert witnesses.standing()[0][2].outcome == "cosigned"


def lies(signed_by: str) -> Answer:
    """A cosignature of another key under the name, or of another text under the key."""

    def answer(handler: Any, body: bytes) -> None:
        text = note.split(AddCheckpoint.from_bytes(body).checkpoint)[0]
        now = int(clock.now().timestamp())
        folder = settings.METERPROOF["TRUST_DIR"].parent / "good"
        own = home.load_signer(folder)
        stranger = witness_signer(own.name)
        lines = {
            "other key": stranger.line(text, time=now),
            "other text": own.line(text + "more\n", time=now),
            "old": own.line(text, time=now - 3600),
            "log": log_signer().line(text),
        }
        says(200, lines[signed_by].encode())(handler, body)

    return answer


def test_witnesses_that_lie_are_slow_or_send_us_elsewhere(
    factory: Factory, folders: Path, policy: Change, liar: LyingWitness
) -> None:
    """None of it counts as a cosignature, stops publishing, takes memory, or is followed."""
    policy(line_of(folders, liar), quorum="none", WITNESS_TIMEOUT_SECONDS=1)
    with lying_witness(says(200, b"")) as elsewhere:
        cases: list[tuple[Answer, str]] = [
            (says(403), "answered 403"),
            (says(404), "answered 404"),
            (says(500), "answered 500"),
            (says(302, Location=f"{elsewhere.url}/add-checkpoint"), "answered 302"),
            (says(307, Location=f"{elsewhere.url}/add-checkpoint"), "answered 307"),
            (says(200), "note.form"),
            (says(200, b"\xff\xfe"), "note.form"),
            (says(200, b"x" * (MAX_ANSWER_BYTES + 1)), "more than"),
            (floods(1 << 30), "more than"),
            (lies("other key"), "note.unknown_key"),
            (lies("other text"), "note.signature"),
            (lies("log"), "note.unknown_key"),
            (lies("old"), "one clock is wrong"),
            (says(409, b"0\n", Content_Type=SIZE_TYPE), "has cosigned 0 entries"),
            (says(409, b"0\n", Content_Type="text/plain"), "without a size"),
            (drips(0.05), "did not answer within"),
        ]
        grow(factory)
        for number, (answer, outcome) in enumerate(cases):
            liar.answer = answer
            with later(number * 40):
                publish.publish()
                assert outcome in witnesses.standing()[0][2].outcome
                assert len(note.split(shown())[1]) == 1
        assert elsewhere.asked == []
        assert witnesses.alarm() is None
        liar.answer = liar.good
        with later(2000):
            publish.publish()
            assert len(note.split(shown())[1]) == 2
        policy(f"{line_of(folders, liar).rpartition(' ')[0]} http://127.0.0.1:1/", quorum="none")
        with later(4000):
            publish.publish()
            assert "could not be asked" in witnesses.standing()[0][2].outcome
            assert len(note.split(shown())[1]) == 2  # its older line stays


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (says(422, b"no\n"), "answered 422"),
        (says(409, size_answer(10_000), Content_Type=SIZE_TYPE), "has cosigned a log of 10000 entries"),
        (says(409, size_answer(6), Content_Type=SIZE_TYPE), "has cosigned another root of 6 entries"),
    ],
    ids=["422", "ahead", "other root"],
)
def test_an_alarm_stops_publishing_until_the_operator_has_looked(
    factory: Factory, folders: Path, policy: Change, liar: LyingWitness, answer: Answer, said: str
) -> None:
    policy(line_of(folders, liar), quorum="none", WITNESS_FAIL_CLOSED=False)
    liar.answer = answer
    grow(factory)
    with pytest.raises(WitnessAlarm, match=said):
        publish.publish()
    raised = witnesses.alarm()
    assert raised is not None
    assert (Path(raised.evidence) / "our-checkpoint").read_text() == signer.last_signed().note  # type: ignore[union-attr]
    assert (Path(raised.evidence) / "request").read_bytes().startswith(b"old ")
    grow(factory)
    asked = len(liar.asked)
    tasks.integrate_and_publish()  # the worker goes on with the rest
    for attempt in (publish.publish, publish.rebuild):
        with pytest.raises(WitnessAlarm, match="go-on"):
            attempt()
    assert (tiles.read_checkpoint(), len(liar.asked)) == (None, asked)
    assert [message.id for message in checks.check_state(["default"])] == ["ledger.E003"]
    with pytest.raises(CommandError, match="Publishing is stopped"):
        manage("ledger", "status")
    assert "publishing is stopped" in Client().get("/readyz").json()["checks"]["witnesses"]
    assert found() == []
    assert "goes on" in manage("ledger", "go-on", "the witness was restored from a backup")
    (accepted,) = Path(raised.evidence).glob("accepted-*.json")
    assert json.loads(accepted.read_text())["reason"] == "the witness was restored from a backup"
    with later(60), pytest.raises(WitnessAlarm):
        publish.publish()  # it says it again
    manage("ledger", "go-on", "it is wrong")
    policy(quorum="none")
    assert publish.publish() is not None
    assert shown_size() == selectors.log_size()
    with pytest.raises(CommandError, match="No witness"):
        manage("ledger", "go-on", "again")
    assert found() == []


def test_evidence_holds_what_the_witness_cosigned_instead(
    factory: Factory, folders: Path, policy: Change, liar: LyingWitness
) -> None:
    """The signer's memory and the database went back together: the witness tells (T13)."""
    policy(line_of(folders, liar), quorum="liar")
    grow(factory)
    publish.publish()
    theirs = shown()
    fork = Checkpoint(settings.METERPROOF["ORIGIN"], shown_size(), b"f" * 32)
    with pytest.raises(WitnessAlarm, match="422"):
        witnesses.collect(note.sign(fork.to_text(), [log_signer()]), fork)
    raised = witnesses.alarm()
    assert raised is not None
    kept = (Path(raised.evidence) / "their-checkpoint").read_text()
    assert note.split(kept)[0] == note.split(theirs)[0]
    assert evidence.count(folders / "good" / home.EVIDENCE) == {"fork": 1, "unproven": 0}


def test_a_mirror_keeps_the_cosignatures_it_was_given(
    factory: Factory, folders: Path, policy: Change, liar: LyingWitness
) -> None:
    """It asked nobody, and asks nobody: lines of witnesses it never heard of stay."""
    policy(line_of(folders, liar), quorum="liar")
    grow(factory)
    publish.publish()
    cosigned, asked = shown(), len(liar.asked)
    policy(quorum="none")
    (settings.METERPROOF["SIGNER_DIR"] / witnesses.STATE).unlink()
    assert [problem.code for problem in found()] == ["note.unknown_key"] * 2
    mirror.mark(size=shown_size())
    assert found() == []
    with later(1000):
        assert publish.publish() is None
    assert (shown(), len(liar.asked)) == (cosigned, asked)


@pytest.mark.both_engines
def test_fsck_looks_at_cosignatures_too(factory: Factory, folders: Path, policy: Change, liar: LyingWitness) -> None:
    policy(line_of(folders, liar), quorum="liar")
    grow(factory)
    publish.publish()
    good = shown()
    line = good.splitlines(keepends=True)[-1]
    path = tiles.folder() / tiles.CHECKPOINT
    flipped = line[:-6] + ("A" if line[-6] != "A" else "B") + line[-5:]
    stranger = witness_signer("witness.example.test/nobody").line(note.split(good)[0], time=1)
    for wrong, code in ((flipped, "note.signature"), (stranger, "note.unknown_key")):
        files.replace(path, (good.removesuffix(line) + wrong).encode())
        assert [(problem.code, problem.place) for problem in found()] == [(code, tiles.CHECKPOINT)]
    files.replace(path, good.encode())
    policy(quorum="none")  # who was asked before stays known
    assert found() == []


def test_the_policy_that_relying_parties_get(factory: Factory, folders: Path, policy: Change) -> None:
    vkey = witness_signer().vkey
    policy("# ours", f"log {log_vkey()}", f"witness w {vkey} https://secret.example/w", "group g any w", quorum="g")
    text = (setup.write_trust_folder() / "policy").read_text()
    assert text == f"log {log_vkey()}\nwitness w {vkey}\ngroup g any w\nquorum g\n"
    policy(f"witness w {vkey}", quorum="w", WITNESS_FAIL_CLOSED=False)
    assert (setup.write_trust_folder() / "policy").read_text().endswith("quorum none\n")
    for wrong in (
        f"witness w {vkey} ftp://x",
        f"witness w {vkey} http://u:p@x/",
        f"witness w {vkey} http://x:0/",
        "what",
    ):
        policy(wrong)
        with pytest.raises(LedgerError, match=r"address|no policy"):
            setup.write_trust_folder()
    assert [message.id for message in checks.check_state(["default"])] == ["ledger.E003"]
    assert not witness_requests.is_address("http://[")


def show_and_die() -> None:
    tasks.integrate_and_publish()


@pytest.mark.both_engines
@pytest.mark.django_db(transaction=True)
def test_killed_while_it_collects_it_goes_on(committed_log: Path, folders: Path, policy: Change) -> None:
    """F6: signed and answered, answered and remembered, but not shown: the next round does the rest."""
    factory = Factory()
    with lying_witness(says(500)) as witness:
        witness.answer = honest(folders / "good")
        policy(line_of(folders, witness), quorum="liar")
        for step in ("answered", "remembered"):
            factory.send([factory.event(meter(1))])
            assert Child(show_and_die, kill_at=f"ledger.witnesses.{step}").end() == KILLED, step
            startup.verify_state()
            tasks.integrate_and_publish()
            assert shown_size() == selectors.log_size()
            assert len(note.split(shown())[1]) == 2
        assert found() == []
