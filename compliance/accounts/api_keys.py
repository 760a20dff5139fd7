"""API keys: their form, and how a presented one is recognised.

`mp_live_<8 id>_<32 random><6 checksum>`, all base62. The prefix lets secret scanners find a leaked key, the checksum
(CRC-32 of everything before it, as GitHub's tokens carry one) lets them drop look-alikes offline. 32 base62 characters
are 190 bits, so the stored SHA-256 cannot be searched.
"""

import hashlib
import hmac
import re
import secrets
import zlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from compliance.accounts.models import ApiKey
from compliance.jobs import row_scope

BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
PREFIX = "mp_live"
IDENTIFIER_LENGTH = 8
RANDOM_LENGTH = 32
CHECKSUM_LENGTH = 6  # 62^6 > 2^32
USE_NOTED_EVERY = timedelta(minutes=1)  # a write per request would make every read a write

_FORM = re.compile(rf"{PREFIX}_([0-9A-Za-z]{{{IDENTIFIER_LENGTH}}})_[0-9A-Za-z]{{{RANDOM_LENGTH + CHECKSUM_LENGTH}}}")


@dataclass(frozen=True, slots=True)
class NewSecret:
    """A key just made: what the holder gets once, and what is kept."""

    text: str
    identifier: str

    @property
    def sha256(self) -> bytes:
        """What is stored in the place of the secret."""
        return digest(self.text)


def generate() -> NewSecret:
    """A fresh key."""
    identifier = _random_text(IDENTIFIER_LENGTH)
    body = f"{PREFIX}_{identifier}_{_random_text(RANDOM_LENGTH)}"
    return NewSecret(text=body + checksum(body), identifier=identifier)


def checksum(body: str) -> str:
    """The last six characters of a key whose other characters are `body`."""
    number = zlib.crc32(body.encode("ascii"))
    digits = ""
    for _ in range(CHECKSUM_LENGTH):
        number, digit = divmod(number, len(BASE62))
        digits = BASE62[digit] + digits
    return digits


def is_well_formed(text: str) -> bool:
    """Whether `text` has the form and the checksum of a key. Needs no database: secret scanners do the same."""
    return _FORM.fullmatch(text) is not None and checksum(text[:-CHECKSUM_LENGTH]) == text[-CHECKSUM_LENGTH:]


def digest(text: str) -> bytes:
    """SHA-256 of the whole key."""
    return hashlib.sha256(text.encode()).digest()


@row_scope.everything()
def recognise(text: str, *, at: datetime) -> ApiKey | None:
    """The living key that `text` is the secret of, or None: unknown, mistyped, ended and revoked look alike."""
    presented = digest(text)
    if not is_well_formed(text):
        return None
    identifier = text[len(PREFIX) + 1 :][:IDENTIFIER_LENGTH]
    key = ApiKey.objects.select_related("organisation").filter(identifier=identifier).first()
    stored = bytes(key.secret_sha256) if key else bytes(len(presented))
    is_same = hmac.compare_digest(stored, presented)
    if key is None or not is_same or not key.is_alive(at):
        return None
    if key.last_used_at is None or at - key.last_used_at >= USE_NOTED_EVERY:
        ApiKey.objects.filter(pk=key.pk).update(last_used_at=at)
    return key


def _random_text(length: int) -> str:
    return "".join(secrets.choice(BASE62) for _ in range(length))
