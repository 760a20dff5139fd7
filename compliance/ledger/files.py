"""Files that are either wholly there or not there, also after a power cut: temp file, fsync, rename, fsync of the
folder.

What is written once is never written with other bytes: a tile has one content for ever.
"""

import os
import secrets
from pathlib import Path

from compliance.jobs.failpoints import reach
from compliance.ledger.errors import Damaged


def replace(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Make `data` the content of `path`, whatever it was before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _replace(path, data, mode)
    sync_folder(path.parent)


def write_once(path: Path, data: bytes) -> bool:
    """Write `path` unless it is there, and say whether it was written. Raises Damaged if it is there with other
    bytes.

    The folder is not synchronised here, so that many files cost one fsync of it: call `sync_folder` before relying on
    them.
    """
    try:
        present = path.read_bytes()
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path, data, 0o644)
        return True
    if present != data:
        raise Damaged(str(path), "the file holds other bytes than the rows it was made from")
    return False


def make_secret(path: Path, data: bytes) -> None:
    """Write `path` for the owner's eyes alone. Raises FileExistsError rather than overwrite a secret."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        _write_all(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _replace(path: Path, data: bytes, mode: int) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        try:
            _write_all(descriptor, data)
            reach("ledger.files.written")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        reach("ledger.files.synced")
        temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    reach("ledger.files.renamed")


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
