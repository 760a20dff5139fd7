"""Who seals reports and who stamps the time: the one place that knows whether that is us or somebody outside.

`AUTHORITY_DIR` holds either the development authority (`development.py`, made on first use) or the operator's own seal:
`seal.key`, `seal.crt`, `seal-chain.crt` (issuing authorities), `report-root.crt` (PEM) and `*.crl` (DER), kept fresh by
the operator. TIME_STAMP_AUTHORITIES names outside time stamp authorities; empty means the development unit.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
from asn1crypto import crl as asn1_crl
from asn1crypto import keys as asn1_keys
from asn1crypto import pem as asn1_pem
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from django.conf import settings

from compliance.jobs import clock
from compliance.ledger import anchors
from compliance.reports.authority import development, timestamps
from compliance.reports.authority.development import DevelopmentAuthority
from compliance.reports.authority.timestamps import (
    DevelopmentTimeStamper,
    HttpTimeStamper,
    OutsideAuthority,
    PlainTimeStamper,
)

REPORT_ROOT = "report-root.crt"  # names in the trust folder, ledger format section 2.8
TIME_STAMP_ROOT = "tsa-root.crt"
REPORT_SEAL = "report-seal.crt"


LONGEST_WAIT_SECONDS = 5.0  # for a checkpoint: the worker publishes nothing meanwhile; a report may wait longer


class AuthorityMissing(Exception):
    """There is nothing here that may seal: no own material, and the development authority is forbidden."""


class TimeStampUnavailable(Exception):
    """No time stamp authority answered. The report waits; it is never sealed without a time stamp."""


@dataclass(frozen=True, slots=True)
class SealMaterial:
    """What sealing needs: certificate, key, the way to the root, and what tells that nothing on it was revoked."""

    certificate: asn1_x509.Certificate
    key: asn1_keys.PrivateKeyInfo
    chain: tuple[asn1_x509.Certificate, ...]
    report_roots: tuple[asn1_x509.Certificate, ...]
    time_stamp_roots: tuple[asn1_x509.Certificate, ...]
    revocation_lists: tuple[asn1_crl.CertificateList, ...]
    is_development: bool


def seal_material() -> SealMaterial:
    """What reports are sealed with. Raises AuthorityMissing."""
    own = _own_folder()
    authority = None if own else _development()
    folder: Path = own or settings.METERPROOF["AUTHORITY_DIR"]
    key = serialization.load_pem_private_key((folder / "seal.key").read_bytes(), password=None)
    key_info = key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    chain_file = "seal-chain.crt" if own else "issuing.crt"
    lists = authority.revocation_lists() if authority else [path.read_bytes() for path in sorted(folder.glob("*.crl"))]
    if own and _stamps_itself():
        lists += _development().revocation_lists()
    return SealMaterial(
        certificate=_certificates(folder / "seal.crt")[0],
        key=asn1_keys.PrivateKeyInfo.load(key_info),
        chain=_certificates(folder / chain_file),
        report_roots=_certificates(folder / REPORT_ROOT),
        time_stamp_roots=_time_stamp_roots(),
        revocation_lists=tuple(asn1_crl.CertificateList.load(data) for data in lists),
        is_development=authority is not None,
    )


def time_stamper() -> PlainTimeStamper:
    """The first time stamp authority that answers, by name. Raises TimeStampUnavailable, AuthorityMissing."""
    if _stamps_itself():
        return DevelopmentTimeStamper(_development().signer("tsa"))
    failures = []
    for entry in _outside():
        stamper = HttpTimeStamper(entry)
        try:
            asyncio.run(stamper.async_dummy_response("sha256"))
        except (httpx.HTTPError, timestamps.TimeStampRefused, OSError) as error:
            failures.append(f"{entry.url}: {error}")
        else:
            return stamper
    raise TimeStampUnavailable("; ".join(failures))


def time_stamp(data: bytes) -> bytes:
    """An RFC 3161 response over `data`, DER. Raises TimeStampUnavailable, AuthorityMissing."""
    stamper = time_stamper()
    try:
        response = asyncio.run(stamper.async_request_tsa_response(timestamps.request_for(data)))
    except (httpx.HTTPError, timestamps.TimeStampRefused, OSError) as error:
        raise TimeStampUnavailable(str(error)) from error
    return bytes(response.dump())


def stamp_checkpoint(data: bytes) -> bytes:
    """An RFC 3161 response over `data` by the first authority that gives one. Raises anchors.AuthorityAway."""
    if _stamps_itself():
        if not settings.METERPROOF["ALLOW_DEVELOPMENT_AUTHORITY"]:
            raise anchors.NoAuthority("no time stamp authority is set (METERPROOF_TIME_STAMP_AUTHORITIES)")
        unit = _development().signer("tsa")
        publish_time_stamp_roots()
        return bytes(timestamps.answer(timestamps.request_for(data), unit=unit, moment=clock.now()).dump())
    failures = []
    for entry in _outside():
        brief = replace(entry, timeout=min(entry.timeout, LONGEST_WAIT_SECONDS))
        try:
            response = asyncio.run(HttpTimeStamper(brief).async_request_tsa_response(timestamps.request_for(data)))
            publish_time_stamp_roots()
            return bytes(response.dump())
        except (httpx.HTTPError, timestamps.TimeStampRefused, OSError) as error:
            failures.append(f"{entry.url}: {error or type(error).__name__}")
    raise anchors.AuthorityAway("; ".join(failures))


def checkpoint_roots() -> tuple[x509.Certificate, ...]:
    """The roots of the authorities of today. Raises anchors.AuthorityAway when they cannot be read."""
    try:
        return tuple(x509.load_der_x509_certificate(found.dump()) for found in _time_stamp_roots())
    except (AuthorityMissing, OSError, ValueError) as error:
        raise anchors.AuthorityAway(f"the roots of the time stamp authority cannot be read: {error}") from error


def publish_time_stamp_roots() -> None:
    """Write the time stamp authorities' roots into the trust folder, beside those that are there already."""
    trust: Path = settings.METERPROOF["TRUST_DIR"]
    trust.mkdir(parents=True, exist_ok=True)
    _add_certificates(trust / TIME_STAMP_ROOT, _time_stamp_roots())


def may_fetch() -> bool:
    """True when outside time stamp authorities are used: their revocation status comes over the network."""
    return not _stamps_itself()


def publish_roots() -> None:
    """Write the roots and the seal that readers need into the trust folder, beside those that are there already."""
    trust: Path = settings.METERPROOF["TRUST_DIR"]
    material = seal_material()
    trust.mkdir(parents=True, exist_ok=True)
    _add_certificates(trust / REPORT_ROOT, material.report_roots)
    _add_certificates(trust / REPORT_SEAL, (material.certificate,))
    _add_certificates(trust / TIME_STAMP_ROOT, material.time_stamp_roots)


def status() -> Iterator[str]:
    """Sentences for an operator: who seals, until when, who stamps. Raises AuthorityMissing."""
    material = seal_material()
    kind = "development authority (this platform vouches for itself)" if material.is_development else "operator's own"
    validity = material.certificate["tbs_certificate"]["validity"]["not_after"].native
    yield f"seal            {material.certificate.subject.human_friendly}"
    yield f"                {kind}, valid until {validity:%Y-%m-%d}"
    for certificate in material.report_roots:
        yield f"report root     {certificate.sha256.hex()}  {certificate.subject.human_friendly}"
    for certificate in material.time_stamp_roots:
        yield f"time stamp root {certificate.sha256.hex()}  {certificate.subject.human_friendly}"
    for listed in material.revocation_lists:
        until = listed["tbs_cert_list"]["next_update"].native
        yield f"revocation list {listed.issuer.human_friendly}, valid until {until:%Y-%m-%d %H:%M} UTC"
    stampers = [entry.url for entry in _outside()] or [DevelopmentTimeStamper.name]
    yield from (f"time stamps     {name}" for name in stampers)


def _development() -> DevelopmentAuthority:
    if not settings.METERPROOF["ALLOW_DEVELOPMENT_AUTHORITY"]:
        raise AuthorityMissing(
            "The development authority is not allowed here (ALLOW_DEVELOPMENT_AUTHORITY). Put seal.key, seal.crt, "
            "seal-chain.crt, report-root.crt and revocation lists into AUTHORITY_DIR and set TIME_STAMP_AUTHORITIES."
        )
    folder: Path = settings.METERPROOF["AUTHORITY_DIR"]
    return DevelopmentAuthority.open(folder / "development" if _own_folder() else folder)


def _own_folder() -> Path | None:
    folder: Path = settings.METERPROOF["AUTHORITY_DIR"]
    has_own = (folder / "seal-chain.crt").is_file() and not (folder / development.MARKER).exists()
    return folder if has_own else None


def _stamps_itself() -> bool:
    return not settings.METERPROOF["TIME_STAMP_AUTHORITIES"]


def _outside() -> list[OutsideAuthority]:
    return [OutsideAuthority(**entry) for entry in settings.METERPROOF["TIME_STAMP_AUTHORITIES"]]


def _time_stamp_roots() -> tuple[asn1_x509.Certificate, ...]:
    if _stamps_itself():
        return _certificates(_development().folder / "tsa-root.crt")
    return tuple(certificate for entry in _outside() for certificate in _certificates(Path(entry.root)))


def _certificates(path: Path) -> tuple[asn1_x509.Certificate, ...]:
    blocks = asn1_pem.unarmor(path.read_bytes(), multiple=True)
    return tuple(asn1_x509.Certificate.load(der, strict=True) for _, _, der in blocks)


def _add_certificates(path: Path, certificates: tuple[asn1_x509.Certificate, ...]) -> None:
    present = _certificates(path) if path.exists() else ()
    known = {certificate.sha256 for certificate in present}
    missing = [certificate for certificate in certificates if certificate.sha256 not in known]
    if missing:
        armored = [asn1_pem.armor("CERTIFICATE", certificate.dump()) for certificate in (*present, *missing)]
        draft = path.with_name(path.name + ".new")
        draft.write_bytes(b"".join(armored))
        draft.replace(path)
