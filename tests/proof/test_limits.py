"""The last value that fits, and the first that does not: every limit of the formats, from both sides."""

import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest

from compliance.proof import (
    base64_text,
    bundle,
    canonical,
    cbor,
    cose_receipt,
    dsse,
    event,
    layout,
    merkle,
    note,
    policy,
    post_quantum,
    receipt,
    strict_json,
    subject,
    time_tokens,
    tlog_proof,
    verify,
    witness_protocol,
)
from compliance.proof.canonical import MAX_EVENT_BYTES, MAX_STRING_BYTES, encode, read_event_line, require_canonical
from compliance.proof.cbor import Tagged
from compliance.proof.checkpoint import Checkpoint
from compliance.proof.errors import ProofError
from compliance.proof.monitor import memory
from compliance.proof.note import COSIGNATURES, TYPE_ED25519, TYPE_MLDSA44, NoteSigner, NoteVerifier
from compliance.proof.trust import TrustFolder
from compliance.proof.verify import verify_file
from tests.proof import test_cose
from tests.proof import test_one_thing_wrong as one_thing
from tests.proof.test_event import GOOD
from tests.proof.world import METER, World, key_of

SIGNER = NoteSigner("log.example.test/x", key_of("log"))
WITNESS = NoteSigner("w.example.test", key_of("w"), note.TYPE_COSIGNATURE)
TEXT = World().checkpoint().to_text()


def code_of(do: Callable[..., object], **arguments: Any) -> str:
    """The code of the refusal, "" if there is none."""
    try:
        do(**arguments)
    except ProofError as refused:
        return refused.code
    return ""


def an_event(**changes: Any) -> Callable[[], None]:
    return lambda: event.check_event(GOOD | changes)


def event_of(size: int) -> dict[str, Any]:
    """An object of so many canonical bytes, in texts that each fit."""
    value = {f"t{number}": "a" * 8_000 for number in range(7)}
    value["rest"] = ""
    return value | {"rest": "a" * (size - len(encode(value)))}


def a_line(size: int, *, loose: bool) -> Callable[[], object]:
    return lambda: read_event_line(json.dumps(event_of(size), indent=1).encode() if loose else encode(event_of(size)))


def a_note(size: int) -> Callable[[], object]:
    line = SIGNER.line("x\n")
    return lambda: note.split("a" * (size - len(line.encode()) - 2) + "\n\n" + line)


def lines(count: int) -> Callable[[], object]:
    return lambda: note.split(f"{TEXT}\n" + SIGNER.line(TEXT) * count)


def at_time(time: int) -> Callable[[], object]:
    message = note.cosigned_message(TEXT, time)
    signature = time.to_bytes(8, "big") + key_of("w").sign(message)
    line = f"\u2014 {WITNESS.name} {base64_text.encode(WITNESS.verifier.id + signature)}\n"
    return lambda: note.open_note(f"{TEXT}\n{line}", [WITNESS.verifier])


def nested_cbor(depth: int, wrap: Callable[[Any], Any]) -> Callable[[], object]:
    value: Any = 1
    for _ in range(depth - 1):
        value = wrap(value)
    return lambda: cbor.decode(cbor.encode(value))


def nested_json(depth: int, *, lists: bool) -> Any:
    value: Any = {}
    for _ in range(depth - 1):
        value = [value] if lists else {"a": value}
    return {"a": value}


def evidence(count: int) -> Callable[[], None]:
    return an_event(evidence=[GOOD["evidence"][0]] * count)


def identifier(scheme: str, value: str) -> Callable[[], None]:
    return an_event(data={"identifiers": [{"scheme": scheme, "value": value}]})


def index(number: int) -> Callable[[], object]:
    return lambda: tlog_proof.TlogProof.from_text(f"c2sp.org/tlog-proof@v1\nindex {number}\n\n{SIGNER.line(TEXT)}")


def signed_by(count: int) -> Callable[[], object]:
    return lambda: dsse.sign(payload=b"{}", payload_type=dsse.BATCH_TYPE, keys=[key_of(f"{n}") for n in range(count)])


def an_envelope(size: int) -> Callable[[], object]:
    def read() -> object:
        around = len(dsse.sign(payload=b"", payload_type=dsse.BATCH_TYPE, keys=[key_of("a")]))
        payload = b"x" * ((size - around) // 4 * 3)
        data = dsse.sign(payload=payload, payload_type=dsse.BATCH_TYPE, keys=[key_of("a")])
        assert size - 4 < len(data) <= size
        return dsse.read_envelope(data, payload_type=dsse.BATCH_TYPE)

    return read


def named(length: int) -> Callable[[], object]:
    return lambda: post_quantum.cosigned_message(TEXT, name="a" * length, time=1)


def threshold(text: str) -> Callable[[], object]:
    members = "".join(f"witness w{n} {NoteSigner(f'w{n}', key_of(f'w{n}'), 4).vkey}\n" for n in range(2))
    return lambda: policy.parse_policy(f"{members}group g {text} w0 w1\nquorum g\n".encode())


def a_request(size: int) -> Callable[[], object]:
    head = b"old 0\n\n"
    return lambda: witness_protocol.AddCheckpoint.from_bytes(head + b"a" * (size - len(head)))


LIMITS: dict[str, tuple[str, Callable[[Any], Callable[[], object]], Any, Any]] = {
    "bytes of an event": ("json.size", lambda n: a_line(n, loose=False), MAX_EVENT_BYTES, MAX_EVENT_BYTES + 1),
    "canonical bytes of an event": ("json.size", lambda n: a_line(n, loose=True), MAX_EVENT_BYTES, MAX_EVENT_BYTES + 1),
    "bytes of a text": (
        "json.string_size",
        lambda n: lambda: read_event_line(encode({"a": [{"b": "a" * n}]})),
        MAX_STRING_BYTES,
        MAX_STRING_BYTES + 1,
    ),
    "bytes of a text beyond ASCII": (
        "json.string_size",
        lambda n: lambda: read_event_line(encode({"b": ["x", "ü" * n]})),
        MAX_STRING_BYTES // 2,
        MAX_STRING_BYTES // 2 + 1,
    ),
    "depth of objects": (
        "json.depth",
        lambda n: lambda: require_canonical(encode(nested_json(n - 1, lists=False)), max_bytes=1000),
        strict_json.MAX_DEPTH,
        strict_json.MAX_DEPTH + 1,
    ),
    "depth of lists": (
        "json.depth",
        lambda n: lambda: require_canonical(encode(nested_json(n - 1, lists=True)), max_bytes=1000),
        strict_json.MAX_DEPTH,
        strict_json.MAX_DEPTH + 1,
    ),
    "depth of objects in what is written": (
        "json.depth",
        lambda n: lambda: encode(nested_json(n - 1, lists=False)),
        strict_json.MAX_DEPTH + 2,
        strict_json.MAX_DEPTH + 3,
    ),
    "depth of lists in what is written": (
        "json.depth",
        lambda n: lambda: encode(nested_json(n - 1, lists=True)),
        strict_json.MAX_DEPTH + 2,
        strict_json.MAX_DEPTH + 3,
    ),
    "largest integer": ("json.number", lambda n: lambda: encode({"a": [n]}), 2**53 - 1, 2**53),
    "smallest integer": ("json.number", lambda n: lambda: encode({"a": [n]}), -(2**53) + 1, -(2**53)),
    "bytes of a note": ("note.form", a_note, note.MAX_NOTE_BYTES, note.MAX_NOTE_BYTES + 1),
    "lines of a note": ("note.form", lines, 100, 101),
    "one line of a note": ("note.form", lines, 1, 0),
    "time of a cosignature": ("note.signature", at_time, 2**63 - 1, 2**63),
    "time of a cosignature that is made": ("note.form", lambda n: lambda: WITNESS.line(TEXT, time=n), 2**63 - 1, 2**63),
    "earliest time of a cosignature": ("note.form", lambda n: lambda: WITNESS.line(TEXT, time=n), 0, -1),
    "a time at all": ("note.form", lambda n: lambda: WITNESS.line(TEXT, time=n), 1, None),
    "characters of a subject": (
        "subject.form",
        lambda n: lambda: subject.parse(f"signing_key:sha256:{'0' * 64}" if n == 83 else "meter:acme:" + "%C3%84" * n),
        28,
        29,
    ),
    "characters of an id": ("event.value", lambda n: an_event(id="a" * n), 64, 65),
    "characters of a type": ("event.value", lambda n: an_event(type="mfg." + "a" * (n - 4)), 64, 65),
    "schema": ("event.value", lambda n: an_event(schema=n), 999, 1_000),
    "smallest schema": ("event.value", lambda n: an_event(schema=n), 1, 0),
    "files of evidence": ("event.value", evidence, 50, 51),
    "one file of evidence": ("event.value", evidence, 1, 0),
    "bytes of a file's name": (
        "event.value",
        lambda n: an_event(evidence=[GOOD["evidence"][0] | {"name": "a" * n}]),
        255,
        256,
    ),
    "characters of an identifier": ("event.data", lambda n: identifier("acme", "x" * n), 128, 129),
    "CBOR arrays": ("cbor.form", lambda n: nested_cbor(n, lambda value: [value]), 8, 9),
    "CBOR maps": ("cbor.form", lambda n: nested_cbor(n, lambda value: {1: value}), 8, 9),
    "CBOR tags": ("cbor.form", lambda n: nested_cbor(n, lambda value: Tagged(1, value)), 8, 9),
    "index of a proof": ("proof.form", index, 2**53 - 1, 2**53),
    "signatures of an envelope": ("envelope.signatures", signed_by, 8, 9),
    "one signature of an envelope": ("envelope.signatures", signed_by, 1, 0),
    "bytes of an envelope": ("envelope.size", an_envelope, dsse.MAX_BATCH_ENVELOPE_BYTES, 16_388),
    "bytes of a post-quantum name": ("note.form", named, 255, 256),
    "one byte of a post-quantum name": ("note.form", named, 1, 0),
    "threshold": ("trust.form", threshold, "2", "3"),
    "threshold of some": ("trust.form", threshold, "1", "0"),
    "threshold in one spelling": ("trust.form", threshold, "any", "01"),
    "bytes of a request": (
        "witness.form",
        a_request,
        witness_protocol.MAX_REQUEST_BYTES,
        witness_protocol.MAX_REQUEST_BYTES + 1,
    ),
    "size in a request": (
        "witness.form",
        lambda n: lambda: witness_protocol.read_size(witness_protocol.SIZE_TYPE, f"{n}\n".encode()),
        2**53 - 1,
        2**53,
    ),
}


@pytest.mark.parametrize("name", LIMITS)
def test_both_sides_of_a_limit(name: str) -> None:
    code, make, last, first_beyond = LIMITS[name]
    assert code_of(make(last)) == ""
    assert code_of(make(first_beyond)) == code


def test_what_was_not_read_has_no_size(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are read up to their limit, and refused beyond it."""
    world = World()
    world.create()
    trust = world.write_trust(tmp_path / "trust")
    file = tmp_path / "checkpoint"
    file.write_text(world.note())
    size = file.stat().st_size
    for limit, code in ((size, ""), (size - 1, "json.size")):
        monkeypatch.setattr(verify, "MAX_FILE_BYTES", limit)
        error = verify_file(file, trust).error
        assert (error.code if error else "") == code
    size = max(path.stat().st_size for path in trust.iterdir())
    for limit, code in ((size, ""), (size - 1, "trust.form")):
        monkeypatch.setattr("compliance.proof.trust.MAX_FILE_BYTES", limit)
        assert code_of(lambda: TrustFolder.load(trust)) == code
    monkeypatch.setattr(time_tokens, "MAX_TOKEN_BYTES", 3)
    for token in (b"abc", b"abcd"):
        with pytest.raises(ProofError, match="a token of" if len(token) > 3 else "not a token"):
            time_tokens.verify_token(token, b"", roots=[])


def test_evidence_is_kept_up_to_its_number(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "MAX_EVIDENCE", 2)
    kept = memory.Memory(tmp_path)
    places = [kept.keep_evidence({"code": "tile.hash"}, {"a": bytes([number])}) for number in (1, 2, 3, 1)]
    assert places[:2] == [places[3], places[1]]
    assert places[2] is None
    assert len(set(places)) == 3
    assert {path.name for path in places[0].iterdir()} == {"a", "finding.json"}
    assert (places[0] / "finding.json").read_text() == '{\n "code": "tile.hash"\n}\n'


@pytest.mark.parametrize("type_", note.KNOWN_TYPES)
def test_a_verifier_key_has_the_bytes_of_its_type(type_: int) -> None:
    """Wrong in one thing each; the id is right for what stands there."""
    length = post_quantum.PUBLIC_BYTES if type_ == TYPE_MLDSA44 else 32
    raw = post_quantum.PostQuantumPrivateKey.generate().public.raw if type_ == TYPE_MLDSA44 else key_of("a").public.raw

    def vkey(data: bytes, *, name: str = "a.example", id_: str | None = None, kind: int = type_) -> str:
        digest = hashlib.sha256(name.encode() + b"\n" + bytes([kind]) + data).hexdigest()[:8]
        return f"{name}+{digest if id_ is None else id_}+{base64_text.encode(bytes([kind]) + data)}"

    assert len(raw) == length
    good = vkey(raw)
    assert NoteVerifier.from_vkey(good).vkey == good
    assert not NoteVerifier.is_of_unknown_type(good)
    assert NoteVerifier.is_of_unknown_type(vkey(raw, kind=0x77))
    for wrong in (
        vkey(raw[:-1]),
        vkey(raw + b"\x00"),
        vkey(b""),
        vkey(raw, id_="01234567"),
        vkey(raw, id_="0123456"),
        vkey(raw, name=""),
        vkey(raw, name="a b"),
        vkey(raw, kind=0x77),
        good.rpartition("+")[0],
        good[:-2] + "*=",
    ):
        with pytest.raises(ProofError) as refused:
            NoteVerifier.from_vkey(wrong)
        assert refused.value.code == "key.form", wrong
    assert (type_ in COSIGNATURES) == (type_ != TYPE_ED25519)


def test_a_consistency_path_of_one_hash_more_or_less_is_refused() -> None:
    """For every pair of sizes to 20; also where the sizes alone say that nothing is to prove."""
    leaves = [merkle.leaf_hash(bytes([number])) for number in range(20)]
    for second in range(21):
        for first in range(second + 1):
            path = merkle.consistency_path(leaves[:second], first)
            roots = {"first_root": merkle.root(leaves[:first]), "second_root": merkle.root(leaves[:second])}
            sizes = {"first_size": first, "second_size": second}
            merkle.verify_consistency(**sizes, **roots, path=path)
            for wrong in (path[:-1], path[1:], [*path, b"x" * 32], [b"x" * 32, *path], [*path[:-1], b"x" * 31]):
                if wrong != path:
                    assert code_of(merkle.verify_consistency, **sizes, **roots, path=wrong) == "proof.consistency"
            if not 0 < first < second:
                asked = {**sizes, "first_root": roots["first_root"], "path": [b"x" * 32]}
                assert code_of(merkle.consistency_root, **asked) == "proof.consistency"


def test_roots_are_hashes() -> None:
    leaf = merkle.leaf_hash(b"a")
    for root in (leaf[:-1], leaf + b"x", b""):
        assert (
            code_of(merkle.verify_inclusion, leaf_hash=leaf, index=0, size=1, path=[], root=root) == "proof.inclusion"
        )
    for length in range(80):
        code = code_of(merkle.RightEdge.from_bytes, data=b"\x00" * 7 + b"\x03" + b"x" * length)
        assert code == ("" if length == 64 else "tile.size")


def test_a_refusal_while_writing_points_at_the_value() -> None:
    for value, pointer in (({"a": [{"b": [0, 1.5]}]}, "/a/0/b/1"), ([[{"A": 1}]], "/0/0"), ({"a": [b""]}, "/a/0")):
        with pytest.raises(ProofError) as refused:
            encode(value)
        assert refused.value.pointer == pointer
    assert canonical.encode([]) == b"[]"


def a_bundle() -> bytes:
    world = World()
    world.create()
    world.append("platform", ["platform"], [world.event(METER.format(n), "mfg.assembled") for n in (1, 2, 3)])
    return world.bundle(*(METER.format(n) for n in (1, 2, 3)), time_tokens=[b"a", b"b"])


BUNDLE = a_bundle()
WRITTEN = json.loads(BUNDLE)
POLICY = f"log {SIGNER.vkey}\nquorum none\n".encode()
PROOF = tlog_proof.build(index=0, path=[b"x" * 32], checkpoint=f"{TEXT}\n{SIGNER.line(TEXT)}")
RECEIPT = test_cose.inclusion()
PATH = max(len(item["path"]) for item in WRITTEN["entries"])

OWN: dict[str, tuple[object, str, Callable[[], object], int, str]] = {
    "a bundle that is read": (bundle, "MAX_BUNDLE_BYTES", lambda: bundle.read(BUNDLE), len(BUNDLE), "json.size"),
    "a bundle that is made": (bundle, "MAX_BUNDLE_BYTES", a_bundle, len(BUNDLE), "json.size"),
    "subjects": (bundle, "MAX_SUBJECTS", lambda: bundle.read(BUNDLE), 3, "bundle.form"),
    "time tokens": (bundle, "MAX_TIME_TOKENS", lambda: bundle.read(BUNDLE), 2, "bundle.form"),
    "a path": (merkle, "MAX_PATH", lambda: bundle.read(BUNDLE), PATH, "bundle.form"),
    "a policy": (policy, "MAX_POLICY_BYTES", lambda: policy.parse_policy(POLICY), len(POLICY), "trust.form"),
    "a proof": (tlog_proof, "MAX_BYTES", lambda: tlog_proof.TlogProof.from_text(PROOF), len(PROOF), "proof.form"),
    "a path of a proof": (merkle, "MAX_PATH", lambda: tlog_proof.TlogProof.from_text(PROOF), 1, "proof.form"),
    "a COSE receipt": (cose_receipt, "MAX_BYTES", lambda: cose_receipt.read(RECEIPT), len(RECEIPT), "cbor.size"),
    "a path of a COSE receipt": (merkle, "MAX_PATH", lambda: cose_receipt.read(RECEIPT), 4, "cose.form"),
    "an entry": (layout, "MAX_ENTRY_BYTES", lambda: layout.encode_entry_bundle([b"a" * 9, b""]), 9, "entries.form"),
    "positions of a receipt": (
        receipt,
        "MAX_COUNT",
        lambda: receipt.read(receipt.sign(encode(one_thing.RECEIPT), key_of("receipt"))),
        5,
        "receipt.form",
    ),
    "names that are remembered": (canonical, "_MAX_KNOWN_NAMES", lambda: read_event_line(b'{"a":{"b":1}}'), 0, ""),
}


@pytest.mark.parametrize("name", OWN)
def test_both_sides_of_what_is_allowed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, constant, read, least, code = OWN[name]
    monkeypatch.setattr(module, constant, least)
    assert code_of(read) == ""
    monkeypatch.setattr(module, constant, least - 1)
    assert code_of(read) == code


@pytest.mark.parametrize(("size", "code"), [(2**53 - 1, ""), (2**53, "checkpoint.form")])
def test_the_largest_tree(size: int, code: str) -> None:
    text = f"log.example.test/x\n{size}\n{base64_text.encode(b'x' * 32)}\n"
    assert code_of(Checkpoint.from_text, text=text) == code
