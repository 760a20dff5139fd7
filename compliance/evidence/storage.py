"""Bytes by their SHA-256 under BLOB_DIR: written once, never overwritten, checked whenever they are read.

A blob is streamed to a temporary file while it is hashed, synced, then renamed to `ab/cd/<digest>`. Whatever dies on
the way leaves a temporary file or a blob that no evidence names; `sweep_orphans` removes both after a day, never
sooner, so that an upload in progress is safe. Nothing here knows about evidence rows.
"""

import fcntl
import io
import os
import re
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from hashlib import sha256 as new_sha256
from pathlib import Path
from typing import IO

from django.conf import settings

from compliance.evidence.errors import BlobDamaged, BlobMissing, IntakeRefused
from compliance.jobs import clock, failpoints
from compliance.proof import durable_files

MAX_FILE_BYTES = 20 * 1024 * 1024  # a scanned contract fits; larger records belong into several files
CHUNK_BYTES = 256 * 1024
ORPHAN_AGE = timedelta(hours=24)  # longer than any upload or retry takes
LEFTOVER_AGE = ORPHAN_AGE + timedelta(hours=2)  # the sweep comes every hour; one may be missed

_DIGEST = re.compile(r"[0-9a-f]{64}")


class Condition(StrEnum):
    """What a check of a stored blob found."""

    INTACT = "intact"
    DAMAGED = "damaged"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class StoredBlob:
    """Bytes in the store."""

    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Damage:
    """A blob that is not what its name says."""

    sha256: str
    condition: Condition
    place: str


@dataclass(frozen=True, slots=True)
class Unnamed:
    """A blob that nobody names. `is_leftover`: young enough to be what a broken upload left for the sweep."""

    place: str
    condition: Condition
    is_leftover: bool


def store(stream: IO[bytes], *, expected_sha256: str | None = None, max_bytes: int = MAX_FILE_BYTES) -> StoredBlob:
    """Read `stream` to its end into the store. Returns after the bytes are on disk.

    Raises IntakeRefused with `file.too_large`, `file.empty` or `file.digest`; then nothing is kept.
    """
    with temporary_copy(stream, max_bytes=max_bytes) as (path, blob):
        require_digest(blob, expected_sha256)
        keep(path, blob)
    return blob


def require_digest(blob: StoredBlob, announced: str | None) -> None:
    """Raise IntakeRefused unless `blob` has the digest that was announced, if one was."""
    if announced is not None and announced != blob.sha256:
        raise IntakeRefused("file.digest", f"the bytes received have the SHA-256 {blob.sha256}, not the one announced")


@contextmanager
def temporary_copy(stream: IO[bytes], *, max_bytes: int = MAX_FILE_BYTES) -> Iterator[tuple[Path, StoredBlob]]:
    """A synced temporary copy of `stream` with its digest, gone when the block ends unless `keep` took it."""
    folder = _folder("incoming")
    descriptor, name = tempfile.mkstemp(dir=folder, prefix="upload-")
    path = Path(name)
    try:
        digest, size = new_sha256(), 0
        with os.fdopen(descriptor, "wb") as file:
            while chunk := stream.read(CHUNK_BYTES):
                size += len(chunk)
                if size > max_bytes:
                    raise IntakeRefused("file.too_large", f"the file is larger than {max_bytes} bytes")
                digest.update(chunk)
                file.write(chunk)
            if size == 0:
                raise IntakeRefused("file.empty", "the file holds no bytes")
            file.flush()
            os.fsync(file.fileno())
        failpoints.reach("evidence.blob_written")
        yield path, StoredBlob(digest.hexdigest(), size)
    finally:
        path.unlink(missing_ok=True)


def keep(path: Path, blob: StoredBlob) -> None:
    """Move the temporary copy at `path` to its place, unless the same bytes lie there already.

    Bytes that lie there damaged are set aside, not overwritten, and the good ones take their place.
    """
    target = path_of(blob.sha256)
    target.parent.mkdir(parents=True, exist_ok=True)
    with _store_lock():
        condition = verify_blob(blob.sha256)
        if condition is Condition.INTACT:
            os.utime(target)  # younger than ORPHAN_AGE again: whoever stores it now is about to name it
            return
        if condition is Condition.DAMAGED:
            target.rename(_folder("damaged") / f"{blob.sha256}-{clock.now():%Y%m%dT%H%M%S%f}")
        path.chmod(0o440)
        path.rename(target)
        durable_files.sync_folder(target.parent)
    failpoints.reach("evidence.blob_stored")


def open_blob(sha256: str) -> IO[bytes]:
    """The bytes of `sha256` as a file at its start, read and checked to their end before. The caller closes it.

    Raises BlobMissing or BlobDamaged: bytes that changed are never given out.
    """
    try:
        file = path_of(sha256).open("rb")
    except FileNotFoundError:
        raise BlobMissing(sha256) from None
    if _hash_of(file) != sha256:
        file.close()
        raise BlobDamaged(sha256)
    file.seek(0)
    return file


def read_blob(sha256: str) -> bytes:
    """The checked bytes of `sha256`, whole. Raises as `open_blob`."""
    with open_blob(sha256) as file:
        return file.read()


def find(sha256: str) -> bytes | None:
    """The checked bytes of `sha256`, None if they are not stored. Raises BlobDamaged."""
    try:
        return read_blob(sha256)
    except BlobMissing:
        return None


def keep_bytes(data: bytes) -> None:
    """Store `data` as it is: a file that another installation took in, under whatever limit it had."""
    store(io.BytesIO(data), max_bytes=len(data))


def verify_blob(sha256: str) -> Condition:
    """Read the blob and say what it is. No blob can have a name that is no digest: that one is missing."""
    if not _DIGEST.fullmatch(sha256):
        return Condition.MISSING
    try:
        with path_of(sha256).open("rb") as file:
            return Condition.INTACT if _hash_of(file) == sha256 else Condition.DAMAGED
    except FileNotFoundError:
        return Condition.MISSING


def scrub() -> Iterator[Damage]:
    """Re-hash every stored blob and name the damaged ones. What is missing only its referrers know: `fsck` compares."""
    for path in _stored():
        with path.open("rb") as file:
            if _hash_of(file) != path.name:
                yield Damage(path.name, Condition.DAMAGED, str(path.relative_to(_root())))


def unnamed(wanted: Collection[str]) -> Iterator[Unnamed]:
    """Every stored blob that is not in `wanted`, or does not lie where its name belongs."""
    now = clock.now()
    youngest, oldest = (now + ORPHAN_AGE).timestamp(), (now - LEFTOVER_AGE).timestamp()
    for path in _stored():
        if path.name in wanted and path == path_of(path.name):
            continue
        try:
            with path.open("rb") as file:
                condition = Condition.INTACT if _hash_of(file) == path.name else Condition.DAMAGED
            is_leftover = path.name not in wanted and oldest <= path.stat().st_mtime <= youngest
        except FileNotFoundError:
            continue
        yield Unnamed(str(path.relative_to(_root())), condition, is_leftover)


def stored_digests() -> Iterator[str]:
    """Every digest the store has a file for."""
    return (path.name for path in _stored())


def sweep_orphans(wanted: Collection[str]) -> list[str]:
    """Remove temporary files and blobs not in `wanted` that are older than ORPHAN_AGE. Returns their names."""
    oldest = (clock.now() - ORPHAN_AGE).timestamp()
    removed = []
    for path in [*_folder("incoming").iterdir(), *(path for path in _stored() if path.name not in wanted)]:
        with _store_lock():
            try:
                if path.stat().st_mtime < oldest:
                    path.unlink()
                    removed.append(path.name)
            except FileNotFoundError:
                continue
    return removed


def _root() -> Path:
    return Path(settings.METERPROOF["BLOB_DIR"])


def _folder(name: str) -> Path:
    folder = _root() / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def path_of(sha256: str) -> Path:
    """Where the bytes of `sha256` lie, or would. Nothing is checked: whoever gives bytes out takes `open_blob`."""
    if not _DIGEST.fullmatch(sha256):
        raise ValueError("a blob is named by 64 lower-case hex digits")
    return _root() / sha256[:2] / sha256[2:4] / sha256


def _stored() -> Iterator[Path]:
    return (
        path for path in sorted(_root().glob("[0-9a-f][0-9a-f]/[0-9a-f][0-9a-f]/*")) if _DIGEST.fullmatch(path.name)
    )


def _hash_of(file: IO[bytes]) -> str:
    digest = new_sha256()
    while chunk := file.read(CHUNK_BYTES):
        digest.update(chunk)
    return digest.hexdigest()


@contextmanager
def _store_lock() -> Iterator[None]:
    """Held while a blob takes or leaves its place, so that a sweep cannot remove what a store just found there."""
    descriptor = os.open(_folder("incoming").parent / ".lock", os.O_CREAT | os.O_RDWR, 0o640)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
