"""X.509 certificates and revocation lists (RFC 5280) of the development authority.

Pure functions over `cryptography` objects: who signs what for how long. Files and policy are `development.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

ROOT_LIFE = timedelta(days=20 * 365)
ISSUING_LIFE = timedelta(days=15 * 365)
SEAL_LIFE = timedelta(days=2 * 365)  # a seal key is used daily, so it is changed early
TIME_STAMP_LIFE = timedelta(
    days=10 * 365
)  # the time stamp outlives the seal: it carries the proof after the seal expired
REVOCATION_LIST_LIFE = timedelta(days=7)  # also how long a stolen, revoked key could still pass with an old list
BACKDATED = timedelta(minutes=5)  # clocks of readers may be a little behind ours
ORGANISATION = "Meterproof development authority"


@dataclass(frozen=True, slots=True)
class Signer:
    """A certificate and the private key that belongs to it."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def root(common_name: str, *, now: datetime, path_length: int) -> Signer:
    """A new self-signed certificate authority."""
    key = _new_key()
    subject = _name(common_name)
    builder = _builder(subject, subject, key, now=now, life=ROOT_LIFE).add_extension(
        x509.BasicConstraints(ca=True, path_length=path_length), critical=True
    )
    return Signer(_authority_usage(builder).sign(key, hashes.SHA256()), key)


def issuing_authority(common_name: str, issuer: Signer, *, now: datetime) -> Signer:
    """A certificate authority below `issuer` that may sign end certificates only."""
    key = _new_key()
    builder = _issued(common_name, key, issuer, now=now, life=ISSUING_LIFE).add_extension(
        x509.BasicConstraints(ca=True, path_length=0), critical=True
    )
    return Signer(_authority_usage(builder).sign(issuer.key, hashes.SHA256()), key)


def seal(common_name: str, issuer: Signer, *, now: datetime) -> Signer:
    """A certificate that seals documents: digital signature and content commitment, nothing else."""
    key = _new_key()
    builder = _end_certificate(common_name, key, issuer, now=now, life=SEAL_LIFE, content_commitment=True)
    return Signer(builder.sign(issuer.key, hashes.SHA256()), key)


def time_stamping_unit(common_name: str, issuer: Signer, *, now: datetime) -> Signer:
    """A certificate for time stamps alone: RFC 3161 section 2.3 wants the one, critical, extended key usage."""
    key = _new_key()
    builder = _end_certificate(common_name, key, issuer, now=now, life=TIME_STAMP_LIFE, content_commitment=False)
    builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), critical=True)
    return Signer(builder.sign(issuer.key, hashes.SHA256()), key)


def revocation_list(
    issuer: Signer, *, now: datetime, number: int, revoked: Mapping[int, datetime]
) -> x509.CertificateRevocationList:
    """The list of `issuer` with the serial numbers in `revoked` and the moments from which they count."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(now - BACKDATED)
        .next_update(now + REVOCATION_LIST_LIFE)
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(_authority_key(issuer), critical=False)
    )
    for serial, moment in sorted(revoked.items()):
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(moment).build()
        builder = builder.add_revoked_certificate(entry)
    return builder.sign(issuer.key, hashes.SHA256())


def _new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, ORGANISATION),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, *, now: datetime, life: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + life)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _issued(
    common_name: str, key: ec.EllipticCurvePrivateKey, issuer: Signer, *, now: datetime, life: timedelta
) -> x509.CertificateBuilder:
    builder = _builder(_name(common_name), issuer.certificate.subject, key, now=now, life=life)
    return builder.add_extension(_authority_key(issuer), critical=False)


def _end_certificate(
    common_name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: Signer,
    *,
    now: datetime,
    life: timedelta,
    content_commitment: bool,
) -> x509.CertificateBuilder:
    return (
        _issued(common_name, key, issuer, now=now, life=life)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(digital_signature=True, content_commitment=content_commitment), critical=True)
    )


def _authority_usage(builder: x509.CertificateBuilder) -> x509.CertificateBuilder:
    return builder.add_extension(_key_usage(key_cert_sign=True, crl_sign=True), critical=True)


def _key_usage(
    *,
    digital_signature: bool = False,
    content_commitment: bool = False,
    key_cert_sign: bool = False,
    crl_sign: bool = False,
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=content_commitment,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )


def _authority_key(issuer: Signer) -> x509.AuthorityKeyIdentifier:
    identifier = issuer.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)
