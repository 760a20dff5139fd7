"""What can be wrong with a proof: one reason code each, with the words for it.

The codes are part of the format (`docs/formats/README.md`): scripts act on them, so a code never changes its meaning.
"""

from types import MappingProxyType
from typing import Final


class ProofError(Exception):
    """Something does not verify. `code` says what, `place` where, `detail` in a sentence why.

    `pointer` is the JSON pointer inside the document the place names, where there is one.
    """

    exit_status: int = 1

    def __init__(self, code: str, detail: str, *, place: str | None = None, pointer: str | None = None) -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail
        self.place = place
        self.pointer = pointer

    def __str__(self) -> str:
        where = f" at {self.place}" if self.place else ""
        return f"{self.code}{where}: {self.detail}"

    def within(self, place: str) -> "ProofError":
        """The same error, its place put inside `place`."""
        self.place = f"{place}, {self.place}" if self.place else place
        return self


class NotCheckable(ProofError):
    """The question could not be answered: a file is missing, unreadable or of an unknown format."""

    exit_status = 2


REASONS: Final = MappingProxyType(
    {
        "json.syntax": "not JSON",
        "json.utf8": "not UTF-8",
        "json.size": "too large",
        "json.depth": "nested too deeply",
        "json.duplicate_name": "a member name occurs twice",
        "json.name": "a member name of another form",
        "json.number": "a number that is no integer within +-(2^53-1)",
        "json.surrogate": "half of a surrogate pair",
        "json.nul": "a NUL character",
        "json.string_size": "a string too long",
        "json.not_canonical": "the bytes are not their canonical form",
        "time.form": "no real UTC time in the one spelling",
        "time.token": "a time stamp token does not hold for this checkpoint",
        "subject.form": "not a subject text in normal form",
        "subject.alias": "named by an identifier that no earlier entry of the chain joined",
        "event.member": "an event with an unknown or missing member",
        "event.value": "a value outside its range",
        "event.data": "data of a type that every verifier reads is wrong",
        "event.authority": "this type may not come from this issuer",
        "event.id_twice": "one author, one event id, two entries",
        "envelope.form": "not an envelope",
        "envelope.payload_type": "an envelope of another type",
        "envelope.size": "an envelope over 16 KiB",
        "envelope.signatures": "no signature, too many, unsorted, or a key twice",
        "envelope.signature": "a signature does not verify",
        "key.form": "not a key object, or its id is wrong",
        "key.unknown": "a key that is not registered",
        "key.not_valid": "a key used before its registration or outside its validity",
        "key.revoked": "a key used after its revocation",
        "key.issuer": "no signature of the issuer",
        "key.line": "a key registered without possession, or without a way to the organisation's first key",
        "key.pin": "the way to the first key meets none of the keys you pinned",
        "batch.form": "the batch's payload has wrong members",
        "batch.vouching": "on_behalf_of and credential misused",
        "batch.log": "a batch meant for another log",
        "batch.count": "the number of events is not the signed one",
        "batch.root": "the events do not give the signed root",
        "batch.path": "an event is not at its place in the signed batch",
        "batch.id": "the file name is not the batch id",
        "batch.missing": "an entry names a batch that is not there",
        "batch.index_twice": "two entries for one position of a batch",
        "entry.form": "an entry with wrong members",
        "entry.hash": "the bytes are not the leaf of the tree",
        "chain.gap": "a sequence number is missing",
        "chain.order": "a sequence number out of order, or twice",
        "chain.prev": "prev is not the entry before",
        "chain.time": "recorded_at goes back",
        "chain.batch_order": "entries not in the order of their batch",
        "chain.corrects": "the corrected entry is not earlier in the chain",
        "chain.closed": "an entry after the key's revocation",
        "link.cause": "the cause of a linked entry is missing or another",
        "link.effect": "the effect is not the type of the cause",
        "link.member": "the packed unit does not list the meter",
        "redaction.unexplained": "bytes are gone and no entry says why",
        "redaction.mismatch": "the redaction names another entry",
        "log.first": "leaf 0 is not this log's log.created, or is not shown",
        "note.form": "not a signed note",
        "note.unknown_key": "no line of your log key",
        "note.signature": "a line of a key you know does not verify",
        "checkpoint.form": "a checkpoint that is not three lines",
        "checkpoint.origin": "a checkpoint of another log",
        "policy.quorum": "too few witnesses",
        "monitor.split_view": "the log has signed two histories",
        "monitor.rollback": "the log shows an older state than it did",
        "monitor.stale": "the checkpoint is older than the limit",
        "monitor.unreachable": "the log could not be read",
        "monitor.state": "what the monitor kept is missing, broken or of another log",
        "monitor.busy": "another run of this monitor is at work",
        "witness.form": "not a request to a witness, or not an answer of one",
        "proof.form": "not a tlog-proof or consistency file",
        "proof.inclusion": "the path does not lead from the leaf to the root",
        "proof.consistency": "the older tree is not the beginning of the newer one",
        "tile.missing": "a tile is missing",
        "tile.size": "a tile of the wrong length",
        "tile.hash": "a tile does not agree with the level below",
        "tile.root": "the tiles do not give the signed root",
        "entries.form": "not an entry bundle, or one of the wrong length",
        "cbor.form": "not CBOR, or of a kind not used here",
        "cbor.order": "not the one deterministic encoding",
        "cbor.size": "too large",
        "cose.form": "not a COSE receipt",
        "cose.claims": "the signed claims are not those of this proof, entry or log",
        "cose.algorithm": "another algorithm than the key's",
        "cose.signature": "not signed by this key for this root",
        "receipt.form": "a receipt with wrong members",
        "receipt.key": "not one of your receipt keys",
        "receipt.log": "a receipt of another log",
        "receipt.coverage": "a position missing or twice",
        "heads.form": "heads with wrong members",
        "heads.checkpoint": "heads for another tree",
        "heads.subjects": "not exactly the heads of the complete chains",
        "bundle.form": "a bundle with wrong members, order or paths",
        "bundle.log": "a bundle of another log",
        "bundle.incomplete": "a chain is missing or shorter than its signed head",
        "bundle.unused": "something in the bundle that nothing asks for",
        "report.form": "of another form than reports have",
        "report.update": "something was added or changed after the seal that nothing permits",
        "report.seal": "the seal is missing, not in its place, or does not certify",
        "report.signature": "a signature does not fit the bytes it covers",
        "report.untrusted": "a certificate leads to no root you trust",
        "report.revocation": "a certificate was revoked or not valid, or nothing shows that it was not",
        "report.time_stamp": "a time stamp is missing, does not hold, or contradicts another",
        "report.attachment": "an attached file is not the one the report names",
        "report.checkpoint": "the report and the proof inside stand on different checkpoints",
        "report.expected": "not the report, or not all the signatures, that the record knows",
        "report.expired": "the newest time stamp's certificate is not valid any more",
        "report.limit": "the check cost more than it may",
        "trust.missing": "the trust folder or a file in it is missing",
        "trust.form": "a file of the trust folder cannot be understood",
        "file.missing": "the file is missing or cannot be read",
        "file.unknown": "a file of no format known here",
        "keys.missing": "the registered keys that a lone batch needs are not given",
        "bundle.version": "a bundle of a version not known here",
        "violation.second_signature": "a type that asks for two signers has fewer",
    }
)
