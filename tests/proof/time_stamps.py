"""A time stamp authority of our own for the tests: certificates and RFC 3161 responses, right or wrong on purpose."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from asn1crypto import algos, cms, tsp
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NOW = datetime(2026, 5, 4, 6, 30, tzinfo=UTC)
DER = serialization.Encoding.DER
PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


@dataclass
class Authority:
    """A root and a time stamping certificate under it, with those between them."""

    root: x509.Certificate
    certificate: x509.Certificate
    key: PrivateKey
    between: tuple[x509.Certificate, ...] = ()


def authority(
    *,
    rsa_key: bool = False,
    purpose: Any = ExtendedKeyUsageOID.TIME_STAMPING,
    critical: bool = True,
    ca: bool = True,
    until: datetime = NOW + timedelta(days=365),
    key: PrivateKey | None = None,
    between: int = 0,
    path_length: int | None = None,
    signs_certificates: bool | None = None,
) -> Authority:
    """An authority; the arguments make one that nobody should believe. The last two are of the root."""
    root_key = ec.generate_private_key(ec.SECP256R1())
    if key is None:
        key = rsa.generate_private_key(65_537, 2_048) if rsa_key else ec.generate_private_key(ec.SECP256R1())
    root_name, name = _name("Test root"), _name("Test time stamps")
    constraints = x509.BasicConstraints(ca=ca, path_length=path_length)
    root = _builder(root_name, root_name, root_key, NOW + timedelta(days=3_650)).add_extension(
        constraints, critical=True
    )
    if signs_certificates is not None:
        root = root.add_extension(_usage(certificates=signs_certificates), critical=True)
    issuer, issuer_key, chain = root_name, root_key, []
    for number in range(between):
        middle, middle_key = _name(f"Test middle {number}"), ec.generate_private_key(ec.SECP256R1())
        builder = _builder(middle, issuer, middle_key, NOW + timedelta(days=3_650))
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        chain.append(builder.sign(issuer_key, hashes.SHA256()))
        issuer, issuer_key = middle, middle_key
    leaf = _builder(name, issuer, key, until).add_extension(x509.ExtendedKeyUsage([purpose]), critical=critical)
    leaf = leaf.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    signed = leaf.sign(issuer_key, hashes.SHA256())
    return Authority(root.sign(root_key, hashes.SHA256()), signed, key, tuple(chain))


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
    by_key: bool = False,
    old_attribute: bool = False,
    signature: bytes | None = None,
    content_type: str = "tst_info",
    signers: int = 1,
) -> bytes:
    """The response of `by` for `data`; the signer is named by its key identifier if `by_key`."""
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
        {"type": "content_type", "values": [content_type]},
        {"type": "message_digest", "values": [hashlib.sha256(content).digest()]},
    ]
    if old_attribute:
        sha1 = hashlib.sha1((named or by.certificate).public_bytes(DER), usedforsecurity=False).digest()
        signed.append(
            {"type": "signing_certificate", "values": [tsp.SigningCertificate({"certs": [{"cert_hash": sha1}]})]}
        )
    elif attributes:
        signed.append({"type": "signing_certificate_v2", "values": [tsp.SigningCertificateV2({"certs": [ess]})]})
    signed_attributes = cms.CMSAttributes(signed)
    made, algorithm = _sign(by.key, signed_attributes.dump(), pss=pss)
    signer = cms.SignerInfo(
        {
            "version": "v1",
            "sid": cms.SignerIdentifier(_named_signer(certificate, by_key=by_key)),
            "digest_algorithm": {"algorithm": "sha256"},
            "signed_attrs": signed_attributes,
            "signature_algorithm": algorithm,
            "signature": made if signature is None else signature,
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
                    "certificates": [asn1_x509.Certificate.load(each.public_bytes(DER)) for each in by.between]
                    + [certificate] * with_certificate,
                    "signer_infos": [signer] * signers,
                }
            ),
        }
    )
    if bare:
        return bytes(token.dump())
    return bytes(tsp.TimeStampResp({"status": {"status": status}, "time_stamp_token": token}).dump())


def _named_signer(certificate: asn1_x509.Certificate, *, by_key: bool) -> dict[str, Any]:
    if by_key:
        return {"subject_key_identifier": certificate.key_identifier}
    return {"issuer_and_serial_number": {"issuer": certificate.issuer, "serial_number": certificate.serial_number}}


def _usage(*, certificates: bool) -> x509.KeyUsage:
    others = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "crl_sign")
    none = dict.fromkeys((*others, "encipher_only", "decipher_only"), False)
    return x509.KeyUsage(digital_signature=not certificates, key_cert_sign=certificates, **none)


def _sign(key: PrivateKey, message: bytes, *, pss: bool) -> tuple[bytes, algos.SignedDigestAlgorithm]:
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key.sign(message, ec.ECDSA(hashes.SHA256())), algos.SignedDigestAlgorithm({"algorithm": "sha256_ecdsa"})
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(message), algos.SignedDigestAlgorithm({"algorithm": "ed25519"})
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
