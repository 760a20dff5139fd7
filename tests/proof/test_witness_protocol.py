"""Requests and answers of C2SP tlog-witness, cosignatures and the policy that counts them."""

import pytest

from compliance.proof import merkle, note
from compliance.proof.errors import ProofError
from compliance.proof.note import TYPE_COSIGNATURE, TYPE_MLDSA44, NoteSigner, NoteVerifier
from compliance.proof.policy import parse_policy
from compliance.proof.post_quantum import PostQuantumPrivateKey
from compliance.proof.witness_protocol import (
    MAX_PROOF_LINES,
    SIZE_TYPE,
    AddCheckpoint,
    Cosignature,
    add_lines,
    read_cosignature,
    read_size,
)
from tests.proof.vectors import load
from tests.witness.logs import AnyLog, key_of, witness_signer


def test_a_request_is_what_was_asked() -> None:
    log = AnyLog(300)
    for old in (0, 1, 255, 256, 300):
        request = AddCheckpoint(old, tuple(log.proof(old, 300)), log.note())
        assert AddCheckpoint.from_bytes(request.to_bytes()) == request
    whole = AddCheckpoint(1, (b"x" * 32,) * MAX_PROOF_LINES, log.note()).to_bytes()
    assert len(AddCheckpoint.from_bytes(whole).proof) == MAX_PROOF_LINES
    with pytest.raises(ProofError) as refusal:
        AddCheckpoint.from_bytes(whole.replace(b"\n\n", b"\n" + b"A" * 43 + b"=\n\n", 1))
    assert refusal.value.code == "witness.form"


def test_the_answer_of_the_vector_is_read() -> None:
    vector = load("tlog-cosignature/cosigned.json")
    text = note.split(vector["checkpoint"])[0]
    line = vector["checkpoint"].splitlines(keepends=True)[-1]
    read = read_cosignature(line.encode(), text, NoteVerifier.from_vkey(vector["witness_vkey"]))
    assert (read.line, read.time) == (line, vector["witness_time"])
    assert add_lines(vector["checkpoint"].removesuffix(line), [line]) == vector["checkpoint"]


def test_a_witness_with_a_post_quantum_key_counts_too() -> None:
    log = AnyLog(3)
    witness = NoteSigner("witness.example.test/pq", PostQuantumPrivateKey.generate(), TYPE_MLDSA44)
    text = log.checkpoint().to_text()
    line = witness.line(text, time=7)
    assert read_cosignature(line.encode(), text, witness.verifier) == Cosignature(line, 7)
    policy = parse_policy(f"witness w {witness.vkey} http://w.example\nquorum w".encode())
    assert policy.require_quorum([witness.verifier]) == ["w"]


def test_the_age_of_a_quorum_is_that_of_its_oldest_needed_line() -> None:
    signers = [NoteSigner(f"w{number}", key_of(f"w{number}"), TYPE_COSIGNATURE) for number in range(3)]
    lines = [f"witness w{number} {signer.vkey} http://w{number}.example" for number, signer in enumerate(signers)]
    policy = parse_policy("\n".join([*lines, "group two 2 w0 w1 w2", "quorum two"]).encode())
    assert policy.urls == {f"w{number}": f"http://w{number}.example" for number in range(3)}
    times: dict[NoteVerifier, int] = {}
    for signer, time, since in zip(signers, (10, 30, 20), (None, 10, 20), strict=True):
        times[signer.verifier] = time
        assert policy.witnessed_since(times) == since
    assert parse_policy(b"quorum none").witnessed_since(times) is None


def test_answers_are_read_strictly() -> None:
    log, signer = AnyLog(3), witness_signer()
    text = log.checkpoint().to_text()
    line = signer.line(text, time=7)
    assert read_cosignature((log.signer.line(text) + line).encode(), text, signer.verifier).line == line
    assert add_lines(log.note(), [line, line]) == log.note() + line == add_lines(log.note() + line, [line])
    for answer in (b"", b"\xff", b"200\n", signer.line("other\n1\n", time=7).encode(), log.signer.line(text).encode()):
        with pytest.raises(ProofError):
            read_cosignature(answer, text, signer.verifier)
    for type_, body in (("text/plain", b"3\n"), (SIZE_TYPE, b"3"), (SIZE_TYPE, b"03\n"), (SIZE_TYPE, b"\xff\n")):
        with pytest.raises(ProofError, match=r"witness\.form"):
            read_size(type_, body)
    assert read_size(f"{SIZE_TYPE}; charset=utf-8", b"0\n") == 0
    assert AnyLog().checkpoint().root == merkle.EMPTY_ROOT


def test_requests_are_read_strictly() -> None:
    line = "A" * 43 + "=\n"
    for body in (
        b"",
        b"old 1\n\xff\n\nx",
        b"old 1",
        b"new 1\n\nx",
        b"old 01\n\nx",
        b"old -1\n\nx",
        b"old 9007199254740992\n\nx",
        b"old 1\n%b\n\nx" % line[:-2].encode(),
        f"old 1\n{line}{line[1:]}\nx".encode(),
        f"old 1\nAAAA\n{line}\nx".encode(),
    ):
        with pytest.raises(ProofError) as refusal:
            AddCheckpoint.from_bytes(body)
        assert refusal.value.code == "witness.form", body
    assert AddCheckpoint.from_bytes(f"old 1\n{line}\nx".encode()) == AddCheckpoint(1, (bytes(32),), "x")
