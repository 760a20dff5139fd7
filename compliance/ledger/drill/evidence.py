"""Evidence files damaged and exchanged. What lies in the folder is another room's; its part of fsck is asked."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from django.conf import settings

from compliance.ledger.drill.files import flip, swap
from compliance.ledger.drill.trial import Trial

DIGEST = 64  # hex digits: blobs are called by their SHA-256


def trials() -> Iterator[Trial]:
    """The first file flipped, emptied and deleted, and exchanged with the last."""
    folder: Path = settings.METERPROOF["BLOB_DIR"]
    blobs = sorted(path for path in folder.rglob("*") if path.is_file() and len(path.name) == DIGEST)
    if not blobs:
        return
    first, last = blobs[0], blobs[-1]
    for how, harm in (("flipped", flip), ("emptied", lambda path: path.write_bytes(b"")), ("deleted", Path.unlink)):
        what = f"blob {first.name} {how}"
        yield Trial("edit", "evidence", what, partial(harm, first), (first.name,), (first,), everywhere=True)
    if last != first:
        names, paths = (first.name, last.name), (first, last)
        what = "two evidence files exchanged"
        yield Trial("swap", "evidence", what, partial(swap, first, last), names, paths, everywhere=True)
