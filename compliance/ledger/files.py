"""Files of the log and of its signer, durable (`proof.durable_files`), with steps at which tests break off.

What is written once is never written with other bytes: a tile has one content for ever.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from compliance.jobs import failpoints
from compliance.ledger.errors import Damaged
from compliance.proof import durable_files
from compliance.proof.durable_files import sync_folder

__all__ = ["locked", "make_secret", "replace", "sync_folder", "write_once"]


def replace(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Make `data` the content of `path`, whatever it was before."""
    durable_files.replace(path, data, mode=mode, reach=_reach)


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
        durable_files.place(path, data, reach=_reach)
        return True
    if present != data:
        raise Damaged(str(path), "the file holds other bytes than the rows it was made from")
    return False


def make_secret(path: Path, data: bytes) -> None:
    """Write `path` for the owner's eyes alone. Raises FileExistsError rather than overwrite a secret."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    durable_files.create(path, data, mode=0o600)


@contextmanager
def locked(path: Path, *, wait: bool) -> Iterator[bool]:
    """Hold the lock file `path` alone until the block ends; yields False if another holds it and `wait` is False."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True
    finally:
        os.close(descriptor)


def _reach(step: str) -> None:
    failpoints.reach(f"ledger.files.{step}")
