"""Time stamps (RFC 3161, ESSCertIDv2 of RFC 5816): the development unit, and outside authorities over HTTP.

`DevelopmentTimeStamper` answers a request in this process, so that no network is needed and a test can set the clock.
It is an ordinary authority otherwise: `openssl ts -verify` accepts its answers.
"""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import httpx
from asn1crypto import algos, cms, core, tsp
from asn1crypto import x509 as asn1_x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pyhanko.sign.general import as_signing_certificate_v2, simple_cms_attribute
from pyhanko.sign.timestamps import TimeStamper

from compliance.jobs import clock
from compliance.reports.authority.certificates import Signer
from compliance.reports.authority.unchanging import unchanging

DEVELOPMENT_POLICY = "2.25.87639519393538746231917035682865566241"  # an OID of our own (ITU-T X.667: from a UUID)
DIGESTS: Final = {"sha256": 32, "sha384": 48, "sha512": 64}
ACCURACY_SECONDS = 1
MAX_RESPONSE_BYTES = 256 * 1024  # tokens with whole certificate chains stay below 20 KiB
DEFAULT_TIMEOUT_SECONDS = 10.0


class TimeStampRefused(Exception):
    """The authority answered, but not with a token that fits the request."""


@dataclass(frozen=True, slots=True)
class OutsideAuthority:
    """One entry of the setting TIME_STAMP_AUTHORITIES."""

    url: str
    root: str  # path of its root certificates, PEM
    policy: str | None = None  # OID the token must name
    timeout: float = DEFAULT_TIMEOUT_SECONDS


class Response(tsp.TimeStampResp):
    """A response that may lack the token, as a rejection does (RFC 3161 section 2.4.2)."""

    _fields = [("status", tsp.PKIStatusInfo), ("time_stamp_token", cms.ContentInfo, {"optional": True})]


class PlainTimeStamper(TimeStamper):
    """A client whose tokens keep their encoding."""

    name: str

    async def async_timestamp(self, message_digest: bytes, md_algorithm: str) -> cms.ContentInfo:
        """A token over `message_digest`."""
        return unchanging(await super().async_timestamp(message_digest, md_algorithm))


class DevelopmentTimeStamper(PlainTimeStamper):
    """The development authority's time stamping unit."""

    name = "development authority of this platform"

    def __init__(self, unit: Signer) -> None:
        super().__init__()
        self._unit = unit

    async def async_request_tsa_response(self, req: tsp.TimeStampReq) -> tsp.TimeStampResp:
        """Answer `req` as RFC 3161 section 2.4.2 says."""
        return answer(req, unit=self._unit, moment=clock.now())


class HttpTimeStamper(PlainTimeStamper):
    """An outside authority (RFC 3161 section 3.4), with bounded answers and no redirects."""

    def __init__(self, authority: OutsideAuthority) -> None:
        super().__init__()
        self._authority = authority
        self.name = authority.url

    async def async_request_tsa_response(self, req: tsp.TimeStampReq) -> tsp.TimeStampResp:
        """Send `req` and return the answer. Raises httpx.HTTPError or TimeStampRefused."""
        if self._authority.policy:
            req["req_policy"] = self._authority.policy
        headers = {"Content-Type": "application/timestamp-query", "Accept": "application/timestamp-reply"}
        received = bytearray()
        async with (
            httpx.AsyncClient(timeout=self._authority.timeout, follow_redirects=False, trust_env=False) as client,
            client.stream("POST", self._authority.url, content=req.dump(), headers=headers) as response,
        ):
            response.raise_for_status()
            if response.headers.get("Content-Type", "").split(";")[0].strip() != "application/timestamp-reply":
                raise TimeStampRefused(f"{self.name} did not answer with a time stamp")
            async for part in response.aiter_bytes():
                received += part
                if len(received) > MAX_RESPONSE_BYTES:
                    raise TimeStampRefused(f"{self.name} answered with more than {MAX_RESPONSE_BYTES} bytes")
        return self._checked(req, bytes(received))

    def _checked(self, request: tsp.TimeStampReq, received: bytes) -> tsp.TimeStampResp:
        try:
            response = Response.load(received, strict=True)
            if response["status"]["status"].native not in {"granted", "granted_with_mods"}:
                raise TimeStampRefused(f"{self.name} refused: {_reasons(response)}")
            stamp = response["time_stamp_token"]["content"]["encap_content_info"]["content"].parsed
            same = stamp["message_imprint"].dump() == request["message_imprint"].dump()
            policy = stamp["policy"].native
            nonce = stamp["nonce"].native
        except (ValueError, KeyError, TypeError) as error:
            raise TimeStampRefused(f"{self.name} answered with something unreadable") from error
        if not same:
            raise TimeStampRefused(f"{self.name} stamped other data")
        if nonce != request["nonce"].native:
            raise TimeStampRefused(f"{self.name} answered another request: its nonce is not the one that was sent")
        if self._authority.policy and policy != self._authority.policy:
            raise TimeStampRefused(f"{self.name} stamped under the policy {policy}")
        return response


def request_for(data: bytes) -> tsp.TimeStampReq:
    """A request for a SHA-256 time stamp over `data`, with a nonce, asking for the certificate."""
    return tsp.TimeStampReq(
        {
            "version": 1,
            "message_imprint": {
                "hash_algorithm": {"algorithm": "sha256"},
                "hashed_message": hashlib.sha256(data).digest(),
            },
            "nonce": secrets.randbits(63),
            "cert_req": True,
        }
    )


def answer(request: tsp.TimeStampReq, *, unit: Signer, moment: datetime) -> tsp.TimeStampResp:
    """The response of `unit` to `request` at `moment`: granted with a token, or rejected with a reason."""
    imprint = request["message_imprint"]
    algorithm = imprint["hash_algorithm"]["algorithm"].native
    if DIGESTS.get(algorithm) != len(imprint["hashed_message"].native):
        return _rejection("bad_alg", "only SHA-256, SHA-384 and SHA-512 are stamped")
    if request["req_policy"].native not in {None, DEVELOPMENT_POLICY}:
        return _rejection("unaccepted_policy", f"the only policy here is {DEVELOPMENT_POLICY}")
    if request["extensions"].native:
        return _rejection("unaccepted_extensions", "no extension is understood here")
    certificate = _as_asn1(unit)
    info = _stamp_info(request, certificate, moment.replace(microsecond=0))
    signed = _signed(info, unit, certificate, with_certificate=bool(request["cert_req"].native))
    token = unchanging(cms.ContentInfo({"content_type": "signed_data", "content": signed}))
    return Response({"status": {"status": "granted"}, "time_stamp_token": token})


def _reasons(response: tsp.TimeStampResp) -> str:
    told = response["status"]
    return "; ".join(
        [told["status"].native, *sorted(told["fail_info"].native or ()), *(told["status_string"].native or ())]
    )


def _stamp_info(request: tsp.TimeStampReq, certificate: asn1_x509.Certificate, moment: datetime) -> tsp.TSTInfo:
    info = tsp.TSTInfo(
        {
            "version": "v1",
            "policy": DEVELOPMENT_POLICY,
            "message_imprint": request["message_imprint"],
            "serial_number": secrets.randbits(127) | 1 << 126,
            "gen_time": moment,
            "accuracy": {"seconds": ACCURACY_SECONDS},
            "tsa": asn1_x509.GeneralName(name="directory_name", value=certificate.subject),
        }
    )
    if request["nonce"].native is not None:
        info["nonce"] = request["nonce"]
    return info


def _signed(
    info: tsp.TSTInfo, unit: Signer, certificate: asn1_x509.Certificate, *, with_certificate: bool
) -> cms.SignedData:
    content = info.dump()
    signed = cms.CMSAttributes(
        [
            simple_cms_attribute("content_type", "tst_info"),
            simple_cms_attribute("signing_time", cms.Time({"utc_time": core.UTCTime(info["gen_time"].native)})),
            simple_cms_attribute("signing_certificate_v2", as_signing_certificate_v2(certificate)),
            simple_cms_attribute("message_digest", hashlib.sha256(content).digest()),
        ]
    )
    digest = algos.DigestAlgorithm({"algorithm": "sha256"})
    signer = cms.SignerInfo(
        {
            "version": "v1",
            "sid": cms.SignerIdentifier(
                name="issuer_and_serial_number",
                value=cms.IssuerAndSerialNumber(
                    {"issuer": certificate.issuer, "serial_number": certificate.serial_number}
                ),
            ),
            "digest_algorithm": digest,
            "signed_attrs": signed,
            "signature_algorithm": {"algorithm": "sha256_ecdsa"},
            "signature": unit.key.sign(signed.dump(), ec.ECDSA(hashes.SHA256())),
        }
    )
    values = {
        "version": "v3",
        "digest_algorithms": [digest],
        "encap_content_info": {"content_type": "tst_info", "content": cms.ParsableOctetString(content)},
        "signer_infos": [signer],
    }
    if with_certificate:
        values["certificates"] = [certificate]
    return cms.SignedData(values)


def _rejection(reason: str, sentence: str) -> tsp.TimeStampResp:
    return Response({"status": {"status": "rejection", "status_string": [sentence], "fail_info": {reason}}})


def _as_asn1(unit: Signer) -> asn1_x509.Certificate:
    return asn1_x509.Certificate.load(unit.certificate.public_bytes(serialization.Encoding.DER))
