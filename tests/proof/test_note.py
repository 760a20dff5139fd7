"""Signed notes, checkpoints, cosignatures and trust policies, against the vectors of the specifications."""

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compliance.proof import note
from compliance.proof.checkpoint import Checkpoint
from compliance.proof.errors import NotCheckable, ProofError
from compliance.proof.note import TYPE_COSIGNATURE, TYPE_MLDSA44, NoteSigner, NoteVerifier, open_note
from compliance.proof.policy import parse_policy
from compliance.proof.post_quantum import PostQuantumPrivateKey
from tests.proof.vectors import load
from tests.proof.world import key_of

COSIGNED = load("tlog-cosignature/cosigned.json")
LOG = NoteSigner("log.example.test/a", key_of("log"))
WITNESSES = {
    name: NoteSigner(f"{name}.example.test", key_of(name), TYPE_COSIGNATURE) for name in ("x1", "x2", "x3", "y1", "y2")
}
TEXT = Checkpoint(LOG.name, 7, b"\x07" * 32).to_text()


@pytest.mark.parametrize("case", load("signed-note/notes.json"), ids=lambda case: case["desc"])
def test_official_notes(case):
    verifiers = [NoteVerifier.from_vkey(vkey) for vkey in case["vkeys"]]
    if case["ok"]:
        assert open_note(case["note"], verifiers).verified
        return
    with pytest.raises(ProofError) as refused:
        open_note(case["note"], verifiers)
    assert refused.value.code.startswith("note.")


@pytest.mark.parametrize("case", load("signed-note/vkeys.json"), ids=lambda case: case["vkey"][:24])
def test_official_verifier_keys(case):
    if case["ok"]:
        assert NoteVerifier.from_vkey(case["vkey"]).vkey == case["vkey"]
        return
    with pytest.raises(ProofError) as refused:
        NoteVerifier.from_vkey(case["vkey"])
    assert refused.value.code == "key.form"


@pytest.mark.parametrize("case", load("tlog-checkpoint/bodies.json"), ids=lambda case: case["desc"])
def test_official_checkpoint_bodies(case):
    if case["ok"]:
        assert Checkpoint.from_text(case["body"]).to_text() == case["body"]
        return
    with pytest.raises(ProofError) as refused:
        Checkpoint.from_text(case["body"])
    assert refused.value.code == "checkpoint.form"


def test_the_official_cosignature():
    log, witness = (NoteVerifier.from_vkey(COSIGNED[name]) for name in ("log_vkey", "witness_vkey"))
    opened = open_note(COSIGNED["checkpoint"], [log, witness])
    line = opened.verified_by(witness)
    assert line is not None
    assert line.time == COSIGNED["witness_time"]
    assert opened.verified_by(log) is not None
    assert Checkpoint.from_text(opened.text).size == 700


def test_the_time_inside_another_cosignature():
    for item in COSIGNED["other_timestamps"]:
        data = base64.b64decode(item["signature_base64"])
        assert int.from_bytes(data[4:12], "big") == item["time"]


TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=40).map(lambda text: text + "\n")


@given(TEXTS, st.integers(1, 20))
def test_notes_round_trip_with_many_signatures(text, count):
    signers = [NoteSigner(f"key{number}", key_of(f"key{number}")) for number in range(count)]
    signed = note.sign(text, signers)
    opened = open_note(signed, [signer.verifier for signer in signers])
    assert opened.text == text
    assert len(opened.verified) == count
    only = open_note(signed, [signers[-1].verifier])
    assert (len(only.verified), only.unknown) == (1, count - 1)


def test_a_line_of_an_unknown_type_is_passed_over():
    """A verifier that does not know a key or its type ignores its line, as the text asks."""
    line = f"\u2014 {LOG.name} {base64.b64encode(b'abcd' + bytes(2_428)).decode()}\n"
    opened = open_note(note.sign(TEXT, [LOG]) + line, [LOG.verifier])
    assert opened.unknown == 1


def test_a_failing_line_of_a_known_key_rejects_the_note():
    """A cosignature of other text, one whose stated time was moved, and one cut short."""
    good, witness = note.sign(TEXT, [LOG]), WITNESSES["x1"]
    line = base64.b64decode(witness.line(TEXT, time=5).split()[2])
    moved = line[:4] + (6).to_bytes(8, "big") + line[12:]
    for data in (base64.b64decode(witness.line("other\n", time=5).split()[2]), moved, line[:-1]):
        bad = f"\u2014 {witness.name} {base64.b64encode(data).decode()}\n"
        with pytest.raises(ProofError) as refused:
            open_note(good + bad, [LOG.verifier, witness.verifier])
        assert refused.value.code == "note.signature"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no lines\n",
        "text\n\n",
        "text\n\n- key aaaa\n",
        "text\n\n\u2014 key\n",
        "text\n\n\u2014 key AAAA\n",
        "text\n\n\u2014 ke+y AAAAAAAA\n",
        "text\n\n\u2014  AAAAAAAA\n",
        "text\n\n\u2014 key AAAAAAA=\n ",
        "te\txt\n\n\u2014 key AAAAAAAA\n",
        "text\n\n\u2014 key AAAAAAAA\n\x00\n",
        "text\n\n" + "\u2014 key AAAAAAAA\n" * 101,
        "x" * 1_000_001,
    ],
    ids=repr,
)
def test_what_is_no_note_is_refused(text):
    with pytest.raises(ProofError) as refused:
        open_note(text, [LOG.verifier])
    assert refused.value.code == "note.form"


@pytest.mark.parametrize("text", ["no newline", "tab\there\n", "nul\x00\n", "half \ud800\n"])
def test_text_of_another_form_is_not_signed(text):
    with pytest.raises(ProofError) as refused:
        note.sign(text, [LOG])
    assert refused.value.code == "note.form"


def test_signers_need_a_name_a_key_of_the_right_kind_and_a_time():
    for make in (
        lambda: NoteSigner("with blank", key_of("a")),
        lambda: NoteSigner("with+plus", key_of("a")),
        lambda: NoteSigner("name", key_of("a", "ecdsa_p256_sha256")),
        lambda: WITNESSES["x1"].line(TEXT),
    ):
        with pytest.raises(ProofError):
            make()


@pytest.mark.parametrize(
    "text",
    [
        "log\n1\nAAAA\n",
        "log\n01\n" + "A" * 43 + "=\n",
        "log\n-1\n" + "A" * 43 + "=\n",
        "log\n9007199254740992\n" + "A" * 43 + "=\n",
        "lo g\n1\n" + "A" * 43 + "=\n",
        "log+1\n1\n" + "A" * 43 + "=\n",
        "log\n1\n" + "A" * 42 + "B=\n",
        "log\n1\n" + "A" * 43 + "=\nmore\n",
        "log\r\n1\n" + "A" * 43 + "=\n",
    ],
    ids=repr,
)
def test_checkpoints_have_one_spelling(text):
    with pytest.raises(ProofError) as refused:
        Checkpoint.from_text(text)
    assert refused.value.code == "checkpoint.form"


def policy_text(*lines: str) -> bytes:
    """A policy with the log, the five witnesses and `lines`."""
    start = [f"log {LOG.vkey} https://log.example.test"]
    start += [f"witness {name} {signer.vkey}" for name, signer in WITNESSES.items()]
    return "\n".join([*start, *lines, ""]).encode()


TWO_LEVELS = ("group X 2 x1 x2 x3", "group Y any y1 y2", "group XY all X Y", "quorum XY")


@pytest.mark.parametrize(
    ("lines", "cosigned", "enough"),
    [
        (("quorum none",), "", True),
        (("quorum x1",), "x1", True),
        (("quorum x1",), "x2", False),
        (TWO_LEVELS, "x1 x3 y2", True),
        (TWO_LEVELS, "x1 y1 y2", False),
        (TWO_LEVELS, "x1 x2 x3", False),
        (TWO_LEVELS, "x1 x2 x3 y1 y2", True),
        (("group all all x1 x2 x3 y1 y2", "quorum all"), "x1 x2 x3 y1", False),
        (("  # a comment", "", "\tquorum   x1  "), "x1", True),
    ],
)
def test_quorums(lines, cosigned, enough):
    policy = parse_policy(policy_text(*lines))
    present: list[Any] = [WITNESSES[name].verifier for name in cosigned.split()]
    if enough:
        assert policy.require_quorum(present) == cosigned.split()
        return
    with pytest.raises(ProofError) as refused:
        policy.require_quorum(present)
    assert refused.value.code == "policy.quorum"


@pytest.mark.parametrize(
    "lines",
    [
        (),
        ("quorum none", "quorum none"),
        ("quorum nobody",),
        ("quorum g", "group g any x1"),
        ("group g any", "quorum g"),
        ("group g 3 x1 x2", "quorum g"),
        ("group g 0 x1", "quorum g"),
        ("group g 01 x1", "quorum g"),
        ("group g any none", "quorum g"),
        ("group none any x1", "quorum none"),
        ("group x1 any x2", "quorum x1"),
        ("group g any x1", "group h any x1", "quorum h"),
        ("group g any x1 x1", "quorum g"),
        (f"witness again {WITNESSES['x1'].vkey}", "quorum none"),
        (f"log {LOG.vkey}", "quorum none"),
        ("witness bad not-a-key", "quorum none"),
        ("wittness x9 key", "quorum none"),
        ("quorum none\x00",),
        ("quorum",),
    ],
    ids=str,
)
def test_policies_that_cannot_be_understood(lines):
    with pytest.raises(NotCheckable) as refused:
        parse_policy(policy_text(*lines))
    assert refused.value.code == "trust.form"
    assert refused.value.exit_status == 2


def test_a_witness_of_an_unknown_key_type_never_counts():
    key = base64.b64encode(b"\x07" + bytes(1_312)).decode()
    policy = parse_policy(policy_text(f"witness pq pq.example.test+00000000+{key}", "group g any pq x1", "quorum g"))
    assert policy.require_quorum([WITNESSES["x1"].verifier]) == ["x1"]
    with pytest.raises(ProofError):
        policy.require_quorum([])


class TestPostQuantum:
    """Type 0x06, ML-DSA-44: https://c2sp.org/tlog-cosignature."""

    KEY = PostQuantumPrivateKey.generate()
    SIGNER = NoteSigner(LOG.name, KEY, TYPE_MLDSA44)
    NOTE = note.sign(TEXT, [LOG, SIGNER], time=1_777_878_000)

    def test_both_lines_verify_and_the_time_is_said(self):
        opened = open_note(self.NOTE, [LOG.verifier, self.SIGNER.verifier])
        line = opened.verified_by(self.SIGNER.verifier)
        assert line is not None
        assert (line.time, opened.unknown) == (1_777_878_000, 0)
        assert open_note(self.NOTE, [LOG.verifier]).unknown == 1
        assert NoteVerifier.from_vkey(self.SIGNER.vkey) == self.SIGNER.verifier

    def test_the_name_is_signed(self):
        """Unlike that of an Ed25519 cosignature: the line does not verify under another name of the same key."""
        text, lines = note.split(self.NOTE)
        other = NoteVerifier("other.example.test", TYPE_MLDSA44, self.KEY.public)
        moved = f"\u2014 {other.name} {base64.b64encode(other.id + lines[1][2]).decode()}\n"
        with pytest.raises(ProofError, match=r"note\.signature"):
            open_note(f"{text}\n{moved}", [other])

    def test_what_is_changed_is_refused(self):
        text, lines = note.split(self.NOTE)
        signature = lines[1][2]
        for broken in (signature[:-1], signature + b"\x00", b"\x80" + signature[1:], signature[:8] + bytes(2_420)):
            line = f"\u2014 {LOG.name} {base64.b64encode(self.SIGNER.verifier.id + broken).decode()}\n"
            with pytest.raises(ProofError, match=r"note\.signature"):
                open_note(f"{text}\n{line}", [self.SIGNER.verifier])
        larger = self.NOTE.replace("\n7\n", "\n8\n")
        with pytest.raises(ProofError, match=r"note\.signature"):
            open_note(larger, [self.SIGNER.verifier])

    def test_keys_and_types_belong_together(self):
        for key, type_ in [(self.KEY, TYPE_COSIGNATURE), (key_of("log"), TYPE_MLDSA44)]:
            with pytest.raises(ProofError, match=r"key\.form"):
                NoteSigner(LOG.name, key, type_)
        for data in (b"\x06" + bytes(32), b"\x06" + bytes(1_311)):
            with pytest.raises(ProofError, match=r"key\.form"):
                NoteVerifier.from_vkey(f"{LOG.name}+00000000+{base64.b64encode(data).decode()}")
        for text, time in [(TEXT, None), (TEXT, -1), ("no checkpoint\n", 5)]:
            with pytest.raises(ProofError):
                self.SIGNER.line(text, time=time)
        with pytest.raises(ProofError, match=r"key\.form"):
            PostQuantumPrivateKey.from_pem(key_of("log").to_pem())
        assert PostQuantumPrivateKey.from_pem(self.KEY.to_pem()).public == self.KEY.public

    def test_policies_take_it_for_logs_and_witnesses(self):
        vkey = self.SIGNER.vkey
        asked = parse_policy(f"log {LOG.vkey}\nwitness pq {vkey}\nquorum pq\n".encode())
        assert asked.require_quorum([self.SIGNER.verifier]) == ["pq"]
        with pytest.raises(ProofError, match=r"policy\.quorum"):
            asked.require_quorum([LOG.verifier])
        assert parse_policy(f"log {vkey}\nquorum none\n".encode()).logs == (self.SIGNER.verifier,)


def test_the_lines_of_some_keys_are_found_as_they_stand_the_first_of_each():
    lines = {name: signer.line(TEXT, time=at) for at, (name, signer) in enumerate(WITNESSES.items(), 1)}
    again = WITNESSES["x1"].line(TEXT, time=99)
    whole = f"{TEXT}\n{LOG.line(TEXT)}{''.join(lines.values())}{again}"
    wanted = [WITNESSES[name].verifier for name in ("y1", "x1")]
    assert note.lines_of(whole, wanted) == [lines["x1"], lines["y1"]]
    assert note.lines_of(whole, []) == []


def test_a_line_has_a_signature_behind_its_key():
    signer = NoteSigner("a.example", key_of("a"))
    for data, code in ((b"\x00" * 4, "note.form"), (b"\x00" * 5, "note.unknown_key")):
        line = f"\u2014 a.example {base64.b64encode(data).decode()}\n"
        with pytest.raises(ProofError) as refused:
            note.open_note(f"x\n\n{line}", [signer.verifier])
        assert refused.value.code == code
