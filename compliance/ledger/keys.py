"""The platform's own private keys: log (checkpoints), receipts (also heads) and platform batches.

Each is a file in SECRETS_DIR, PKCS #8 PEM, readable by the owner alone; a log key may be in a token instead
(`hardware.py`). `keys.json` beside them says which there are once one was rotated; which of them counts, the log says
(`key_history.py`). The key that seals PDF reports belongs to the reports room.
"""

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from django.conf import settings

from compliance.ledger import files, hardware
from compliance.ledger.errors import KeyUnavailable, LedgerError
from compliance.ledger.hardware import HardwareKey
from compliance.proof import base64_text
from compliance.proof.errors import ProofError
from compliance.proof.keys import PrivateKey, PublicKey, SigningKey
from compliance.proof.note import NoteSigner, NoteVerifier

LOG: Final = "log"
RECEIPTS: Final = "receipts"
PLATFORM: Final = "platform"
USES: Final = (LOG, RECEIPTS, PLATFORM)
INDEX: Final = "keys.json"
_OTHERS_MAY: Final = 0o077

Reference = dict[str, str]  # {"file"} in SECRETS_DIR, or {"uri", "public_key"} in a token


def log_signers(verifiers: Sequence[NoteVerifier]) -> list[NoteSigner]:
    """Those of `verifiers` with their private halves. Raises KeyUnavailable if one is not here."""
    mine = {key.public.keyid: key for key in keys(LOG)}
    missing = [verifier for verifier in verifiers if verifier.key.keyid not in mine]
    if missing or not verifiers:
        named = ", ".join(verifier.id.hex() for verifier in missing) or "none"
        raise KeyUnavailable(f"the log key {named} is not in {_folder()}")
    return [NoteSigner(verifier.name, mine[verifier.key.keyid]) for verifier in verifiers]


def log_vkey() -> str:
    """The verifier key of the first log key here, for a log that is being created."""
    return NoteSigner(settings.METERPROOF["ORIGIN"], keys(LOG)[0]).vkey


def receipt_key() -> PrivateKey:
    """Signs receipts and heads: the first, while another waits for its turn."""
    return _from_file(references(RECEIPTS)[0])


def platform_key() -> PrivateKey:
    """Signs batches of issuer `platform`: the first, while the one before is still valid."""
    return _from_file(references(PLATFORM)[0])


def keys(use: str) -> list[SigningKey]:
    """All keys of `use` that are here. Raises LedgerError for a file that is missing or that others may read."""
    return [_load(reference) for reference in references(use)]


def references(use: str) -> list[Reference]:
    """Where the keys of `use` are."""
    return _index()[use]


def set_references(use: str, wanted: Sequence[Reference]) -> None:
    """Let `use` have these keys from now on, in every process."""
    files.replace(
        _folder() / INDEX, (json.dumps({**_index(), use: list(wanted)}, indent=1) + "\n").encode(), mode=0o600
    )


def make(use: str, *, uri: str = "") -> Reference:
    """A new key: a file named by its key id, or at `uri` in a token."""
    if uri:
        key = hardware.find_or_make(uri)
        return {"uri": uri, "public_key": base64_text.encode(key.public.der)}
    made = PrivateKey.generate()
    name = f"{use}-{made.public.keyid.removeprefix('sha256:')[:16]}.pem"
    files.make_secret(_folder() / name, made.to_pem())
    return {"file": name}


def discard(use: str, reference: Reference) -> None:
    """Remove the file of a key that was made and never came into use. One that is referred to stays, and one in a
    token too.
    """
    if "file" in reference and reference not in references(use):
        (_folder() / reference["file"]).unlink(missing_ok=True)


def make_missing() -> list[str]:
    """Make the keys that a new log needs and that are not there, and return the uses they were made for."""
    made = []
    uri = settings.METERPROOF["LOG_KEY"]
    if uri and not (_folder() / INDEX).exists():
        _folder().mkdir(parents=True, exist_ok=True, mode=0o700)
        set_references(LOG, [make(LOG, uri=uri)])
        made.append(LOG)
    for use, (reference, *_) in _index().items():
        if "file" in reference:
            try:
                files.make_secret(_folder() / reference["file"], PrivateKey.generate().to_pem())
            except FileExistsError:
                continue
            made.append(use)
    return made


def public_half(reference: Reference) -> PublicKey:
    """The public half of a key, without asking a token."""
    return _load(reference).public


def read_secret(name: str) -> bytes:
    """The file `name` in SECRETS_DIR. Raises KeyUnavailable if it is missing, LedgerError if others may read it."""
    path = _folder() / name
    _require_private(path)
    return path.read_bytes()


def known(use: str) -> list[PublicKey]:
    """The public halves of the keys that are here, without asking a token; none on a mirror."""
    return [
        _load(reference).public
        for reference in references(use)
        if "uri" in reference or (_folder() / reference["file"]).exists()
    ]


def _index() -> dict[str, list[Reference]]:
    path = _folder() / INDEX
    default = {use: [{"file": f"{use}.pem"}] for use in USES}
    try:
        stored: dict[str, Any] = json.loads(path.read_bytes())
    except FileNotFoundError:
        return default
    except ValueError as error:
        raise LedgerError(f"{path} cannot be read ({error}). Put it back from the backup of the secrets.") from None
    return {use: stored.get(use) or default[use] for use in USES}


def _folder() -> Path:
    folder: Path = settings.METERPROOF["SECRETS_DIR"]
    return folder


def _load(reference: Reference) -> SigningKey:
    if "uri" in reference:
        der = base64_text.decode(reference["public_key"]) or b""
        try:
            return HardwareKey(reference["uri"], PublicKey.from_der(der))
        except ProofError as error:
            raise LedgerError(f"{_folder() / INDEX}: {error.detail}. Put it back from its backup.") from None
    return _from_file(reference)


def _from_file(reference: Reference) -> PrivateKey:
    path = _folder() / reference["file"]
    return _read(path, _require_private(path))


def _require_private(path: Path) -> int:
    """When the file at `path` was changed last. Raises LedgerError if it is missing or others may read it."""
    try:
        status = path.stat()
    except FileNotFoundError:
        raise KeyUnavailable(
            f"{path} is missing. Put the file back from the backup of the secrets; without it nothing can be signed."
        ) from None
    if status.st_mode & _OTHERS_MAY:
        raise LedgerError(f"{path} can be read by others than its owner. Mend it with: chmod 600 {path}")
    return status.st_mtime_ns


@lru_cache(maxsize=64)
def _read(path: Path, _changed: int) -> PrivateKey:
    return PrivateKey.from_pem(path.read_bytes())
