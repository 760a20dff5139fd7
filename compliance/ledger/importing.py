"""Reading an export into an empty installation, which becomes a mirror: first everything is checked, then written.

The offline verifier checks the log, its authors and its time stamps, with the trust folder that the importer brings or
the one in the export. Then rows, projections and files are made, compared by `fsck`, and kept only if it finds nothing.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from django.conf import settings
from django.db import IntegrityError, transaction

from compliance.jobs.failpoints import reach
from compliance.ledger import (
    clock_guard,
    export,
    files,
    fsck,
    key_history,
    keys,
    mirror,
    signer,
    tiles,
    unfinished_import,
)
from compliance.ledger.append import event_key
from compliance.ledger.errors import LedgerError
from compliance.ledger.models import (
    Anchoring,
    Batch,
    Entry,
    EventKey,
    Head,
    LeafRange,
    LogState,
    Receipt,
    TimeToken,
)
from compliance.ledger.models import Checkpoint as CheckpointRow
from compliance.proof import batch as batch_format
from compliance.proof import entry as entry_format
from compliance.proof import merkle, note, time_tokens
from compliance.proof import receipt as receipt_format
from compliance.proof.checkpoint import Checkpoint
from compliance.proof.entry import event_bytes
from compliance.proof.errors import NotCheckable, ProofError
from compliance.proof.log_folder import ANCHORED, STAMP, LogFolder
from compliance.proof.log_keys import LogKeys, Statement
from compliance.proof.strict_json import parse
from compliance.proof.subject import key_of
from compliance.proof.subject import log as log_subject
from compliance.proof.times import parse_recorded_at
from compliance.proof.trust import TrustFolder
from compliance.proof.verify import verify_file

PIECE: Final = 2_000  # rows in one statement
MAX_MANIFEST_BYTES: Final = 4_096


class ImportRefused(LedgerError):
    """The export was not imported, and nothing was kept. `code` says why, `place` where."""

    def __init__(self, code: str, place: str, detail: str) -> None:
        super().__init__(f"{code} at {place}: {detail}. Nothing was imported.")
        self.code = code
        self.place = place


@dataclass(frozen=True, slots=True)
class Imported:
    """What was read."""

    size: int
    batches: int
    checkpoints: int
    time_stamps: int
    evidence: int


@dataclass(slots=True)
class _Checked:
    """An export that was checked to the end."""

    folder: LogFolder
    note: str
    checkpoint: Checkpoint
    leaves: list[bytes]
    log_keys: LogKeys
    checkpoints: dict[int, str]
    stamps: list[tuple[int, str, bytes]]
    receipts: dict[tuple[bytes, int], bytes]
    evidence: list[Path]


def import_log(folder: Path, trust: Path | None = None) -> Imported:
    """Read the export in `folder` into this empty installation. Raises ImportRefused; then nothing was written.

    What an import that was killed has left is taken away first.
    """
    with unfinished_import.alone() as is_alone:
        if not is_alone:
            raise ImportRefused("import.busy", str(folder), "another import is at work here")
        return _import(folder, trust)


def _import(folder: Path, trust: Path | None) -> Imported:
    unfinished_import.remove_files()
    _require_empty()
    try:
        checked = _check(folder, trust or folder / export.TRUST)
    except ProofError as error:
        raise ImportRefused(error.code, error.place or str(folder), error.detail) from error
    _require_keys_of_this_log(checked.log_keys)
    new = [path for name in export.TRUST_FILES if not (path := settings.METERPROOF["TRUST_DIR"] / name).exists()]
    unfinished_import.begin(checked.checkpoint, new)
    try:
        with transaction.atomic():
            batches = _write_rows(checked)
            reach("ledger.import.rows")
            _keep_evidence(checked)  # before the projections: who is in a key bundle stands in its file
            mirror.rebuild_projections()
            _write_files(folder, checked)
            reach("ledger.import.files")
            _require_sound()
    except BaseException:
        if not _is_recorded(checked):
            unfinished_import.remove_files()
            raise
    reach("ledger.import.recorded")
    unfinished_import.end()
    return Imported(
        checked.checkpoint.size, batches, len(checked.checkpoints), len(checked.stamps), len(checked.evidence)
    )


def _is_recorded(checked: _Checked) -> bool:
    """Whether the rows are there although the commit failed: its answer may have been lost. Raises DatabaseError.

    The try to write the one row waits for a commit that is still under way in the server, as a look would not.
    """
    try:
        with transaction.atomic():
            LogState.objects.create(id=1, size=0, root=merkle.EMPTY_ROOT, right_edge=b"")
            transaction.set_rollback(True)
    except IntegrityError:
        return LogState.objects.filter(id=1, size=checked.checkpoint.size, root=checked.checkpoint.root).exists()
    return False


def _require_empty() -> None:
    for model in (LogState, Entry, Batch, CheckpointRow):
        if model._default_manager.exists():
            raise ImportRefused("import.not_empty", model._meta.db_table, "this installation has a log already")
    for path in (tiles.folder(), settings.METERPROOF["SIGNER_DIR"] / signer.MEMORY):
        if path.is_file() or (path.is_dir() and any(path.iterdir())):
            raise ImportRefused("import.not_empty", str(path), "it belongs to a log; choose an empty METERPROOF_VAR")


def _require_keys_of_this_log(named: LogKeys) -> None:
    mine = {key.keyid for key in keys.known(keys.LOG)}
    if mine and not mine & {verifier.key.keyid for verifier in named.verifiers}:
        place = str(settings.METERPROOF["SECRETS_DIR"])
        raise ImportRefused("import.keys", place, "the log key here is not one of this log; choose an empty folder")


def _check(folder: Path, trust_path: Path) -> _Checked:
    """Everything in the export, before anything is written. Raises ProofError."""
    said = _read_manifest(folder)
    verdict = verify_file(folder, trust_path)
    if verdict.error is not None:
        raise verdict.error
    trust = TrustFolder.load(trust_path)
    if trust.origin != settings.METERPROOF["ORIGIN"]:
        here = settings.METERPROOF["ORIGIN"]
        raise ProofError(
            "import.origin", f"the log {trust.origin}; METERPROOF_ORIGIN here says {here}", place="checkpoint"
        )
    log = LogFolder(folder)
    if not log.has_batches():
        raise ProofError("batch.missing", "the signed batches are not there", place=tiles.BATCHES)
    text = log.read_checkpoint()
    checkpoint = Checkpoint.from_text(note.split(text)[0])
    if (said["log"], said["size"], said["root"]) != (checkpoint.origin, checkpoint.size, checkpoint.root.hex()):
        raise ProofError("import.manifest", "it is of another log or size than the checkpoint", place=export.MANIFEST)
    leaves = log.read_leaf_hashes(checkpoint)
    log_keys = LogKeys(_statements(log, leaves))
    checked = _Checked(
        log,
        text,
        checkpoint,
        leaves,
        log_keys,
        _check_checkpoints(folder, leaves, log_keys),
        _check_time_stamps(folder, log_keys, trust),
        _check_receipts(folder, log_keys),
        _check_evidence(folder),
    )
    counts = {
        "checkpoints": len(checked.checkpoints),
        "time_stamps": len(checked.stamps),
        "receipts": len(checked.receipts),
        "evidence": len(checked.evidence),
        "batches": len(list((folder / tiles.BATCHES).iterdir())),
    }
    for name, number in counts.items():
        if said[name] != number:
            raise ProofError(
                "import.manifest", f"it counts {said[name]} {name}, here are {number}", place=export.MANIFEST
            )
    return checked


def _read_manifest(folder: Path) -> dict[str, Any]:
    try:
        said = parse((folder / export.MANIFEST).read_bytes(), max_bytes=MAX_MANIFEST_BYTES)
    except OSError:
        raise NotCheckable(
            "file.missing", "not an export, or one that was interrupted", place=export.MANIFEST
        ) from None
    wanted = set(export.Exported.__dataclass_fields__)
    if not isinstance(said, dict) or said.keys() != wanted or said["format"] != export.FORMAT:
        raise NotCheckable("file.unknown", f"not of the format {export.FORMAT}", place=export.MANIFEST)
    return said


def _statements(log: LogFolder, leaves: list[bytes]) -> Iterator[Statement]:
    mark = f'"subject":"{log_subject(settings.METERPROOF["ORIGIN"])}","v":1}}'.encode()
    for leaf, body in log.read_entries(leaves):
        if body is not None and body.endswith(mark):
            value = entry_format.read(body)
            yield Statement(leaf, value["event"]["type"], value["event"]["data"], value["recorded_at"])


def _check_checkpoints(folder: Path, leaves: list[bytes], log_keys: LogKeys) -> dict[int, str]:
    """Each under a key that counted then, over the tree of its size; the newest is the one beside them."""
    found: dict[int, str] = {}
    edge = merkle.RightEdge()
    for path in sorted((folder / export.CHECKPOINTS).iterdir(), key=lambda path: _number(path.name)):
        place = f"{export.CHECKPOINTS}/{path.name}"
        size = _number(path.name)
        text = path.read_bytes().decode("utf-8", "replace")
        try:
            stated = Checkpoint.from_text(note.open_note(text, log_keys.verifiers_at(size)).text)
        except ProofError as error:
            raise error.within(place) from None
        edge.extend(leaves[edge.size : size])
        if stated.size != size or (edge.size, edge.root()) != (size, stated.root):
            raise ProofError("proof.consistency", "it is over another tree than the log had at its size", place=place)
        found[size] = text
    if not found or max(found) != len(leaves):
        raise ProofError("import.checkpoints", "the newest checkpoint is not among them", place=export.CHECKPOINTS)
    return found


def _check_time_stamps(folder: Path, log_keys: LogKeys, trust: TrustFolder) -> list[tuple[int, str, bytes]]:
    found: list[tuple[int, str, bytes]] = []
    paths = [path for path in (folder / export.TIME_STAMPS).glob("*") if path.suffix != ".tsr"]
    for path in sorted(paths, key=lambda path: _number(path.name)):
        place = f"{export.TIME_STAMPS}/{path.name}"
        try:
            text, token = path.read_bytes().decode("utf-8", "replace"), path.with_name(f"{path.name}.tsr").read_bytes()
        except OSError:
            raise ProofError("time.token", "the token is missing", place=f"{place}.tsr") from None
        size = Checkpoint.from_text(note.split(text)[0]).size
        try:
            note.open_note(text, log_keys.verifiers_at(size))
        except ProofError as error:
            raise error.within(place) from None
        time_tokens.verify_token(token, text.encode(), roots=trust.time_stamp_roots, place=f"{place}.tsr")
        if _number(path.name) != len(found) + 1:
            raise ProofError("time.token", f"number {len(found) + 1} is missing", place=export.TIME_STAMPS)
        found.append((size, text, token))
    return found


def _check_receipts(folder: Path, log_keys: LogKeys) -> dict[tuple[bytes, int], bytes]:
    """Each is signed by a receipt key of the log, and about the batch its name says; every batch has one."""
    found: dict[tuple[bytes, int], bytes] = {}
    batches = {path.stem for path in (folder / tiles.BATCHES).iterdir()}
    for path in sorted((folder / export.RECEIPTS).glob("*")):
        place = f"{export.RECEIPTS}/{path.name}"
        data = path.read_bytes()
        try:
            read = receipt_format.read(data)
            read.verify(log_keys.receipt_keys, log=settings.METERPROOF["ORIGIN"])
        except ProofError as error:
            raise error.within(place) from None
        if path.name != f"{read.payload['batch']}-{read.payload['first']}.json":
            raise ProofError("receipt.form", "it is about another batch than its name says", place=place)
        found[bytes.fromhex(read.payload["batch"]), read.payload["first"]] = data
    without = batches - {batch.hex() for batch, _ in found}
    if without:
        raise ProofError("receipt.form", "no receipt is there for it", place=f"batch {min(without)}")
    return found


def _check_evidence(folder: Path) -> list[Path]:
    found = sorted((folder / export.EVIDENCE).glob("*"))
    for path in found:
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != path.name:
                raise ProofError(
                    "file.digest", "the bytes are others than the name says", place=f"evidence/{path.name}"
                )
    return found


def _number(name: str) -> int:
    if not name.isascii() or not name.isdigit() or (name != "0" and name[0] == "0"):
        raise ProofError("file.unknown", "no such file belongs to an export", place=name)
    return int(name)


def _write_rows(checked: _Checked) -> int:
    """Every row of the ledger. Entries come in the order of the log, so batches come whole."""
    batches = checked.folder.read_batches()
    authors = {name: batch_format.author_of(found.payload) for name, found in batches.items()}
    Batch.objects.bulk_create(
        [
            Batch(
                id=bytes.fromhex(name),
                payload_sha256=hashlib.sha256(found.envelope.payload).digest(),
                envelope=found.envelope.canonical,
                event_hashes=b"".join(found.event_hashes),
            )
            for name, found in batches.items()
        ],
        batch_size=100,
    )
    heads: dict[bytes, Head] = {}
    newest = _write_entries(checked, authors, heads)
    Head.objects.bulk_create(heads.values(), batch_size=PIECE)
    Receipt.objects.bulk_create(
        [Receipt(batch=batch, first=first, envelope=data) for (batch, first), data in checked.receipts.items()],
        batch_size=PIECE,
    )
    CheckpointRow.objects.bulk_create(
        [CheckpointRow(size=size, note=text) for size, text in checked.checkpoints.items()], batch_size=PIECE
    )
    TimeToken.objects.bulk_create(
        [
            TimeToken(number=number, size=size, note=text, token=token)
            for number, (size, text, token) in enumerate(checked.stamps, start=1)
        ],
        batch_size=100,
    )
    Anchoring.objects.create(id=1, tokens=len(checked.stamps))
    edge = merkle.RightEdge()
    edge.extend(checked.leaves)
    LogState.objects.create(size=edge.size, root=edge.root(), right_edge=edge.to_bytes())
    clock_guard.remember(newest)
    return len(batches)


def _write_entries(checked: _Checked, authors: dict[str, str], heads: dict[bytes, Head]) -> datetime:
    rows: list[Entry] = []
    known: list[EventKey] = []
    ranges: list[LeafRange] = []
    newest: datetime | None = None
    promised = _promised(checked)
    for leaf, found in checked.folder.read_entries(checked.leaves):
        body = found or b""
        value = entry_format.read(body, place=f"leaf {leaf}") if body else promised[checked.leaves[leaf]]
        subject, batch = key_of(value["subject"]), bytes.fromhex(value["batch"])
        recorded_at = parse_recorded_at(value["recorded_at"])
        digest = checked.leaves[leaf]
        rows.append(
            Entry(
                subject=subject,
                seq=value["seq"],
                prev=None if value["prev"] is None else bytes.fromhex(value["prev"]),
                hash=digest,
                body=body,
                batch=batch,
                index=value["index"],
                recorded_at=recorded_at,
            )
        )
        key = event_key(authors[value["batch"]], value["event"]["id"] if body else value["event_id"])
        event_hash = merkle.leaf_hash(event_bytes(body)) if body else bytes.fromhex(value["event_hash"])
        known.append(EventKey(key=key, event_hash=event_hash, subject=subject, seq=value["seq"]))
        heads[subject] = Head(subject=subject, seq=value["seq"], hash=digest, recorded_at=recorded_at)
        if ranges and ranges[-1].batch == batch:
            ranges[-1].count += 1
        else:
            ranges.append(LeafRange(first_index=leaf, count=1, batch=batch))
        newest = recorded_at if newest is None else max(newest, recorded_at)
        if len(rows) >= PIECE:
            _flush(rows, known)
    _flush(rows, known)
    LeafRange.objects.bulk_create(ranges, batch_size=PIECE)
    if newest is None:
        raise ImportRefused("log.first", "leaf 0", "the log has no entry")
    return newest


def _promised(checked: _Checked) -> dict[bytes, dict[str, Any]]:
    """By leaf hash, what receipts say of redacted entries: all that their bytes said but the event and the salt."""
    redacted = {checked.leaves[leaf] for leaf, body in checked.folder.read_entries(checked.leaves) if body is None}
    found: dict[bytes, dict[str, Any]] = {}
    for data in checked.receipts.values() if redacted else ():
        payload = receipt_format.read(data).payload
        for entry in payload["entries"]:
            if (digest := bytes.fromhex(entry["hash"])) in redacted:
                found[digest] = entry | {"batch": payload["batch"]}
    if without := redacted - found.keys():
        raise ImportRefused(
            "receipt.form", f"leaf {checked.leaves.index(min(without))}", "no receipt tells where it was"
        )
    return found


def _flush(rows: list[Entry], known: list[EventKey]) -> None:
    Entry.objects.bulk_create(rows, batch_size=PIECE)
    EventKey.objects.bulk_create(known, batch_size=PIECE)
    rows.clear()
    known.clear()


def _keep_evidence(checked: _Checked) -> None:
    kept = mirror.evidence_files()
    for path in checked.evidence if kept else ():
        if kept is not None:
            kept.keep(path.read_bytes())


def _write_files(folder: Path, checked: _Checked) -> None:
    size = checked.checkpoint.size
    tiles.extend(0, size)
    tiles.keep_partial_tiles(sorted(checked.checkpoints), size)
    files.replace(tiles.folder() / tiles.CHECKPOINT, checked.note.encode())
    for name in (ANCHORED, STAMP):
        if (folder / name).exists():
            files.replace(tiles.folder() / name, (folder / name).read_bytes())
    for name in export.TRUST_FILES:
        if (folder / export.TRUST / name).exists():
            files.replace(settings.METERPROOF["TRUST_DIR"] / name, (folder / export.TRUST / name).read_bytes())
    state = LogState.objects.get(id=1)
    signer.take_over(
        signed=_signed_part(checked.checkpoints[size], checked.checkpoint.origin),
        edge=merkle.RightEdge.from_bytes(state.right_edge),
        number=len(checked.checkpoints),
        at=clock_guard.latest_seen(),
    )
    if not keys.known(keys.LOG):
        mirror.mark(size=size)


def _signed_part(cosigned: str, origin: str) -> str:
    """The note with the lines of the log's own keys alone: what the signer signed before witnesses added theirs."""
    text, read = note.split(cosigned)
    lines = cosigned[len(text) + 1 :].splitlines(keepends=True)
    return f"{text}\n" + "".join(line for line, (name, _, _) in zip(lines, read, strict=True) if name == origin)


def _require_sound() -> None:
    result = fsck.run()
    if not result.sound:
        problem = result.problems[0]
        raise ImportRefused(problem.code, problem.place, problem.detail)
    key_history.read()
