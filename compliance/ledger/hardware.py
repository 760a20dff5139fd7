"""A log key that never leaves its token: PKCS #11 (OASIS, version 3), named by a URI of RFC 7512.

    pkcs11:token=meterproof;object=log-2026?module-path=/usr/lib/softhsm/libsofthsm2.so

The PIN comes from the file METERPROOF_HSM_PIN_FILE or from METERPROOF_HSM_PIN, never from the URI, which is written
down. Needs the package python-pkcs11, which only those install who have such a token. The token is asked for each
signature anew, so that one that went away and came back is used again.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

from django.conf import settings

from compliance.ledger.errors import KeyUnavailable, LedgerError
from compliance.proof.errors import ProofError
from compliance.proof.keys import PublicKey

SCHEME: Final = "pkcs11:"
ED25519_CURVE: Final = bytes.fromhex("06032b6570")  # DER of the object identifier 1.3.101.112 (RFC 8410)
_OCTET_STRING: Final = b"\x04\x20"  # CKA_EC_POINT is the DER of the 32 bytes
_KNOWN: Final = frozenset(("token", "object", "module-path"))
_loading = threading.Lock()
_loaded_by: dict[str, int] = {}


@dataclass(frozen=True, slots=True)
class Place:
    """Which key in which token."""

    token: str
    label: str
    module: str

    @classmethod
    def from_uri(cls, uri: str) -> "Place":
        """Raises LedgerError for a URI that names too little, or more than is understood, or a PIN."""
        path, _, query = uri.removeprefix(SCHEME).partition("?")
        pairs = [part.partition("=") for part in [*path.split(";"), *query.split("&")] if part]
        said = {name: unquote(value) for name, _, value in pairs}
        if "pin-value" in said or "pin-source" in said:
            raise LedgerError("A PIN does not belong into the URI of a key. Set METERPROOF_HSM_PIN_FILE.")
        module = said.get("module-path") or settings.METERPROOF["HSM_MODULE"]
        if not uri.startswith(SCHEME) or not {"token", "object"} <= said.keys() <= _KNOWN or not module:
            raise LedgerError(
                f"{uri} does not name a key. Write pkcs11:token=NAME;object=LABEL?module-path=/path/of/the/library.so"
            )
        return cls(said["token"], said["object"], module)


@dataclass(frozen=True, slots=True)
class HardwareKey:
    """An Ed25519 key in a token. `public` was written down when it was made, and every signature is checked with it."""

    uri: str
    public: PublicKey

    def sign(self, message: bytes) -> bytes:
        """64 bytes. Raises KeyUnavailable when the token does not answer or answers with another key's signature."""
        place = Place.from_uri(self.uri)
        with _session(place) as (pkcs11, session):
            key = session.get_key(object_class=pkcs11.ObjectClass.PRIVATE_KEY, label=place.label)
            signature = bytes(key.sign(message, mechanism=pkcs11.Mechanism.EDDSA))
        if not self.public.signed(signature, message):
            raise KeyUnavailable(f"the token signed with another key than {self.public.keyid}: {self.uri}")
        return signature


def find_or_make(uri: str) -> HardwareKey:
    """The key at `uri`, made there if there is none: not extractable, for signing alone. Raises KeyUnavailable."""
    place = Place.from_uri(uri)
    with _session(place, writing=True) as (pkcs11, session):
        public_half = pkcs11.ObjectClass.PUBLIC_KEY
        found = list(session.get_objects({pkcs11.Attribute.CLASS: public_half, pkcs11.Attribute.LABEL: place.label}))
        if len(found) > 1:
            raise LedgerError(f"{len(found)} keys in the token have the label {place.label}. Choose another label.")
        if found:
            point = bytes(found[0][pkcs11.Attribute.EC_POINT])
        else:
            curve = {pkcs11.Attribute.EC_PARAMS: ED25519_CURVE}
            parameters = session.create_domain_parameters(pkcs11.KeyType.EC_EDWARDS, curve, local=True)
            made, _ = parameters.generate_keypair(
                store=True, label=place.label, mechanism=pkcs11.Mechanism.EC_EDWARDS_KEY_PAIR_GEN
            )
            point = bytes(made[pkcs11.Attribute.EC_POINT])
    try:
        public = PublicKey.from_raw_ed25519(point.removeprefix(_OCTET_STRING))
    except ProofError as error:
        raise LedgerError(f"The key {place.label} in the token is no Ed25519 key: {error.detail}.") from None
    key = HardwareKey(uri, public)
    key.sign(b"meterproof: can this key sign?")  # no checkpoint and no cosignature begins like this
    return key


@contextmanager
def _session(place: Place, *, writing: bool = False) -> Iterator[tuple[Any, Any]]:
    try:
        import pkcs11
        from pkcs11.exceptions import PKCS11Error
    except ImportError:
        raise LedgerError(
            "A key in a token needs the package python-pkcs11: .venv/bin/pip install python-pkcs11"
        ) from None
    try:
        with _loading:
            library = pkcs11.lib(place.module)
            if _loaded_by.setdefault(place.module, os.getpid()) != os.getpid():  # PKCS #11 does not survive a fork
                library.reinitialize()
                _loaded_by[place.module] = os.getpid()
        with library.get_token(token_label=place.token).open(rw=writing, user_pin=_pin()) as session:
            yield pkcs11, session
    except (PKCS11Error, RuntimeError, OSError) as error:
        said = str(error) or type(error).__name__
        raise KeyUnavailable(f"the token {place.token} cannot be used ({said})") from error


def _pin() -> str:
    path: str = settings.METERPROOF["HSM_PIN_FILE"]
    if path:
        try:
            return Path(path).read_text().strip()
        except OSError as error:
            raise KeyUnavailable(f"the PIN cannot be read from {path} ({error.strerror})") from None
    pin = os.environ.get("METERPROOF_HSM_PIN", "")  # not among the settings, which error pages show
    if not pin:
        raise LedgerError("A key in a token needs its PIN: set METERPROOF_HSM_PIN_FILE.")
    return pin
