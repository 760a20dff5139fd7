"""The platform's own keys: log (checkpoints), receipts (also heads) and platform batches, each in a file of its own.

Files in SECRETS_DIR, PKCS #8 PEM, readable by the owner alone. The key that seals PDF reports belongs to the reports
room.
"""

from functools import lru_cache
from pathlib import Path
from typing import Final

from django.conf import settings

from compliance.ledger import files
from compliance.ledger.errors import LedgerError
from compliance.proof.keys import PrivateKey
from compliance.proof.note import NoteSigner

LOG: Final = "log.pem"
RECEIPTS: Final = "receipts.pem"
PLATFORM: Final = "platform.pem"
NAMES: Final = (LOG, RECEIPTS, PLATFORM)
_OTHERS_MAY: Final = 0o077


def log_signer() -> NoteSigner:
    """Signs checkpoints under the log's origin."""
    return NoteSigner(settings.METERPROOF["ORIGIN"], _load(LOG))


def receipt_key() -> PrivateKey:
    """Signs receipts and heads."""
    return _load(RECEIPTS)


def platform_key() -> PrivateKey:
    """Signs batches of issuer `platform`."""
    return _load(PLATFORM)


def make_missing() -> list[str]:
    """Make the keys that are not there, and return the names of those that were made."""
    made = []
    for name in NAMES:
        try:
            files.make_secret(_path(name), PrivateKey.generate().to_pem())
        except FileExistsError:
            continue
        made.append(name)
    return made


def _path(name: str) -> Path:
    folder: Path = settings.METERPROOF["SECRETS_DIR"]
    return folder / name


def _load(name: str) -> PrivateKey:
    path = _path(name)
    try:
        status = path.stat()
    except FileNotFoundError:
        raise LedgerError(
            f"{path} is missing. Put the file back from the backup of the secrets; without it nothing can be signed."
        ) from None
    if status.st_mode & _OTHERS_MAY:
        raise LedgerError(f"{path} can be read by others than its owner. Mend it with: chmod 600 {path}")
    return _read(path, status.st_mtime_ns)


@lru_cache(maxsize=64)
def _read(path: Path, _changed: int) -> PrivateKey:
    return PrivateKey.from_pem(path.read_bytes())
