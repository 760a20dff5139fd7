"""A backup: database, published log, evidence, reports and trust folder, as they were together, in one folder.

The signer is held while the database is copied and the log's files are linked, so no checkpoint is published between
the two; senders are not kept waiting. Evidence files and reports are stored before rows name them and are never
changed, so they are copied afterwards. A manifest with the digest of every file is written last: without it, it is no
backup. docs/operators/backup-and-restore.md.
"""

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from django.conf import settings
from django.db import connection

from compliance.jobs import clock
from compliance.jobs.failpoints import reach
from compliance.ledger import dumps, files, signer
from compliance.ledger.errors import LedgerError
from compliance.proof.times import format_time

FORMAT: Final = "meterproof-backup/1"
MANIFEST: Final = "manifest.json"
LOG: Final = "log"
SIGNER: Final = "signer"
FOLDERS: Final[Mapping[str, str]] = {"blobs": "BLOB_DIR", "reports": "REPORT_DIR", "trust": "TRUST_DIR"}
SECRET_FOLDERS: Final[Mapping[str, str]] = {"secrets": "SECRETS_DIR", "authority": "AUTHORITY_DIR"}
CHUNK: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup holds. `signed` is the size of the last checkpoint that was signed by then, 0 for none."""

    created: str
    origin: str
    engine: str
    signed: int
    has_secrets: bool
    files: Mapping[str, tuple[int, str]]

    def to_object(self) -> dict[str, Any]:
        """As it is stored."""
        return {
            "format": FORMAT,
            "created": self.created,
            "origin": self.origin,
            "engine": self.engine,
            "signed": self.signed,
            "secrets": self.has_secrets,
            "files": {name: {"size": size, "sha256": digest} for name, (size, digest) in sorted(self.files.items())},
        }


def make(target: Path, *, with_secrets: bool = False) -> Manifest:
    """Write a backup into the new folder `target`. Nothing is left there if it fails."""
    if target.exists():
        raise LedgerError(f"{target} is there already. A backup never overwrites another: name a new folder.")
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    unfinished.mkdir(mode=0o700)
    try:
        manifest = _fill(unfinished, with_secrets=with_secrets)
        reach("ledger.backup.filled")
        unfinished.rename(target)
        files.sync_folder(target.parent)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    return manifest


def read_manifest(folder: Path) -> Manifest:
    """The manifest of the backup in `folder`, every file compared with it. Raises LedgerError for what differs."""
    try:
        stored = json.loads((folder / MANIFEST).read_bytes())
        if stored["format"] != FORMAT:
            raise LedgerError(f"{folder} is a backup of the format {stored['format']}, this release reads {FORMAT}.")
        listed = {name: (int(file["size"]), str(file["sha256"])) for name, file in stored["files"].items()}
        manifest = Manifest(
            stored["created"],
            stored["origin"],
            stored["engine"],
            int(stored["signed"]),
            bool(stored["secrets"]),
            listed,
        )
    except FileNotFoundError:
        raise LedgerError(f"{folder} holds no {MANIFEST}: it is no backup, or one that was not finished.") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LedgerError(f"{folder / MANIFEST} cannot be read: {error}") from None
    found = dict(_files_in(folder))
    found.pop(MANIFEST, None)
    for name in sorted(found.keys() | listed.keys()):
        if name not in found or name not in listed:
            raise LedgerError(f"{folder / name} is {'missing' if name in listed else 'not in the manifest'}.")
        if measure(found[name]) != listed[name]:
            raise LedgerError(f"{folder / name} is damaged: it is not what the manifest says. Take another backup.")
    return manifest


def measure(path: Path) -> tuple[int, str]:
    """Size and SHA-256 of a file."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            size += len(chunk)
    return size, digest.hexdigest()


def copy_missing(source: Path, target: Path) -> int:
    """Copy the files of `source` that `target` has not; what is there stays. Returns how many were copied."""
    copied = 0
    for name, path in _files_in(source):
        place = target / name
        if place.exists():
            continue
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, path.stat().st_mode & 0o777)
        with path.open("rb") as source_file, os.fdopen(descriptor, "wb") as copy:
            shutil.copyfileobj(source_file, copy, CHUNK)
        copied += 1
    return copied


def _fill(target: Path, *, with_secrets: bool) -> Manifest:
    with ExitStack() as still:
        with signer.exclusive(wait=True):
            last = signer.last_signed()
            write_dump = still.enter_context(dumps.snapshot())
            if last is not None:
                copy_missing(settings.METERPROOF["SIGNER_DIR"], target / SIGNER)
                (target / SIGNER / signer.LOCK).unlink(missing_ok=True)
            _link(settings.METERPROOF["LOG_DIR"], target / LOG)
        reach("ledger.backup.still")
        write_dump(target / dumps.DUMP[connection.vendor])
    _own(target / LOG)
    for name, setting in {**FOLDERS, **(SECRET_FOLDERS if with_secrets else {})}.items():
        copy_missing(settings.METERPROOF[setting], target / name)
    manifest = Manifest(
        format_time(clock.now()),
        settings.METERPROOF["ORIGIN"],
        connection.vendor,
        last.checkpoint.size if last else 0,
        with_secrets,
        {name: measure(path) for name, path in _files_in(target)},
    )
    (target / MANIFEST).write_text(json.dumps(manifest.to_object(), indent=1) + "\n")
    _sync(target)
    return manifest


def _link(source: Path, target: Path) -> None:
    """Take the files of `source` as they are at this moment: by links where that can be, as they are never changed."""
    for name, path in _files_in(source):
        place = target / name
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(path, place)
        except OSError:  # another file system, or one without links
            shutil.copyfile(path, place)


def _own(folder: Path) -> None:
    """Copies in place of links, so that what damages a file here leaves its backup as it was."""
    for _, path in _files_in(folder):
        if path.stat().st_nlink > 1:
            copy = path.with_name(f".{path.name}.copy")
            shutil.copyfile(path, copy)
            copy.rename(path)


def _files_in(folder: Path) -> Iterator[tuple[str, Path]]:
    """Every file below `folder` with its path from there; what begins with a dot is temporary and no content."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_file() and not any(part.startswith(".") for part in name.parts):
            yield str(name), path


def _sync(folder: Path) -> None:
    for path in [*folder.rglob("*"), folder]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
