"""The development authority: root, issuing authority, seal, time stamping unit and their revocation lists, as files.

It lets a fresh installation seal reports that every reader can check, without an outside trust service. Whoever
relies on such a report trusts the operator's own root, and the report says so. `ALLOW_DEVELOPMENT_AUTHORITY` forbids
it.

Folder (`AUTHORITY_DIR`, 0700; keys 0600):

    development.json    marks the folder as ours, written last
    report-root, issuing, seal, tsa-root, tsa    .crt (PEM) and .key (PKCS #8, PEM)
    report-root.crl, issuing.crl, tsa-root.crl   DER, signed anew when a third of their life is over
    revoked.json        serial numbers and moments
"""

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from compliance.jobs import clock
from compliance.proof import durable_files
from compliance.reports.authority import certificates
from compliance.reports.authority.certificates import Signer

MARKER = "development.json"
AUTHORITIES = ("report-root", "issuing", "tsa-root")  # those that keep a revocation list
RENEW_LIST_AFTER = certificates.REVOCATION_LIST_LIFE / 3
RENEW_SEAL_BEFORE = timedelta(days=30)  # nobody should meet a seal that expires between two backups


class AuthorityBroken(Exception):
    """The folder holds something that is not what this module wrote."""


@dataclass(frozen=True, slots=True)
class DevelopmentAuthority:
    """The authority that lives in `folder`."""

    folder: Path

    @classmethod
    def open(cls, folder: Path) -> "DevelopmentAuthority":
        """The authority in `folder`, made now if there is none. Lists and seal are renewed when they are due."""
        authority = cls(folder)
        with authority._locked():
            if not authority.exists():
                authority._create()
            authority._renew()
        return authority

    def exists(self) -> bool:
        """True when the folder was made by this module to the end."""
        return (self.folder / MARKER).is_file()

    def signer(self, name: str) -> Signer:
        """Certificate and key of `seal`, `tsa`, `issuing`, `report-root` or `tsa-root`."""
        key = serialization.load_pem_private_key((self.folder / f"{name}.key").read_bytes(), password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise AuthorityBroken(f"{name}.key is not an elliptic curve key")
        return Signer(self.certificate(name), key)

    def certificate(self, name: str) -> x509.Certificate:
        """The certificate called `name`."""
        return x509.load_pem_x509_certificate((self.folder / f"{name}.crt").read_bytes())

    def revocation_lists(self) -> list[bytes]:
        """The revocation lists of all three authorities, DER."""
        return [(self.folder / f"{name}.crl").read_bytes() for name in AUTHORITIES]

    def revoke_seal(self) -> None:
        """Revoke the present seal, from this moment on. `open` makes the next one."""
        with self._locked():
            revoked = self._revoked()
            revoked[self.certificate("seal").serial_number] = clock.now()
            entries = {str(serial): moment.isoformat() for serial, moment in revoked.items()}
            _write(self.folder / "revoked.json", json.dumps(entries, indent=1).encode())
            self._write_lists()

    def seal_is_revoked(self) -> bool:
        """True when the present seal may not be used any more."""
        return self.certificate("seal").serial_number in self._revoked()

    def _create(self) -> None:
        now = clock.now().replace(microsecond=0)
        report_root = certificates.root("Report Root (development)", now=now, path_length=1)
        issuing = certificates.issuing_authority("Report Issuing Authority (development)", report_root, now=now)
        tsa_root = certificates.root("Time Stamp Root (development)", now=now, path_length=0)
        unit = certificates.time_stamping_unit("Time Stamping Unit (development)", tsa_root, now=now)
        for name, signer in (("report-root", report_root), ("issuing", issuing), ("tsa-root", tsa_root), ("tsa", unit)):
            self._store(name, signer)
        self._new_seal()
        self._write_lists()
        _write(self.folder / MARKER, json.dumps({"made_at": now.isoformat()}).encode())

    def _renew(self) -> None:
        now = clock.now()
        expires = self.certificate("seal").not_valid_after_utc
        if self.seal_is_revoked() or expires - now < RENEW_SEAL_BEFORE:
            self._new_seal()
        issued = x509.load_der_x509_crl((self.folder / "issuing.crl").read_bytes()).last_update_utc
        if not timedelta(0) <= now - issued < RENEW_LIST_AFTER:
            self._write_lists()

    def _new_seal(self) -> None:
        now = clock.now().replace(microsecond=0)
        self._store("seal", certificates.seal("Report Seal (development)", self.signer("issuing"), now=now))

    def _write_lists(self) -> None:
        now = clock.now().replace(microsecond=0)
        for name in AUTHORITIES:
            revoked = self._revoked() if name == "issuing" else {}
            # Whole seconds since 1970 never go back while the clock does not: RFC 5280 asks for a growing number.
            listed = certificates.revocation_list(
                self.signer(name), now=now, number=int(now.timestamp()), revoked=revoked
            )
            _write(self.folder / f"{name}.crl", listed.public_bytes(serialization.Encoding.DER))

    def _revoked(self) -> dict[int, datetime]:
        try:
            entries = json.loads((self.folder / "revoked.json").read_bytes())
        except FileNotFoundError:
            return {}
        return {int(serial): datetime.fromisoformat(moment) for serial, moment in entries.items()}

    def _store(self, name: str, signer: Signer) -> None:
        key = signer.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        _write(self.folder / f"{name}.key", key)
        _write(self.folder / f"{name}.crt", signer.certificate.public_bytes(serialization.Encoding.PEM), mode=0o644)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (self.folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _write(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Replace `path` whole or not at all."""
    durable_files.replace(path, data, mode=mode)
