"""A time stamp authority of our own for the tests: certificates and RFC 3161 responses, right or wrong on purpose."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from asn1crypto import algos, cms, tsp
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NOW = datetime(2026, 5, 4, 6, 30, tzinfo=UTC)
DER = serialization.Encoding.DER
PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass
class Authority:
    """A root and a time stamping certificate under it."""

    root: x509.Certificate
    certificate: x509.Certificate
    key: PrivateKey


def authority(
    *,
    rsa_key: bool = False,
    purpose: Any = ExtendedKeyUsageOID.TIME_STAMPING,
    critical: bool = True,
    ca: bool = True,
    until: datetime = NOW + timedelta(days=365),
) -> Authority:
    """An authority; the arguments make one that nobody should believe."""
    root_key = ec.generate_private_key(ec.SECP256R1())
    key: PrivateKey = rsa.generate_private_key(65_537, 2_048) if rsa_key else ec.generate_private_key(ec.SECP256R1())
    root_name, name = _name("Test root"), _name("Test time stamps")
    constraints = x509.BasicConstraints(ca=ca, path_length=None)
    root = _builder(root_name, root_name, root_key, NOW + timedelta(days=3_650)).add_extension(
        constraints, critical=True
    )
    leaf = _builder(name, root_name, key, until).add_extension(x509.ExtendedKeyUsage([purpose]), critical=critical)
    return Authority(root.sign(root_key, hashes.SHA256()), leaf.sign(root_key, hashes.SHA256()), key)


def respond(
    by: Authority,
    data: bytes,
    *,
    status: str = "granted",
    digest: str = "sha256",
    named: x509.Certificate | None = None,
    attributes: bool = True,
    pss: bool = False,
    bare: bool = False,
    with_certificate: bool = True,
) -> bytes:
    """The response of `by` for `data`."""
    certificate = asn1_x509.Certificate.load(by.certificate.public_bytes(DER))
    info = tsp.TSTInfo(
        {
            "version": "v1",
            "policy": "1.2.3.4.1",
            "message_imprint": {
                "hash_algorithm": {"algorithm": digest},
                "hashed_message": hashlib.new(digest, data).digest(),
            },
            "serial_number": 1,
            "gen_time": NOW,
        }
    )
    content = info.dump()
    ess = tsp.ESSCertIDv2({"cert_hash": hashlib.sha256((named or by.certificate).public_bytes(DER)).digest()})
    signed = [
        {"type": "content_type", "values": ["tst_info"]},
        {"type": "message_digest", "values": [hashlib.sha256(content).digest()]},
    ]
    if attributes:
        signed.append({"type": "signing_certificate_v2", "values": [tsp.SigningCertificateV2({"certs": [ess]})]})
    signed_attributes = cms.CMSAttributes(signed)
    signature, algorithm = _sign(by.key, signed_attributes.dump(), pss=pss)
    signer = cms.SignerInfo(
        {
            "version": "v1",
            "sid": cms.SignerIdentifier(
                {
                    "issuer_and_serial_number": {
                        "issuer": certificate.issuer,
                        "serial_number": certificate.serial_number,
                    }
                }
            ),
            "digest_algorithm": {"algorithm": "sha256"},
            "signed_attrs": signed_attributes,
            "signature_algorithm": algorithm,
            "signature": signature,
        }
    )
    token = cms.ContentInfo(
        {
            "content_type": "signed_data",
            "content": cms.SignedData(
                {
                    "version": "v3",
                    "digest_algorithms": [{"algorithm": "sha256"}],
                    "encap_content_info": {"content_type": "tst_info", "content": cms.ParsableOctetString(content)},
                    "certificates": [certificate] if with_certificate else [],
                    "signer_infos": [signer],
                }
            ),
        }
    )
    if bare:
        return bytes(token.dump())
    return bytes(tsp.TimeStampResp({"status": {"status": status}, "time_stamp_token": token}).dump())


def _sign(key: PrivateKey, message: bytes, *, pss: bool) -> tuple[bytes, algos.SignedDigestAlgorithm]:
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key.sign(message, ec.ECDSA(hashes.SHA256())), algos.SignedDigestAlgorithm({"algorithm": "sha256_ecdsa"})
    if pss:
        scheme = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=32)
        parameters = {
            "hash_algorithm": {"algorithm": "sha256"},
            "mask_gen_algorithm": {"algorithm": "mgf1", "parameters": {"algorithm": "sha256"}},
            "salt_length": 32,
        }
        named = algos.SignedDigestAlgorithm({"algorithm": "rsassa_pss", "parameters": parameters})
        return key.sign(message, scheme, hashes.SHA256()), named
    return (
        key.sign(message, padding.PKCS1v15(), hashes.SHA256()),
        algos.SignedDigestAlgorithm({"algorithm": "rsassa_pkcs1v15"}),
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(subject: x509.Name, issuer: x509.Name, key: PrivateKey, until: datetime) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
    start = min(NOW, until) - timedelta(days=1)
    return builder.serial_number(x509.random_serial_number()).not_valid_before(start).not_valid_after(until)
