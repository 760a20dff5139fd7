"""The offline verifier: what a file proves, checked step by step against what the relying party brings.

The steps and their order are those of `docs/formats/README.md`; the first failure is named by reason code and place.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from compliance.proof import batch, canonical, cose_receipt, entry, event, heads, receipt
from compliance.proof.checkpoint import Checkpoint
from compliance.proof.dsse import MAX_STATEMENT_BYTES
from compliance.proof.errors import NotCheckable, ProofError
from compliance.proof.history import open_checkpoint
from compliance.proof.keys import PublicKey
from compliance.proof.kinds import Kind, recognise
from compliance.proof.merkle import leaf_hash, verify_consistency
from compliance.proof.note import MAX_NOTE_BYTES, open_note
from compliance.proof.standing import require_standing_receipt_key
from compliance.proof.steps import Step, Verdict
from compliance.proof.strict_json import parse
from compliance.proof.subject import is_organisation_id
from compliance.proof.tlog_proof import TlogProof
from compliance.proof.trust import TrustFolder
from compliance.proof.verify_bundle import read_revocations, verify_bundle
from compliance.proof.verify_log import verify_log
from compliance.proof.witness_protocol import AddCheckpoint

MAX_FILE_BYTES: Final = batch.MAX_BATCH_BYTES

RegisteredKeys = Mapping[str, tuple[str, PublicKey]]


@dataclass(frozen=True, slots=True)
class Asked:
    """What besides FILE and TRUST was given.

    The registered keys for a lone batch, the entry for a proof of inclusion, the older checkpoint for one of
    consistency.
    """

    keys: Path | None = None
    entry: Path | None = None
    checkpoint: Path | None = None


def verify_file(path: str | Path, trust: str | Path, *, asked: Asked | None = None) -> Verdict:
    """Check the file or log folder at `path` with the trust folder at `trust`. Never raises; see `Verdict.error`."""
    verdict = Verdict("unknown")
    try:
        _verify(Path(path), Path(trust), asked or Asked(), verdict)
    except ProofError as error:
        verdict.error = error
    return verdict


def _verify(path: Path, trust_path: Path, asked: Asked, verdict: Verdict) -> None:
    with verdict.step("Your trust folder") as step:
        trust = TrustFolder.load(trust_path)
        say_trust(trust, step)
        trust = read_revocations(trust, step)
    with verdict.step("The file") as step:
        data = b"" if path.is_dir() else _read_file(path)
        kind = recognise(data, is_folder=path.is_dir())
        verdict.kind = kind
        step.say(f"{path.name} is {_article(kind)}" + (f" of {len(data):,} bytes" if data else ""))
        if kind == "log":
            verify_log(path, trust, verdict, step)
        elif kind == "bundle":
            verify_bundle(data, trust, verdict, step)
        elif kind == "report":
            verify_report(data, trust, verdict)
        else:
            VERIFIERS[kind](data, trust, asked, verdict, step)


def say_trust(trust: TrustFolder, step: Step) -> None:
    """What the relying party brings, in words."""
    step.say(f"the log {trust.origin}, key {trust.log_key.vkey}")
    quorum = trust.policy.quorum
    step.say("no witness is required" if quorum == "none" else f"witnesses required: {quorum}")
    pinned = ", ".join(f"{name} ({len(keys)})" for name, keys in sorted(trust.pins.items())) or "none"
    step.say(f"receipt keys: {len(trust.receipt_keys)}; organisations whose keys you pinned: {pinned}")


def verify_checkpoint(data: bytes, trust: TrustFolder, asked: Asked, verdict: Verdict, step: Step) -> None:
    """A signed checkpoint alone: the log's key, the witnesses, the three lines."""
    _ = asked, step
    _open_checkpoint_bytes(data, trust, verdict)


def verify_event(data: bytes, trust: TrustFolder, asked: Asked, verdict: Verdict, step: Step) -> None:
    """A single event as sent: strict JSON, members, limits. Nothing says who wrote it."""
    _ = trust, asked
    value, canonical_bytes = canonical.read_event_line(data)
    event.check_event(value)
    verdict.facts["event_hash"] = leaf_hash(canonical_bytes).hex()
    step.say(f"{value['type']} about {value['subject']}, leaf hash {verdict.facts['event_hash']}")
    verdict.note("an event alone is signed by nobody", step)


def verify_entry(data: bytes, trust: TrustFolder, asked: Asked, verdict: Verdict, step: Step) -> None:
    """A single entry: canonical bytes and members. That it is in the log, a proof file or a bundle shows."""
    _ = trust, asked
    value = entry.read(data)
    verdict.facts["entry_hash"] = leaf_hash(data).hex()
    verdict.facts["event_hash"] = leaf_hash(entry.event_bytes(data)).hex()
    step.say(f"{value['subject']} seq {value['seq']}, leaf hash {verdict.facts['entry_hash']}")
    verdict.note("an entry alone does not show that it is in the log", step)


def verify_receipt(data: bytes, trust: TrustFolder, asked: Asked, verdict: Verdict, step: Step) -> None:
    """A receipt: its members, every position covered once, the receipt key, the log."""
    _ = asked
    read = receipt.read(data)
    read.verify(trust.receipt_keys, log=trust.origin)
    payload = read.payload
    require_standing_receipt_key(read.envelope.keyids[0], payload["issued_at"], trust, verdict, step)
    verdict.facts["batch_id"] = payload["batch"]
    step.say(f"for batch {payload['batch']}, positions {payload['first']} to {payload['first'] + payload['count'] - 1}")
    counts = [f"{len(payload[name])} {name}" for name in ("entries", "duplicates", "refused")]
    step.say(", ".join(counts) + f"; signed by your receipt key {read.envelope.keyids[0]}")
    step.say(
        f"the operator promises inclusion by {payload['merge_by']}: keep this receipt, it is proof if that is broken"
    )


def verify_heads(data: bytes, trust: TrustFolder, asked: Asked, verdict: Verdict, step: Step) -> None:
    """A heads statement alone: its members and the receipt key."""
    _ = asked
    read = heads.read(data)
    stated = Checkpoint(read.payload["log"], read.payload["size"], bytes.fromhex(read.payload["root"]))
    if stated.origin != trust.origin:
        raise ProofError("heads.checkpoint", f"heads of the log {stated.origin}, not of {trust.origin}")
    read.verify(trust.receipt_keys, checkpoint=stated)
    require_standing_receipt_key(read.envelope.keyids[0], read.payload["issued_at"], trust, verdict, step)
    step.say(f"the operator's word on the last entries of {len(read.heads)} chains at size {stated.size:,}")


def verify_batch(data: bytes, trust: TrustFolder, asked: Asked, verdict: Verdict, step: Step) -> None:
    """A batch as sent: envelope, payload, every event, root, signatures, issuer.

    A batch carries no keys, so they must be given; raises NotCheckable `keys.missing` if all else is right.
    """
    read = batch.read(data)
    verdict.facts["batch_id"] = read.batch_id
    verdict.facts["root"] = read.payload["root"]
    if read.problems:
        index, line, error = read.problems[0]
        raise error.within(f"event {index} on line {line}")
    if read.payload["log"] != trust.origin:
        raise ProofError("batch.log", f"meant for the log {read.payload['log']}, not for {trust.origin}")
    step.say(f"batch {read.batch_id} of {read.payload['issuer']}, {len(read.events)} events")
    step.say("the events give the signed root")
    with verdict.step("Signatures") as signatures:
        if asked.keys is None:
            raise NotCheckable("keys.missing", "a lone batch carries no keys; give the registered ones with --keys")
        keys = read_keys(_read_file(asked.keys))
        batch.verify_signatures(read.statement, read.payload, keys, place=f"batch {read.batch_id}")
        signatures.say(f"{len(read.signatures)} signatures verify, one at least of a key of {read.payload['issuer']}")
        signatures.say("that these keys were registered and valid is your word, or the log's")


def verify_proof_file(data: bytes, trust: TrustFolder, asked: Asked, verdict: Verdict, step: Step) -> None:
    """A C2SP proof file: its checkpoint, and with the entry given, its inclusion."""
    try:
        proof = TlogProof.from_text(data.decode("utf-8"))
    except UnicodeDecodeError:
        raise ProofError("proof.form", "not UTF-8") from None
    step.say(f"leaf {proof.index}, a path of {len(proof.path)} hashes")
    checkpoint = _open_checkpoint_bytes(proof.checkpoint.encode(), trust, verdict)
    with verdict.step("Inclusion") as inclusion:
        proof.verify(leaf_hash=leaf_hash(_read_entry(asked)), checkpoint=checkpoint)
        inclusion.say(f"the entry is leaf {proof.index} of the {checkpoint.size:,} under this checkpoint")


def verify_consistency_file(data: bytes, trust: TrustFolder, asked: Asked, verdict: Verdict, step: Step) -> None:
    """A proof that the log under an older checkpoint, which the relying party kept, is the beginning of a newer one."""
    try:
        proof = AddCheckpoint.from_bytes(data)
    except ProofError as error:
        raise ProofError("proof.form", error.detail) from None
    step.say(f"from {proof.old_size:,} entries, a path of {len(proof.proof)} hashes")
    new = _open_checkpoint_bytes(proof.checkpoint.encode(), trust, verdict)
    old = _open_older_checkpoint(asked, trust)
    with verdict.step("Consistency") as consistency:
        _require_size(old, proof.old_size)
        verify_consistency(
            first_size=old.size, second_size=new.size, first_root=old.root, second_root=new.root, path=proof.proof
        )
        consistency.say(f"the log of {old.size:,} entries that you knew is the beginning of that of {new.size:,}")


def verify_cose_receipt(data: bytes, trust: TrustFolder, asked: Asked, verdict: Verdict, step: Step) -> None:
    """A COSE receipt (RFC 9942) with the entry that it is about, or with the older checkpoint that it continues."""
    read = cose_receipt.read(data)
    verdict.facts["subject"] = read.subject
    key = cose_receipt.key_of(read.signed, trust.receipt_keys)
    require_standing_receipt_key(key.keyid, read.issued_at, trust, verdict, step)
    if isinstance(read, cose_receipt.InclusionReceipt):
        step.say(f"of inclusion, issued {read.issued_at}: leaf {read.index:,} of {read.size:,}, {read.subject}")
        with verdict.step("Inclusion") as inclusion:
            leaf = _read_entry(asked)
            stated = entry.read(leaf)
            root = read.verify(trust.receipt_keys, log=trust.origin, entry=leaf, subject=stated["subject"])
            inclusion.say(f"the entry is leaf {read.index:,} of the {read.size:,} under the root {root.hex()}")
            _say_signed_root(inclusion, verdict)
        return
    step.say(f"of consistency, issued {read.issued_at}: from {read.first:,} entries to {read.second:,}")
    old = _open_older_checkpoint(asked, trust)
    with verdict.step("Consistency") as consistency:
        if old.size != read.first:
            raise ProofError(
                "proof.consistency", f"a receipt from {read.first} entries, your checkpoint has {old.size}"
            )
        root = read.verify(trust.receipt_keys, log=trust.origin, first_root=old.root)
        consistency.say(f"the log of {old.size:,} entries that you knew is the beginning of that of {read.second:,}")
        consistency.say(f"the newer root is {root.hex()}")
        _say_signed_root(consistency, verdict)


def verify_report(data: bytes, trust: TrustFolder, verdict: Verdict) -> None:
    """A PDF report. Its verifier needs pyHanko, which is loaded only here."""
    try:
        from compliance.proof.report import verify_report as verify_pdf

        steps = verify_pdf(data, trust)
    except ImportError as error:
        raise NotCheckable("file.unknown", f"reports cannot be checked here: {error.name} is not installed") from None
    for step in steps:
        verdict.steps.append(step)
        if step.status == "bad" or (step.status == "unchecked" and step.code):
            kind = ProofError if step.status == "bad" else NotCheckable
            raise kind(step.code or "report.form", "; ".join(step.lines), place=step.place)


def read_keys(data: bytes) -> RegisteredKeys:
    """Registered keys, a JSON list of `{"organisation","key"}`: what an organisation may publish of its own."""
    try:
        value = parse(data, max_bytes=MAX_STATEMENT_BYTES)
        keys: dict[str, tuple[str, PublicKey]] = {}
        for item in value if isinstance(value, list) else ():
            if not isinstance(item, dict) or item.keys() != {"organisation", "key"}:
                raise ProofError("key.form", "an item has organisation and key")
            if not is_organisation_id(item["organisation"]):
                raise ProofError("key.form", "organisation is an organisation id")
            key = PublicKey.from_object(item["key"])
            keys[key.keyid] = str(item["organisation"]), key
    except ProofError as error:
        raise NotCheckable("keys.missing", f"the file of registered keys cannot be understood: {error}") from None
    return keys


VERIFIERS: Final[Mapping[Kind, Callable[[bytes, TrustFolder, Asked, Verdict, Step], None]]] = {
    "checkpoint": verify_checkpoint,
    "event": verify_event,
    "entry": verify_entry,
    "receipt": verify_receipt,
    "heads": verify_heads,
    "batch": verify_batch,
    "proof file": verify_proof_file,
    "consistency proof": verify_consistency_file,
    "COSE receipt": verify_cose_receipt,
}


def _say_signed_root(step: Step, verdict: Verdict) -> None:
    step.say("signed by your receipt key over that root")
    verdict.note("a receipt carries no checkpoint: no witness and no time stamp stands behind its root", step)


def _require_size(old: Checkpoint, size: int) -> None:
    if old.size != size:
        raise ProofError("proof.consistency", f"a proof from {size} entries, your checkpoint has {old.size}")


def _read_entry(asked: Asked) -> bytes:
    if asked.entry is None:
        raise NotCheckable("file.missing", "give the bytes of the entry with --entry")
    return _read_file(asked.entry)


def _open_older_checkpoint(asked: Asked, trust: TrustFolder) -> Checkpoint:
    """The checkpoint that the relying party kept: signed by the log's key, whoever else did not cosign it then."""
    if asked.checkpoint is None:
        raise NotCheckable("file.missing", "give the older checkpoint that you kept with --checkpoint")
    try:
        text = _read_file(asked.checkpoint).decode("utf-8")
    except UnicodeDecodeError:
        raise ProofError("note.form", "not UTF-8", place=asked.checkpoint.name) from None
    try:
        opened = open_note(text, trust.log_keys)
        checkpoint = Checkpoint.from_text(opened.text)
        if checkpoint.origin != trust.origin:
            raise ProofError("checkpoint.origin", f"a checkpoint of {checkpoint.origin}, not of {trust.origin}")
    except ProofError as error:
        raise error.within(asked.checkpoint.name) from None
    return checkpoint


def _open_checkpoint_bytes(data: bytes, trust: TrustFolder, verdict: Verdict) -> Checkpoint:
    if len(data) > MAX_NOTE_BYTES:
        raise ProofError("note.form", f"a note of {len(data)} bytes")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise ProofError("note.form", "not UTF-8") from None
    return open_checkpoint(text, trust, verdict)


def _read_file(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise NotCheckable("file.missing", error.strerror or "cannot be read", place=str(path)) from None
    if len(data) > MAX_FILE_BYTES:
        raise ProofError("json.size", f"over {MAX_FILE_BYTES} bytes", place=path.name)
    return data


def _article(kind: str) -> str:
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"
