"""Which kind of file something is, by its first bytes and outermost members; what is in it is read strictly later."""

import re
from typing import Final, Literal

from compliance.proof import dsse, tlog_proof
from compliance.proof.errors import NotCheckable, ProofError
from compliance.proof.strict_json import split_members

Kind = Literal[
    "bundle",
    "receipt",
    "heads",
    "batch",
    "log",
    "report",
    "checkpoint",
    "proof file",
    "consistency proof",
    "COSE receipt",
    "entry",
    "event",
]

_LOOKED_AT: Final = 1_000_000  # bytes of a damaged file that are searched for the name of its format
_COSE_SIGN1: Final = b"\xd2\x84"  # the tag 18 and the head of an array of four, in their shortest form
_ADD_CHECKPOINT: Final = b"old "  # as in compliance/proof/witness_protocol.py
_STATEMENTS: Final[dict[str, Kind]] = {
    dsse.RECEIPT_TYPE: "receipt",
    dsse.HEADS_TYPE: "heads",
    dsse.BATCH_TYPE: "batch",
}
_PAYLOAD_TYPE = re.compile(rb'"payloadType"\s*:\s*"([^"]{1,100})"')
_BUNDLE = re.compile(rb'"format"\s*:\s*"meterproof-bundle/')


def recognise(data: bytes, *, is_folder: bool = False) -> Kind:
    """The kind of the file `data`. Raises NotCheckable `file.unknown`."""
    if is_folder:
        return "log"
    if data.startswith(b"%PDF-"):
        return "report"
    if data.startswith(tlog_proof.HEADER.encode()):
        return "proof file"
    if data.startswith(_COSE_SIGN1):
        return "COSE receipt"
    if data.startswith(_ADD_CHECKPOINT):
        return "consistency proof"
    if "\n\n\u2014 ".encode() in data and not data.lstrip().startswith((b"{", b"[")):
        return "checkpoint"
    kind = _kind_of_members(data) or _kind_of_words(data)
    if kind is None:
        raise NotCheckable("file.unknown", "no bundle, receipt, batch, checkpoint, proof file, log folder or report")
    return kind


def _kind_of_members(data: bytes) -> Kind | None:
    """By the members of one JSON object, or of the object on the first line."""
    for text in (data, data.partition(b"\n")[0]):
        try:
            names = {name for name, _ in split_members(text)}
        except ProofError:
            continue
        if "format" in names and "checkpoint" in names:
            return "bundle"
        if {"envelope", "events"} <= names:
            return "batch"
        if "payloadType" in names:
            return _kind_of_words(text)
        if {"salt", "recorded_at"} <= names:
            return "entry"
        if {"occurred_at", "actor"} <= names:
            return "event"
    return None


def _kind_of_words(data: bytes) -> Kind | None:
    """Of a damaged file: by the name of its format, so that what is wrong with it can be said."""
    if _BUNDLE.search(data[:_LOOKED_AT]) or _BUNDLE.search(data[-_LOOKED_AT:]):
        return "bundle"
    match = _PAYLOAD_TYPE.search(data[:_LOOKED_AT]) or _PAYLOAD_TYPE.search(data[-_LOOKED_AT:])
    return _STATEMENTS.get(match.group(1).decode("utf-8", "replace")) if match else None
