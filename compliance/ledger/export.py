"""The whole log as files that need nothing of ours: any web server can serve them, any C2SP tool can check them.

    checkpoint, tile/…                       the published log (C2SP tlog-tiles), entry bundles included
    checkpoint.anchored, checkpoint.tsr      the newest checkpoint with a time stamp, and its token
    batches/<id>.json                        signed batches with the hashes of their events
    receipts/<id>-<first>.json               the receipts that were given for them
    checkpoints/<size>                       every checkpoint that was published
    time-stamps/<number>, ….tsr              every stamped note, and its token
    trust/                                   keys, policy and roots, as given to relying parties
    evidence/<sha256>                        evidence files, if asked for
    README.txt, export.json                  what this is; the last file written, with the counts

Nothing depends on when or where it was made: two exports of one log at one size are the same bytes.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import orjson
from django.conf import settings

from compliance.ledger import mirror, tiles
from compliance.ledger.errors import Damaged, LedgerError
from compliance.ledger.models import Batch, LeafRange, Pending, Receipt, TimeToken
from compliance.ledger.models import Checkpoint as CheckpointRow
from compliance.proof import layout, note, trust
from compliance.proof.canonical import encode
from compliance.proof.checkpoint import Checkpoint
from compliance.proof.layout import TILE_WIDTH
from compliance.proof.log_folder import ANCHORED, STAMP
from compliance.proof.verify import verify_file

FORMAT: Final = "meterproof-export/1"
MANIFEST: Final = "export.json"
CHECKPOINTS: Final = "checkpoints"
RECEIPTS: Final = "receipts"
TIME_STAMPS: Final = "time-stamps"
TRUST: Final = "trust"
EVIDENCE: Final = "evidence"
TRUST_FILES: Final = (
    trust.LOG_VKEY,
    trust.POLICY,
    trust.TRUST_JSON,
    trust.REPORT_ROOTS,
    trust.TIME_STAMP_ROOTS,
    trust.REPORT_SEALS,
    trust.LOG_KEYS,
    trust.POST_QUANTUM_KEY,
)
_README: Final = """This folder is a whole log of Meterproof, format {format}: {log}, {size} entries.

checkpoint and tile/ are a C2SP tlog-tiles prefix (https://c2sp.org/tlog-tiles): any web server can serve them and any
C2SP tool can check them. tile/entries, batches, receipts and evidence hold what organisations sent; serve those only to
those who may read it. What is in the other files: docs/ledger.md of Meterproof.

Check it, with a trust folder that you got by another way, or with the one in here:

    python -m compliance.proof verify . --policy trust
"""


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export holds: `export.json`."""

    format: str
    log: str
    size: int
    root: str
    batches: int
    receipts: int
    checkpoints: int
    time_stamps: int
    evidence: int


def export_log(folder: Path, *, with_evidence: bool = False) -> Exported:
    """Write the log as it is published into `folder`, which must be empty, and verify it there.

    Raises LedgerError, and Damaged if what was written does not verify.
    """
    if folder.exists() and any(folder.iterdir()):
        raise LedgerError(f"{folder} is not empty. Choose a new folder.")
    row = CheckpointRow.objects.order_by("-size").first()
    if row is None:
        raise LedgerError("Nothing is published yet. Publish with: manage.py ledger publish")
    checkpoint = Checkpoint.from_text(note.split(row.note)[0])
    _write(folder / tiles.CHECKPOINT, _published_note(row).encode())
    _write_tiles(folder, checkpoint.size)
    batches, receipts = _write_batches(folder, checkpoint.size)
    made = Exported(
        FORMAT,
        checkpoint.origin,
        checkpoint.size,
        checkpoint.root.hex(),
        batches,
        receipts,
        _write_checkpoints(folder, checkpoint.size),
        _write_time_stamps(folder, checkpoint.size),
        _write_evidence(folder) if with_evidence else 0,
    )
    for name in TRUST_FILES:
        source = settings.METERPROOF["TRUST_DIR"] / name
        if source.exists():
            _write(folder / TRUST / name, source.read_bytes())
    _write(folder / "README.txt", _README.format(format=FORMAT, log=made.log, size=made.size).encode())
    verdict = verify_file(folder, folder / TRUST)
    if verdict.error is not None:
        raise Damaged(str(folder), f"the export does not verify: {verdict.error}")
    _write(folder / MANIFEST, encode(asdict(made)) + b"\n")
    os.sync()
    return made


def _published_note(row: CheckpointRow) -> str:
    """The file that everybody reads, if it is of this size: it may have more cosignatures than the row."""
    shown = tiles.read_checkpoint()
    return shown if shown is not None and note.split(shown)[0] == note.split(row.note)[0] else row.note


def _write_tiles(folder: Path, size: int) -> None:
    for level, index, width in layout.tiles_of(size):
        _write(folder / layout.tile_path(level, index, width), tiles.read_tile(level, index, width))
        if level == 0:
            _write(folder / layout.entries_path(index, width), tiles.read_entry_bundle(index, width))
    for published in _sizes(size):
        for level, index, width in layout.partial_tiles_of(published):
            if width < layout.width_of(size, level, index) < TILE_WIDTH:
                whole = layout.width_of(size, level, index)
                data = tiles.read_tile(level, index, whole)[: width * 32]
                _write(folder / layout.tile_path(level, index, width), data)
                if level == 0:
                    bundle = layout.decode_entry_bundle(tiles.read_entry_bundle(index, whole))[:width]
                    _write(folder / layout.entries_path(index, width), layout.encode_entry_bundle(bundle))


def _sizes(size: int) -> list[int]:
    return list(CheckpointRow.objects.filter(size__lte=size).order_by("size").values_list("size", flat=True))


def _write_batches(folder: Path, size: int) -> tuple[int, int]:
    """Batches below `size`, and those of which nothing new was recorded, each with its receipts."""
    placed = LeafRange.objects.values("batch")
    silent = Batch.objects.exclude(id__in=placed).exclude(id__in=Pending.objects.values("batch"))
    below = Batch.objects.filter(id__in=LeafRange.objects.filter(first_index__lt=size).values("batch"))
    batches = receipts = 0
    for found in (below, silent):
        for batch in found.iterator(chunk_size=100):
            data = tiles.batch_file(batch.envelope, batch.event_hashes)
            _write(folder / tiles.BATCHES / f"{batch.id.hex()}.json", data)
            batches += 1
            for receipt in Receipt.objects.filter(batch=batch.id):
                _write(folder / RECEIPTS / f"{batch.id.hex()}-{receipt.first}.json", receipt.envelope)
                receipts += 1
    return batches, receipts


def _write_checkpoints(folder: Path, size: int) -> int:
    number = 0
    for row in CheckpointRow.objects.filter(size__lte=size).order_by("size").iterator(chunk_size=500):
        _write(folder / CHECKPOINTS / str(row.size), row.note.encode())
        number += 1
    return number


def _write_time_stamps(folder: Path, size: int) -> int:
    newest = None
    for newest in TimeToken.objects.filter(size__lte=size).order_by("number").iterator(chunk_size=100):
        _write(folder / TIME_STAMPS / str(newest.number), newest.note.encode())
        _write(folder / TIME_STAMPS / f"{newest.number}.tsr", newest.token)
    if newest is None:
        return 0
    _write(folder / ANCHORED, newest.note.encode())
    _write(folder / STAMP, newest.token)
    return newest.number


def _write_evidence(folder: Path) -> int:
    kept = mirror.evidence_files()
    written = 0
    for digest in named_evidence(_entries(folder)) if kept else ():
        data = kept.find(digest) if kept else None
        if data is not None:
            _write(folder / EVIDENCE / digest, data)
            written += 1
    return written


def named_evidence(bodies: Iterable[bytes]) -> list[str]:
    """The digests that events name as evidence, each once, in order."""
    return sorted(
        {
            file["sha256"]
            for body in bodies
            if b'"evidence":[' in body
            for file in orjson.loads(body)["event"].get("evidence", ())
        }
    )


def _entries(folder: Path) -> Iterator[bytes]:
    for path in sorted((folder / "tile" / "entries").rglob("*")):
        if path.is_file():
            yield from layout.decode_entry_bundle(path.read_bytes())


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
