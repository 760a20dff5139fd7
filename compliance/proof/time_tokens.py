"""RFC 3161 time stamp tokens over the exact bytes of a checkpoint.

A token says that an authority saw these bytes at a time. It is checked against the relying party's own roots
(`tsa-root.crt`): imprint, the CMS signature of RFC 5652 with its signed attributes, the signer's certificate as
RFC 3161 and RFC 5816 name it, its purpose, and its chain at the stated time. Revocation is not asked for: no network.
Needs `asn1crypto`, which pyHanko brings; without it a token stays unchecked, and that is said.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from compliance.proof.errors import ProofError

MAX_TOKEN_BYTES: Final = 256 * 1024
MAX_CHAIN: Final = 6
MAX_CERTIFICATES: Final = 16  # in a token: a chain and a cross certificate or two need half of it
_HASHES: Final = {
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
    "sha3_256": hashes.SHA3_256(),
    "sha3_384": hashes.SHA3_384(),
    "sha3_512": hashes.SHA3_512(),
}
_GRANTED: Final = ("granted", "granted_with_mods")


@dataclass(frozen=True, slots=True)
class TimeStamp:
    """What a good token states."""

    time: datetime
    authority: str


def can_check() -> bool:
    """Whether the ASN.1 library is there."""
    try:
        import asn1crypto.tsp  # noqa: F401
    except ImportError:
        return False
    return True


def verify_token(
    token: bytes, data: bytes, *, roots: Sequence[x509.Certificate], place: str = "time token"
) -> TimeStamp:
    """What `token`, a time stamp response or a bare token in DER, states about `data`. Raises `time.token`."""
    if len(token) > MAX_TOKEN_BYTES:
        raise ProofError("time.token", f"a token of {len(token)} bytes", place=place)
    try:
        return _verify(token, data, roots)
    except ProofError as error:
        raise error.within(place) from None
    except (ValueError, TypeError, KeyError, AttributeError, IndexError, OverflowError, RecursionError) as error:
        raise ProofError("time.token", f"not a token that can be read ({type(error).__name__})", place=place) from None


def _verify(token: bytes, data: bytes, roots: Sequence[x509.Certificate]) -> TimeStamp:
    signed = _signed_data(token)
    content = signed["encap_content_info"]
    if content["content_type"].native != "tst_info":
        raise ProofError("time.token", "the content is no time stamp information")
    info = content["content"].parsed
    imprint = info["message_imprint"]
    algorithm = imprint["hash_algorithm"]["algorithm"].native
    if _digest(algorithm, data) != imprint["hashed_message"].native:
        raise ProofError("time.token", "the token is over other bytes")
    signers = signed["signer_infos"]
    if len(signers) != 1:
        raise ProofError("time.token", f"{len(signers)} signers instead of one")
    certificates = _certificates(signed)
    if len(certificates) > MAX_CERTIFICATES:
        raise ProofError("time.token", f"{len(certificates)} certificates in the token")
    signer = _signer_of(signers[0], [*certificates, *roots])
    _verify_signature(signers[0], content["content"].contents, signer)
    moment: datetime = info["gen_time"].native
    _require_purpose(signer)
    _require_chain(signer, certificates, roots, moment.astimezone(UTC))
    return TimeStamp(moment.astimezone(UTC), signer.subject.rfc4514_string())


def _certificates(signed: Any) -> list[x509.Certificate]:
    try:
        return [
            x509.load_der_x509_certificate(choice.chosen.dump())
            for choice in signed["certificates"]
            if choice.name == "certificate"
        ]
    except x509.InvalidVersion:
        raise ProofError("time.token", "a certificate of an unknown version") from None


def _signed_data(token: bytes) -> Any:
    from asn1crypto import cms, tsp

    try:
        response = tsp.TimeStampResp.load(token, strict=True)
        if response["status"]["status"].native not in _GRANTED:
            raise ProofError("time.token", f"the authority answered {response['status']['status'].native}")
        info = response["time_stamp_token"]
    except ValueError:
        info = cms.ContentInfo.load(token, strict=True)
    if info["content_type"].native != "signed_data":
        raise ProofError("time.token", "not CMS signed data")
    return info["content"]


def _signer_of(signer: Any, certificates: Sequence[x509.Certificate]) -> x509.Certificate:
    identifier = signer["sid"]
    for certificate in certificates:
        if identifier.name == "issuer_and_serial_number":
            chosen = identifier.chosen
            if (
                certificate.serial_number == chosen["serial_number"].native
                and certificate.issuer.public_bytes() == chosen["issuer"].dump()
            ):
                return certificate
        elif _key_identifier(certificate) == identifier.chosen.native:
            return certificate
    raise ProofError("time.token", "the signer's certificate is not there")


def _verify_signature(signer: Any, content: bytes, certificate: x509.Certificate) -> None:
    attributes = {attribute["type"].native: attribute["values"] for attribute in signer["signed_attrs"]}
    digest_name = signer["digest_algorithm"]["algorithm"].native
    if attributes["content_type"][0].native != "tst_info":
        raise ProofError("time.token", "the signed attributes name another content")
    if attributes["message_digest"][0].native != _digest(digest_name, content):
        raise ProofError("time.token", "the signed digest is not that of the time stamp information")
    _require_named(attributes, certificate)
    message = b"\x31" + signer["signed_attrs"].dump()[1:]  # signed as SET OF, carried as [0]
    algorithm = signer["signature_algorithm"]
    signature = signer["signature"].native
    key = certificate.public_key()
    try:
        if isinstance(key, rsa.RSAPublicKey):
            _verify_rsa(key, algorithm, digest_name, signature, message)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            chosen = algorithm.hash_algo if algorithm["algorithm"].native != "ecdsa" else digest_name
            key.verify(signature, message, ec.ECDSA(_HASHES[chosen]))
        elif isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(signature, message)
        else:
            raise ProofError("time.token", "the signer's key is of an unknown kind")
    except (InvalidSignature, UnsupportedAlgorithm):
        raise ProofError("time.token", "the signature does not verify") from None


def _verify_rsa(key: rsa.RSAPublicKey, algorithm: Any, digest_name: str, signature: bytes, message: bytes) -> None:
    if algorithm.signature_algo == "rsassa_pss":
        parameters = algorithm["parameters"]
        chosen = _HASHES[parameters["hash_algorithm"]["algorithm"].native]
        masked = _HASHES[parameters["mask_gen_algorithm"]["parameters"]["algorithm"].native]
        pss = padding.PSS(mgf=padding.MGF1(masked), salt_length=parameters["salt_length"].native)
        key.verify(signature, message, pss, chosen)
        return
    name = digest_name if algorithm["algorithm"].native == "rsassa_pkcs1v15" else algorithm.hash_algo
    key.verify(signature, message, padding.PKCS1v15(), _HASHES[name])


def _require_named(attributes: Any, certificate: x509.Certificate) -> None:
    """The signed attribute that ties the certificate to the signature (RFC 2634, RFC 5816)."""
    der = certificate.public_bytes(serialization.Encoding.DER)
    if "signing_certificate_v2" in attributes:
        named = attributes["signing_certificate_v2"][0]["certs"][0]
        algorithm = named["hash_algorithm"]["algorithm"].native
        same = named["cert_hash"].native == _digest(algorithm, der)
    elif "signing_certificate" in attributes:
        named = attributes["signing_certificate"][0]["certs"][0]
        same = named["cert_hash"].native == hashlib.sha1(der, usedforsecurity=False).digest()
    else:
        raise ProofError("time.token", "no signed attribute names the certificate")
    if not same:
        raise ProofError("time.token", "the signed attributes name another certificate")


def _require_purpose(certificate: x509.Certificate) -> None:
    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    except x509.ExtensionNotFound:
        usage = None
    if usage is None or not usage.critical or list(usage.value) != [ExtendedKeyUsageOID.TIME_STAMPING]:
        raise ProofError("time.token", "the certificate is not for time stamping alone")


def _require_chain(
    signer: x509.Certificate, between: Sequence[x509.Certificate], roots: Sequence[x509.Certificate], moment: datetime
) -> None:
    """Raise ProofError unless `signer` leads to one of `roots`, each certificate on the way valid at `moment`."""
    todo = [(signer, 0)]
    seen: set[tuple[x509.Certificate, int]] = set()
    while todo:
        current, depth = todo.pop()
        if (current, depth) in seen:
            continue
        seen.add((current, depth))
        if not current.not_valid_before_utc <= moment <= current.not_valid_after_utc:
            continue
        if current in roots:
            return
        if depth < MAX_CHAIN:
            todo += [(issuer, depth + 1) for issuer in (*roots, *between) if _issued(issuer, current, depth)]
    raise ProofError("time.token", "no way from the signer's certificate to a root you trust, valid at that time")


def _issued(issuer: x509.Certificate, certificate: x509.Certificate, below: int) -> bool:
    if issuer == certificate:
        return False
    try:
        constraints = issuer.extensions.get_extension_for_class(x509.BasicConstraints).value
        if not constraints.ca or (constraints.path_length is not None and constraints.path_length < below):
            return False
        try:
            if not issuer.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign:
                return False
        except x509.ExtensionNotFound:
            pass
        certificate.verify_directly_issued_by(issuer)
    except (x509.ExtensionNotFound, InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
        return False
    return True


def _key_identifier(certificate: x509.Certificate) -> bytes | None:
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    except x509.ExtensionNotFound:
        return None


def _digest(name: str, data: bytes) -> bytes:
    if name not in _HASHES:
        raise ProofError("time.token", f"the hash {name} is not accepted")
    return hashlib.new(name, data).digest()
