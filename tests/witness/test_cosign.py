"""What a witness cosigns and what it refuses, by C2SP tlog-witness, and what it keeps when it refuses."""

import io
import json
import sqlite3
import time
from pathlib import Path

import pytest

from compliance.proof import note
from compliance.proof.checkpoint import Checkpoint
from compliance.proof.note import NoteSigner, NoteVerifier
from compliance.proof.witness_protocol import (
    MAX_PROOF_LINES,
    MAX_REQUEST_BYTES,
    SIZE_TYPE,
    AddCheckpoint,
    checkpoint_path,
    read_cosignature,
    read_size,
)
from compliance.witness import cli, evidence, home
from compliance.witness.cosign import Witness
from compliance.witness.store import WitnessStore
from tests.witness.conftest import Clock
from tests.witness.logs import ORIGIN, AnyLog, key_of


def statuses(witness: Witness, *bodies: bytes) -> list[int]:
    return [witness.add_checkpoint(body).status for body in bodies]


def test_it_cosigns_a_history_that_grows(witness: Witness, folder: Path, clock: Clock) -> None:
    log = AnyLog(300)
    verifier = home.load_signer(folder).verifier
    for old, new in ((0, 1), (1, 7), (7, 7), (7, 256), (256, 300)):
        clock.time += 1
        answer = witness.add_checkpoint(log.request(old, new))
        assert answer.status == 200, answer.body
        cosignature = read_cosignature(answer.body, log.checkpoint(new).to_text(), verifier)
        assert cosignature.time == clock.time
    served = witness.checkpoint_at(checkpoint_path(ORIGIN))
    assert served is not None
    opened = note.open_note(served, [verifier, log.signer.verifier])
    assert len(opened.verified) == 2
    assert Checkpoint.from_text(opened.text) == log.checkpoint(300)
    assert evidence.count(folder / home.EVIDENCE) == {"fork": 0, "unproven": 0}


def test_an_empty_log_has_one_root(witness: Witness) -> None:
    log = AnyLog()
    wrong = note.sign(Checkpoint(ORIGIN, 0, b"x" * 32).to_text(), [log.signer])
    assert statuses(witness, AddCheckpoint(0, (), wrong).to_bytes(), log.request(0)) == [422, 200]
    log.grow(3)
    assert statuses(witness, AddCheckpoint(0, (b"x" * 32,), log.note()).to_bytes(), log.request(0)) == [422, 200]


def test_the_wrong_old_size_is_answered_with_the_right_one(witness: Witness) -> None:
    log = AnyLog(10)
    assert statuses(witness, log.request(3), log.request(0)) == [409, 200]
    for old in (0, 3):
        answer = witness.add_checkpoint(log.request(old))
        assert (answer.status, answer.content_type) == (409, SIZE_TYPE)
        assert read_size(answer.content_type, answer.body) == 10
    assert statuses(witness, log.request(3, 7)) == [409]  # never a smaller tree after a larger one


def test_who_may_ask(witness: Witness) -> None:
    log = AnyLog(4)
    other = AnyLog(4, origin="log.example.test/other")
    stranger = NoteSigner(ORIGIN, key_of("stranger"))
    text = log.checkpoint().to_text()
    lying = log.note().replace("— ", "— ", 1)
    flipped = lying[:-4] + ("A" if lying[-4] != "A" else "B") + lying[-3:]
    assert statuses(
        witness,
        other.request(0),
        AddCheckpoint(0, (), note.sign(text, [stranger])).to_bytes(),
        AddCheckpoint(0, (), flipped).to_bytes(),
        log.request(5),
        AddCheckpoint(0, (), note.sign(text, [stranger, log.signer])).to_bytes(),
    ) == [404, 403, 403, 400, 200]
    served = witness.checkpoint_at(checkpoint_path(ORIGIN))
    assert served is not None
    assert len(note.split(served)[1]) == 2  # the stranger's line is not handed on
    assert witness.checkpoint_at(checkpoint_path("log.example.test/other")) is None


def test_lines_of_other_logs_after_the_third_are_cosigned_too(witness: Witness, folder: Path) -> None:
    log = AnyLog(4)
    text = log.checkpoint().to_text() + "extension of that log\n"
    answer = witness.add_checkpoint(AddCheckpoint(0, (), note.sign(text, [log.signer])).to_bytes())
    assert answer.status == 200
    read_cosignature(answer.body, text, home.load_signer(folder).verifier)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\n\n",
        b"old 1\n",
        b"old 01\n\n",
        b"old -1\n\n",
        b"old 99999999999999999999\n\n",
        b"new 1\n\n",
        b"old 0\nAAAA\n\n",
        b"old 0\n" + b"A" * 43 + b"=\n" * (MAX_PROOF_LINES + 1) + b"\n",
        b"old 0\n\nno checkpoint\n",
        b"old 0\n\nlog\n1\nnot base64\n\n\xe2\x80\x94 log AAAAAAAA\n",
        b"old 0\n\n" + b"x" * MAX_REQUEST_BYTES,
    ],
    ids=range(12),
)
def test_what_is_no_request_is_400(witness: Witness, body: bytes) -> None:
    assert witness.add_checkpoint(body).status == 400


def test_a_fork_is_refused_and_both_checkpoints_are_kept(witness: Witness, folder: Path) -> None:
    """T8, T17: the other history of an operator, at the same size and at a larger one."""
    log, fork = AnyLog(20), AnyLog(30, forked_at=15)
    assert statuses(witness, log.request(0), log.request(20)) == [200, 200]
    assert statuses(witness, fork.request(20, 20), fork.request(0, 20), fork.request(20), fork.request(20)) == [
        422,
        409,
        422,
        422,
    ]
    assert evidence.count(folder / home.EVIDENCE) == {"fork": 1, "unproven": 1}
    for kind in ("fork", "unproven"):
        (kept,) = (folder / home.EVIDENCE / kind).iterdir()
        refused = note.open_note((kept / "refused-checkpoint").read_text(), [log.signer.verifier])
        cosigned = note.open_note((kept / "cosigned-checkpoint").read_text(), [log.signer.verifier])
        assert Checkpoint.from_text(cosigned.text) == log.checkpoint()
        assert Checkpoint.from_text(refused.text) == fork.checkpoint(20 if kind == "fork" else 30)
        assert json.loads((kept / "why.json").read_text())["origin"] == ORIGIN
    assert statuses(witness, log.grow(5).request(20)) == [200]


def test_evidence_that_proves_nothing_cannot_fill_the_disk(
    witness: Witness, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(evidence.MAX_KEPT, evidence.UNPROVEN, 2)  # type: ignore[index]
    log = AnyLog(20)
    assert statuses(witness, log.request(0, 5)) == [200]
    wrong = [AddCheckpoint(5, (b"x" * 32,), log.note(size)).to_bytes() for size in range(10, 14)]
    assert statuses(witness, *wrong) == [422] * 4
    assert evidence.count(folder / home.EVIDENCE) == {"fork": 0, "unproven": 2}


def test_a_clock_that_went_back_signs_nothing(witness: Witness, clock: Clock) -> None:
    log = AnyLog(5)
    assert statuses(witness, log.request(0)) == [200]
    clock.time -= 10
    answer = witness.add_checkpoint(log.request(5))
    assert answer.status == 503
    assert dict(answer.headers)["Retry-After"]
    clock.time += 10
    assert statuses(witness, log.request(5)) == [200]


def test_a_clock_that_had_been_ahead_goes_on_when_the_operator_says_so(
    witness: Witness, folder: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    log = AnyLog(5)
    assert statuses(witness, log.request(0)) == [200]
    clock.time = time.time()
    assert statuses(witness, log.request(5)) == [503]
    told = io.StringIO()
    assert cli.run({"word": "accept-clock", "dir": folder}, told) == 0
    assert told.getvalue().startswith(f"{ORIGIN}: the last cosignature was ")
    assert "the operator says that it is " in caplog.text
    clock.time = time.time()
    assert statuses(witness, log.request(5)) == [200]
    again = io.StringIO()
    cli.run({"word": "accept-clock", "dir": folder}, again)
    assert again.getvalue() == f"{ORIGIN}: nothing to do.\n"
    assert statuses(witness, AnyLog(5, forked_at=2).request(5)) == [422], "nothing else was forgotten"


def test_evidence_that_cannot_be_written_is_503_and_nothing_is_signed(witness: Witness, folder: Path) -> None:
    log = AnyLog(20)
    assert statuses(witness, log.request(0, 5)) == [200]
    kept = folder / home.EVIDENCE
    if kept.exists():
        kept.rmdir()
    kept.write_text("no folder")
    wrong = AddCheckpoint(5, (b"x" * 32,), log.note(10)).to_bytes()
    answer = witness.add_checkpoint(wrong)
    assert answer.status == 503
    assert dict(answer.headers)["Retry-After"]
    kept.unlink()
    assert statuses(witness, wrong) == [422]


def test_a_busy_store_is_503_and_nothing_is_signed(
    witness: Witness, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("compliance.witness.store.BUSY_SECONDS", 0)
    with sqlite3.connect(folder / home.MEMORY, isolation_level=None) as holder:
        holder.execute("BEGIN IMMEDIATE")
        assert statuses(witness, AnyLog(5).request(0)) == [503]
        holder.execute("ROLLBACK")
    holder.close()
    assert statuses(witness, AnyLog(5).request(0)) == [200]


def test_the_memory_itself_never_goes_back(witness: Witness, folder: Path) -> None:
    assert statuses(witness, AnyLog(5).request(0)) == [200]
    with sqlite3.connect(folder / home.MEMORY) as connection:
        for statement in (
            "UPDATE cosigned SET size = 4",
            "DELETE FROM cosigned",
            "UPDATE cosigned SET root = zeroblob(32)",
        ):
            with pytest.raises(sqlite3.IntegrityError, match="a witness never"):
                connection.execute(statement)
    connection.close()


def test_a_known_checkpoint_to_begin_from(folder: Path, tmp_path: Path, clock: Clock) -> None:
    """A witness added to a running log does not believe whatever comes first."""
    origin = "log.example.test/running"
    log, fork = AnyLog(9, origin=origin), AnyLog(12, origin=origin, forked_at=5)
    assert home.add_log(folder, log.signer.vkey, known=log.note())
    witness = home.load(folder)
    assert statuses(witness, fork.request(0), fork.request(9), log.grow(2).request(9)) == [409, 422, 200]
    with pytest.raises(home.HomeError, match="cosigned already"):
        home.add_log(folder, log.signer.vkey, known=log.note())
    with pytest.raises(home.HomeError, match="no checkpoint of it"):
        home.add_log(folder, AnyLog(origin="log.example.test/x").signer.vkey, known=log.note())


def test_a_home_is_made_once_and_missed_when_it_is_lost(folder: Path, tmp_path: Path) -> None:
    assert (folder / home.KEY).stat().st_mode & 0o777 == 0o600
    vkey = (folder / home.VKEY).read_text().strip()
    assert not home.add_log(folder, AnyLog().signer.vkey)
    with pytest.raises(home.HomeError, match="holds a witness already"):
        home.make(folder, "witness.example.test/w2")
    with pytest.raises(home.HomeError, match="cannot name a witness"):
        home.make(tmp_path / "new", "a b")
    for wrong in (vkey, NoteVerifier(ORIGIN, 1, home.load_signer(folder).key.public).vkey, "nonsense"):
        with pytest.raises(home.HomeError):
            home.add_log(folder, wrong)
    (folder / home.KEY).chmod(0o644)
    with pytest.raises(home.HomeError, match="chmod 600"):
        home.load(folder)
    (folder / home.KEY).chmod(0o600)
    other = tmp_path / "other"
    home.make(other, "witness.example.test/w2")
    memory = (folder / home.MEMORY).read_bytes()
    (folder / home.MEMORY).write_bytes((other / home.MEMORY).read_bytes())
    with pytest.raises(home.HomeError, match="is the memory of"):
        home.load(folder)
    (folder / home.MEMORY).write_bytes(b"x" * 8192)
    with pytest.raises(home.HomeError, match="cannot be read"):
        home.load(folder)
    (folder / home.MEMORY).unlink()
    with pytest.raises(home.HomeError, match="has forgotten"):
        home.load(folder)
    (folder / home.MEMORY).write_bytes(memory)
    (folder / home.KEY).write_bytes((other / home.KEY).read_bytes())
    with pytest.raises(home.HomeError, match="is not the key of"):
        home.load(folder)
    (folder / home.KEY).unlink()
    with pytest.raises(home.HomeError, match="keygen"):
        home.load(folder)
    assert isinstance(home.load_store(other), WitnessStore)
