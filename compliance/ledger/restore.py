"""Restoring a backup, and going on from there without a second history.

The signer's memory is never taken back: it says up to which size others may hold checkpoints. If it is ahead of the
backup, the entries between are read again from the published log, which must give the very root that was signed; then
the log goes on as the same log, and says in an entry what happened. docs/operators/backup-and-restore.md.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from django.conf import settings
from django.core.management import call_command
from django.db import connection

from compliance.jobs import clock
from compliance.ledger import backup, dumps, integrate, publish, signer, startup
from compliance.ledger.backup import Manifest
from compliance.ledger.errors import LedgerError, StateRefused
from compliance.ledger.models import Checkpoint, LogState
from compliance.ledger.platform_log import platform_batch
from compliance.ledger.replay import RESTORED, replay
from compliance.ledger.setup import PLATFORM_ACTOR
from compliance.ledger.signer import Signed
from compliance.proof import subject as subjects

logger = logging.getLogger(__name__)

SET_ASIDE: Final = "before-restore"


@dataclass(frozen=True, slots=True)
class Restored:
    """What came of it: how many entries the backup had, and how many were read again from the published log."""

    created: str
    size: int
    replayed: int


def restore(folder: Path, *, replay_from: Path | None = None, adopt_signer: bool = False) -> Restored:
    """Make this empty installation what the backup in `folder` holds.

    Raises LedgerError, before anything is changed, if that is not safe: the database is not empty, the backup is
    damaged or of another log, it is older than what was signed (`replay_from` names the published log to go on with),
    or the signer has no memory (`adopt_signer` takes that of the backup).
    """
    manifest = backup.read_manifest(folder)
    _require_fits(manifest)
    with signer.exclusive(wait=True):
        last = signer.last_signed()
        _require_safe(manifest, last, replay_from, adopt_signer=adopt_signer)
        _copy_files(folder)
        dumps.read(folder / dumps.DUMP[connection.vendor])
        call_command("migrate", verbosity=0)
        if last is None:
            backup.copy_missing(folder / backup.SIGNER, settings.METERPROOF["SIGNER_DIR"])
        size = LogState.objects.values_list("size", flat=True).get(id=1)
        replayed = replay(replay_from, last) if replay_from is not None and last is not None else 0
        if replayed:
            _set_aside_published_log()
    integrate.integrate()  # what waited when the backup was taken
    startup.compare_with_signer()
    _say_so(manifest, size, replayed, last)
    integrate.integrate()
    publish.rebuild()
    return Restored(manifest.created, size, replayed)


def _require_fits(manifest: Manifest) -> None:
    if manifest.engine != connection.vendor:
        raise LedgerError(f"The backup is of {manifest.engine}, the settings name {connection.vendor}.")
    if manifest.origin != settings.METERPROOF["ORIGIN"]:
        raise LedgerError(
            f"The backup is of the log {manifest.origin}, the settings say {settings.METERPROOF['ORIGIN']}. "
            "Set METERPROOF_ORIGIN to the backup's."
        )
    if not dumps.is_empty():
        raise LedgerError(
            f"The database {connection.settings_dict['NAME']} is not empty. A restore never overwrites: move the file "
            "away, or create an empty database and name it in DATABASE_URL."
        )


def _require_safe(manifest: Manifest, last: Signed | None, replay_from: Path | None, *, adopt_signer: bool) -> None:
    if last is None and manifest.signed and not adopt_signer:
        raise StateRefused(
            f"{settings.METERPROOF['SIGNER_DIR']} does not remember what was signed. Put it back if it still exists. "
            f"Otherwise the backup's memory, of {manifest.signed} entries, can be taken with --adopt-signer: only if "
            "nobody outside can hold a later checkpoint. Ask witnesses and mirrors first: whoever holds one could "
            "prove two histories."
        )
    if last is not None and last.checkpoint.size > manifest.signed and replay_from is None:
        raise StateRefused(
            f"The backup is older than the log that was signed: it knows a checkpoint of {manifest.signed} entries, "
            f"the signer has signed {last.checkpoint.size} (at {last.signed_at:%Y-%m-%d %H:%M:%S} UTC). Going on from "
            "it would give others a second history. Restore a newer backup; or let the entries between be read again "
            f"from the published log, with --replay {settings.METERPROOF['LOG_DIR']} or a mirror's copy of it."
        )


def _copy_files(folder: Path) -> None:
    """What is there stays: it is at least as new."""
    for name, setting in {**backup.FOLDERS, **backup.SECRET_FOLDERS}.items():
        backup.copy_missing(folder / name, settings.METERPROOF[setting])
    if not (settings.METERPROOF["LOG_DIR"] / "checkpoint").exists():
        backup.copy_missing(folder / backup.LOG, settings.METERPROOF["LOG_DIR"])


def _set_aside_published_log() -> None:
    """It is derived again from the rows: partial tiles of checkpoints whose rows were lost would belong to nothing."""
    published: Path = settings.METERPROOF["LOG_DIR"]
    if published.exists():
        published.rename(published.with_name(f"{published.name}.{SET_ASIDE}-{clock.now():%Y%m%dT%H%M%S}"))


def _say_so(manifest: Manifest, size: int, replayed: int, last: Signed | None) -> None:
    """An entry that everybody can read: the log was interrupted, and went on from here."""
    signed = signer.last_signed()
    lost = signed.number - Checkpoint.objects.count() if signed is not None and last is not None else 0
    data = {
        "backup_created": manifest.created,
        "backup_size": size,
        "replayed": replayed,
        "checkpoints": max(0, lost - 1) if replayed else 0,
        "signer": "kept" if last is not None else "from the backup",
    }
    with platform_batch(actor=PLATFORM_ACTOR) as log:
        log.record(subjects.log(settings.METERPROOF["ORIGIN"]), RESTORED, data)
    logger.warning("restored from the backup of %s: %s", manifest.created, data)
