"""The seal: a certifying PAdES-B-LTA signature (ETSI EN 319 142-1) in the field that the page keeps for it.

Before it signs, the seal's own certificate is checked against its revocation list: signature libraries do that only
from level LT on. Nothing below B-LTA is ever made: without a time stamp there is no seal.
"""

import asyncio
import logging
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from typing import Any

import httpx
from asn1crypto import cms
from asn1crypto import x509 as asn1_x509
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.pdf_utils.writer import BasePdfFileWriter
from pyhanko.sign import signers
from pyhanko.sign.fields import MDPPerm, SigSeedSubFilter
from pyhanko.sign.general import SigningError
from pyhanko.sign.signers.pdf_signer import PdfSignatureMetadata, PdfSigner, PdfSigningSession
from pyhanko_certvalidator import CertificateValidator, ValidationContext
from pyhanko_certvalidator.errors import PathBuildingError, PathValidationError
from pyhanko_certvalidator.registry import SimpleCertificateStore

from compliance.jobs import clock
from compliance.reports import authority
from compliance.reports.authority import SealMaterial, TimeStampUnavailable
from compliance.reports.authority.timestamps import PlainTimeStamper, TimeStampRefused
from compliance.reports.authority.unchanging import unchanging
from compliance.reports.rendering.glyphs import legible
from compliance.reports.seal_mark import MarkStyle

FIELD = "sig-seal"
REASON = "Certifies origin and content"


# It warns at every signature that revocation lists are not fetched: ours are given, and the verifier reads them.
logging.getLogger("pyhanko.sign.signers.pdf_signer").setLevel(logging.ERROR)


class SealRefused(Exception):
    """The seal's certificate is revoked, expired, or leads to no root we publish. Nothing was signed."""


@dataclass(frozen=True, slots=True)
class SealedPdf:
    """A sealed report and who made its seal."""

    data: bytes
    certificate_sha256: str
    time_stamp_by: str
    is_development: bool


def seal(unsigned: bytes) -> SealedPdf:
    """Seal `unsigned` at level B-LTA. Its bytes stay the leading part of the result.

    Raises SealRefused, TimeStampUnavailable, AuthorityMissing.
    """
    material = authority.seal_material()
    now = clock.now()
    require_good_standing(material, now)
    stamper = authority.time_stamper()
    metadata = PdfSignatureMetadata(
        field_name=FIELD,
        md_algorithm="sha256",
        subfilter=SigSeedSubFilter.PADES,
        reason=REASON,
        certify=True,
        docmdp_permissions=MDPPerm.FILL_FORMS,
        embed_validation_info=True,
        use_pades_lta=True,
        validation_context=_context(material, now),
    )
    data = _signed(unsigned, material, metadata, stamper, now)
    if not data.startswith(unsigned):
        raise SigningError("the sealed file does not begin with the unsigned one")
    return SealedPdf(data, material.certificate.sha256.hex(), stamper.name, material.is_development)


def require_good_standing(material: SealMaterial, moment: datetime) -> None:
    """Raise SealRefused unless the seal's certificate is valid, unrevoked and leads to a root at `moment`."""
    context = ValidationContext(
        trust_roots=list(material.report_roots),
        other_certs=list(material.chain),
        crls=list(material.revocation_lists),
        moment=moment,
        allow_fetching=False,
        revocation_mode="require",
    )
    validator = CertificateValidator(material.certificate, validation_context=context)
    try:
        asyncio.run(validator.async_validate_usage({"digital_signature"}))
    except (PathBuildingError, PathValidationError) as error:
        raise SealRefused(f"The seal may not be used: {error}") from error


def _signed(
    unsigned: bytes, material: SealMaterial, metadata: PdfSignatureMetadata, stamper: PlainTimeStamper, now: datetime
) -> bytes:
    simple = _PlainSigner(material.certificate, material.key, _store(*material.chain, *material.report_roots))
    signer = _ClockedSigner(metadata, simple, timestamper=stamper, stamp_style=_mark(material, now))
    signer.moment = now
    output = BytesIO()
    try:
        signer.sign_pdf(IncrementalPdfFileWriter(BytesIO(unsigned)), existing_fields_only=True, output=output)
    except (httpx.HTTPError, TimeStampRefused) as error:
        raise TimeStampUnavailable(str(error)) from error
    except (PathBuildingError, PathValidationError) as error:
        raise SealRefused(f"The seal may not be used: {error}") from error
    return output.getvalue()


class _PlainSigner(signers.SimpleSigner):
    """A signer whose signatures are encoded once."""

    async def async_sign(self, *arguments: Any, **keywords: Any) -> cms.ContentInfo:
        return unchanging(await super().async_sign(*arguments, **keywords))


class _ClockedSigner(PdfSigner):
    """A signer that takes the time from our clock."""

    moment: datetime

    def init_signing_session(self, pdf_out: BasePdfFileWriter, existing_fields_only: bool = False) -> PdfSigningSession:
        session = super().init_signing_session(pdf_out, existing_fields_only)
        session.system_time = self.moment
        return session


def _context(material: SealMaterial, now: datetime) -> ValidationContext:
    fetching = authority.may_fetch()
    return ValidationContext(
        trust_roots=[*material.report_roots, *material.time_stamp_roots],
        other_certs=list(material.chain),
        crls=list(material.revocation_lists),
        moment=None if fetching else now,
        allow_fetching=fetching,
        revocation_mode="require",
    )


def _mark(material: SealMaterial, now: datetime) -> MarkStyle:
    subject = material.certificate.subject.native
    name = legible(str(subject.get("common_name", material.certificate.subject.human_friendly)))
    return MarkStyle(lines=("Sealed by", name, f"{now:%Y-%m-%d %H:%M:%S} UTC"))


def _store(*certificates: asn1_x509.Certificate) -> SimpleCertificateStore:
    store = SimpleCertificateStore()
    store.register_multiple(certificates)
    return store
