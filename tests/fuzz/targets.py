"""Readers of bytes from outside, each as a function that may refuse its input by ProofError and by nothing else.

What a reader accepts is written again and must come out the same: two spellings of one document would be two hashes
of it.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from compliance.proof import (
    batch,
    bundle,
    canonical,
    cbor,
    cose_receipt,
    dsse,
    entry,
    event,
    heads,
    layout,
    merkle,
    note,
    policy,
    receipt,
    strict_json,
    subject,
    time_tokens,
    tlog_proof,
)
from compliance.proof.checkpoint import Checkpoint
from compliance.proof.errors import ProofError
from compliance.proof.keys import PrivateKey
from compliance.proof.kinds import recognise
from compliance.proof.note import NoteVerifier
from compliance.proof.steps import Verdict
from compliance.proof.trust import TrustFolder
from compliance.proof.verify_bundle import verify_bundle
from compliance.proof.witness_protocol import AddCheckpoint

VECTORS: Final = Path(__file__).resolve().parents[2] / "fixtures" / "vectors"
METERPROOF: Final = VECTORS / "meterproof"
LONGEST_SEED: Final = 40_000  # longer ones cost the fuzzer most of its time

Target = Callable[[bytes], None]


class Differs(Exception):
    """A reader accepted bytes that are not what would be written."""


def same(written: object, read: object) -> None:
    """Raise Differs unless the two are equal."""
    if written != read:
        raise Differs(f"{read!r:.200} is written {written!r:.200}")


def text_of(data: bytes) -> str:
    """The text in `data`; what is not UTF-8 is refused before any of these readers sees it."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise ProofError("note.form", "not UTF-8") from None


def read_json(data: bytes) -> None:
    """The strict reader, and the fast one that must never accept more."""
    value = strict_json.parse(data, max_bytes=1_000_000)
    written = canonical.encode(value)
    same(canonical.require_canonical(written, max_bytes=1_000_000), value)
    same(json.loads(data), value)


def read_canonical(data: bytes) -> None:
    """A stored document is its own canonical form."""
    same(canonical.encode(canonical.require_canonical(data, max_bytes=1_000_000)), data)


def read_event(data: bytes) -> None:
    """One line of a batch."""
    value, written = canonical.read_event_line(data)
    same(canonical.encode(value), written)
    event.check_event(value)


def read_entry(data: bytes) -> None:
    """A leaf of the log, with the event inside as it was signed."""
    value = entry.read(data)
    same(canonical.encode(value["event"]), entry.event_bytes(data))


def read_batch(data: bytes) -> None:
    """NDJSON and JSON, as they are sent."""
    read = batch.read(data)
    if not read.problems:
        same(merkle.root(read.event_hashes).hex(), read.payload["root"])


def read_envelope(data: bytes) -> None:
    """DSSE of each payload type, and what is in it."""
    for payload_type in (dsse.BATCH_TYPE, dsse.RECEIPT_TYPE, dsse.HEADS_TYPE):
        try:
            envelope = dsse.read_envelope(data, payload_type=payload_type)
        except ProofError as error:
            if error.code != "envelope.payload_type":
                raise
            continue
        if payload_type == dsse.BATCH_TYPE:
            batch.read_payload(envelope)
        elif payload_type == dsse.RECEIPT_TYPE:
            receipt.read(data)
        else:
            heads.read(data)


def read_bundle(data: bytes) -> None:
    """A proof bundle, and everything a verifier does with it."""
    bundle.read(data)
    verdict = Verdict("bundle")
    with verdict.step("The file") as step:
        verify_bundle(data, trust(), verdict, step)


def read_note(data: bytes) -> None:
    """A signed note, and the lines of keys that are known."""
    text = text_of(data)
    _, lines = note.split(text)
    if not lines:
        raise Differs("a note without lines")
    note.open_note(text, trust().policy.verifiers)


def read_vkey(data: bytes) -> None:
    """A verifier key."""
    text = text_of(data)
    NoteVerifier.is_of_unknown_type(text)
    same(NoteVerifier.from_vkey(text).vkey, text)


def read_policy(data: bytes) -> None:
    """A trust policy."""
    read = policy.parse_policy(data)
    read.witnessed_since(dict.fromkeys(read.verifiers, 1))
    read.require_quorum(read.verifiers)


def read_checkpoint(data: bytes) -> None:
    """The three lines."""
    text = text_of(data)
    Checkpoint.from_extended_text(text)
    same(Checkpoint.from_text(text).to_text(), text)


def read_tile_path(data: bytes) -> None:
    """A path below the log's prefix."""
    text = text_of(data)
    level, index, width = layout.parse_tile_path(text)
    same(layout.entries_path(index, width) if level is None else layout.tile_path(level, index, width), text)


def read_entry_bundle(data: bytes) -> None:
    """Up to 256 entries with their lengths."""
    same(layout.encode_entry_bundle(layout.decode_entry_bundle(data)), data)


def read_tlog_proof(data: bytes) -> None:
    """A C2SP proof file."""
    text = text_of(data)
    same(tlog_proof.TlogProof.from_text(text).to_text(), text)


def read_add_checkpoint(data: bytes) -> None:
    """A request to a witness, and our consistency file."""
    same(AddCheckpoint.from_bytes(data).to_bytes(), data)


def read_cbor(data: bytes) -> None:
    """Deterministic CBOR."""
    same(cbor.encode(cbor.decode(data)), data)


def read_cose(data: bytes) -> None:
    """A COSE receipt of either kind, up to its signature."""
    read = cose_receipt.read(data)
    if isinstance(read, cose_receipt.InclusionReceipt):
        read.verify(trust().receipt_keys, log=read.issuer, entry=b"x", subject=read.subject)
    else:
        read.verify(trust().receipt_keys, log=read.issuer, first_root=bytes(32))


def read_subject(data: bytes) -> None:
    """A subject text."""
    text = text_of(data)
    same(subject.parse(text).text, text)


def read_time_token(data: bytes) -> None:
    """An RFC 3161 response."""
    time_tokens.verify_token(data, (VECTORS / "rfc3161/data.txt").read_bytes(), roots=time_stamp_roots())


def read_any_file(data: bytes) -> None:
    """Which kind of file it is."""
    recognise(data)


TARGETS: Final[Mapping[str, Target]] = {
    "json": read_json,
    "canonical": read_canonical,
    "event": read_event,
    "entry": read_entry,
    "batch": read_batch,
    "envelope": read_envelope,
    "bundle": read_bundle,
    "note": read_note,
    "vkey": read_vkey,
    "policy": read_policy,
    "checkpoint": read_checkpoint,
    "tile-path": read_tile_path,
    "entry-bundle": read_entry_bundle,
    "tlog-proof": read_tlog_proof,
    "add-checkpoint": read_add_checkpoint,
    "cbor": read_cbor,
    "cose": read_cose,
    "subject": read_subject,
    "time-token": read_time_token,
    "any-file": read_any_file,
}


def run(name: str, data: bytes) -> bool:
    """Give `data` to a target: True if it was accepted, False if refused. Everything else comes out as it is."""
    try:
        TARGETS[name](data)
    except ProofError:
        return False
    return True


def seeds(name: str) -> list[bytes]:
    """What the fuzzer of a target begins with, from the vectors."""
    return sorted({seed for seed in _seeds(name) if len(seed) <= LONGEST_SEED})


def _seeds(name: str) -> Iterator[bytes]:
    match name:
        case "json" | "canonical" | "event" | "entry" | "any-file":
            yield from files("meterproof/valid/events/*", "meterproof/valid/entries/0[0-3]*")
            yield from files("meterproof/invalid/e*", "jcs/input/*", "dsse/*.json")
        case "batch":
            yield from files("meterproof/valid/batches/*", "meterproof/invalid/batch*")
        case "envelope":
            yield from files("meterproof/valid/receipts/*", "meterproof/invalid/receipt*")
            yield from (data.split(b"\n")[0] for data in files("meterproof/valid/batches/*.ndjson"))
        case "bundle":
            yield from files("meterproof/valid/*.proof", "meterproof/invalid/*.proof")
        case "note":
            yield from files("meterproof/valid/checkpoint*", "tlog-tiles/tessera-log/checkpoint*")
            yield from (item["note"].encode() for item in _json("signed-note/notes.json"))
        case "checkpoint":
            yield from (item["body"].encode() for item in _json("tlog-checkpoint/bodies.json"))
        case "vkey":
            yield from (item["vkey"].encode() for item in _json("signed-note/vkeys.json"))
        case "policy":
            yield from files("meterproof/trust*/policy")
        case _:
            yield from _made(name)


def _made(name: str) -> Iterator[bytes]:
    """Of forms for which the vectors hold no file of their own."""
    checkpoint = (METERPROOF / "valid/checkpoint-100.txt").read_text("utf-8")
    hashes = [merkle.leaf_hash(b"%d" % number) for number in range(13)]
    match name:
        case "tile-path":
            places = [(0, 1_234_067, 256), (63, 0, 1), (1, 999, 255)]
            yield from (layout.tile_path(*place).encode() for place in places)
            yield layout.entries_path(70_000, 3).encode()
        case "entry-bundle":
            yield from files("tlog-tiles/tessera-log/tile/entries/000.p/*", "meterproof/valid/log/tile/entries/000.p/*")
        case "tlog-proof":
            yield tlog_proof.build(index=5, path=merkle.inclusion_path(hashes, 5), checkpoint=checkpoint).encode()
            yield tlog_proof.build(index=0, path=(), checkpoint=checkpoint, extra=b"more").encode()
        case "add-checkpoint":
            yield AddCheckpoint(5, tuple(merkle.consistency_path(hashes, 5)), checkpoint).to_bytes()
            yield AddCheckpoint(0, (), checkpoint).to_bytes()
        case "cbor" | "cose":
            yield from files("cose-receipts/*.cbor")
            yield from _receipts(hashes)
        case "subject":
            named = {item["subject"] for item in _json("meterproof/valid/leaf-hashes.json") if "subject" in item}
            yield from (text.encode() for text in named)
        case "time-token":
            yield from files("rfc3161/*.tsr", "rfc3161/*.der")


def _receipts(hashes: list[bytes]) -> Iterator[bytes]:
    key = PrivateKey.from_seed("ed25519", bytes(32))
    root, origin = merkle.root(hashes), trust().origin
    path = merkle.inclusion_path(hashes, 5)
    about = "meter:dlms_system_title:414C450000000001"
    yield cose_receipt.sign_inclusion(
        log=origin, subject=about, index=5, size=len(hashes), path=path, root=root, at=1_777_878_000, key=key
    )
    path = merkle.consistency_path(hashes, 5)
    yield cose_receipt.sign_consistency(
        log=origin, first=5, second=len(hashes), path=path, root=root, at=1_777_878_000, key=key
    )


def files(*patterns: str) -> Iterator[bytes]:
    """The vector files that fit."""
    for pattern in patterns:
        yield from (path.read_bytes() for path in sorted(VECTORS.glob(pattern)) if path.is_file())


@cache
def trust() -> TrustFolder:
    """The trust folder of the vectors."""
    return TrustFolder.load(METERPROOF / "trust")


@cache
def time_stamp_roots() -> tuple[Any, ...]:
    """The authority of the official tokens."""
    from cryptography import x509

    return tuple(x509.load_pem_x509_certificates((VECTORS / "rfc3161/ts_chain.pem").read_bytes())[1:])


def _json(name: str) -> Any:
    return json.loads((VECTORS / name).read_text("utf-8"))
