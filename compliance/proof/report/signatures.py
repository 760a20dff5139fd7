"""Seal, further signatures and time stamps: arithmetic, way to a root you trust, revocation, and what they cover.

A signature is judged at the moment its time stamp proves, with the revocation lists that the file carries
(PAdES-B-LTA), so the verdict does not change when the seal's certificate expires. The newest document time stamp must
be by an authority whose certificate is valid today: it is what carries the proof, and it can be renewed.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from asn1crypto import crl, x509
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.validation.dss import DocumentSecurityStore
from pyhanko.sign.validation.generic_cms import extract_tst_data_iter
from pyhanko.sign.validation.pdf_embedded import async_validate_pdf_signature, async_validate_pdf_timestamp
from pyhanko.sign.validation.status import SignatureCoverageLevel
from pyhanko_certvalidator import CertificateValidator, ValidationContext
from pyhanko_certvalidator.errors import PathBuildingError, PathValidationError
from pyhanko_certvalidator.registry import SimpleCertificateStore

from compliance.proof.errors import NotCheckable, ProofError

SEAL_FIELD: Final = "sig-seal"
CLOCKS_DIFFER: Final = timedelta(minutes=10)  # a time stamp may seem that much younger than the reader's own clock
WHOLE: Final = {SignatureCoverageLevel.ENTIRE_REVISION, SignatureCoverageLevel.ENTIRE_FILE}


@dataclass(frozen=True, slots=True)
class Roots:
    """What the relying party trusts: for signatures, and for time stamps."""

    report: tuple[x509.Certificate, ...]
    time_stamp: tuple[x509.Certificate, ...]


@dataclass(frozen=True, slots=True)
class Carried:
    """Validation data inside the file. It convinces only by its signatures."""

    certificates: tuple[x509.Certificate, ...]
    revocation_lists: tuple[crl.CertificateList, ...]
    answers: tuple[Any, ...]

    @classmethod
    def read(cls, reader: PdfFileReader) -> "Carried":
        """The document security store. Raises ProofError `report.revocation` without one."""
        store = DocumentSecurityStore.read_dss(reader) if "/DSS" in reader.root else None
        if store is None:
            raise ProofError("report.revocation", "the file carries no revocation lists")
        return cls(
            tuple(store.load_certs()),
            tuple(crl.CertificateList.load(item.get_object().data) for item in store.crls),
            tuple(item.get_object().data for item in store.ocsps),
        )

    def context(self, roots: Sequence[x509.Certificate], moment: datetime) -> ValidationContext:
        """Validation at `moment` with what the file carries, and nothing from the network."""
        return ValidationContext(
            trust_roots=list(roots),
            other_certs=list(self.certificates),
            crls=list(self.revocation_lists),
            ocsps=list(self.answers),
            moment=moment,
            allow_fetching=False,
            revocation_mode="require",
        )


@dataclass(frozen=True, slots=True)
class Signed:
    """A signature that holds."""

    field: str
    signer: str
    certificate_sha256: str
    certificate_valid_until: datetime
    signed_at: datetime  # by the time stamp
    is_certifying: bool


@dataclass(frozen=True, slots=True)
class Stamped:
    """A document time stamp that holds."""

    authority: str
    moment: datetime


def time_stamps(reader: PdfFileReader, roots: Roots, carried: Carried, *, now: datetime) -> list[Stamped]:
    """The document time stamps, oldest first; at least one, and the newest by a certificate that is valid `now`.

    Raises ProofError `report.time_stamp`, NotCheckable `report.expired`.
    """
    embedded = sorted(reader.embedded_timestamp_signatures, key=lambda stamp: int(stamp.signed_revision))
    if not embedded:
        raise ProofError("report.time_stamp", "no document time stamp: the end of the file was cut off, or never made")
    found = [_time_stamp(stamp, roots, carried) for stamp in embedded]
    if sorted(stamp.moment for stamp in found) != [stamp.moment for stamp in found]:
        raise ProofError("report.time_stamp", "a later document time stamp names an earlier time")
    if found[-1].moment > now + CLOCKS_DIFFER:
        raise ProofError("report.time_stamp", f"the newest is of {found[-1].moment:%Y-%m-%d %H:%M} UTC, in the future")
    _require_valid_today(embedded[-1], roots, carried, now=now)
    return found


def signatures(reader: PdfFileReader, roots: Roots, carried: Carried, *, before: datetime) -> list[Signed]:
    """The seal and the signatures after it, all of which hold and were made not later than `before`.

    Raises ProofError `report.seal`, `report.signature`, `report.untrusted`, `report.revocation`, `report.time_stamp`.
    """
    embedded = sorted(reader.embedded_regular_signatures, key=lambda signature: int(signature.signed_revision))
    if not embedded or embedded[0].field_name != SEAL_FIELD:
        raise ProofError("report.seal", f"the first signature is not in the field {SEAL_FIELD}")
    if embedded[0].docmdp_level is None:
        raise ProofError("report.seal", "the seal does not certify the document", place=SEAL_FIELD)
    found = [_signature(signature, roots, carried) for signature in embedded]
    late = [signed.field for signed in found if signed.signed_at > before]
    if late:
        raise ProofError(
            "report.time_stamp", "signed after the document time stamp that should cover it", place=late[0]
        )
    return found


def _signature(embedded: Any, roots: Roots, carried: Carried) -> Signed:
    name = embedded.field_name
    tokens = list(extract_tst_data_iter(embedded.signer_info, signed=False))
    if len(tokens) != 1:
        raise ProofError("report.time_stamp", f"{len(tokens)} time stamps say when it was signed, not one", place=name)
    moment = _token_time(tokens[0])
    checked = async_validate_pdf_signature(
        embedded,
        signer_validation_context=carried.context(roots.report, moment),
        ts_validation_context=carried.context(roots.time_stamp, moment),
        skip_diff=True,
    )
    status = asyncio.run(checked)
    stamp: Any = status.timestamp_validity
    _require(status.intact and status.valid, "report.signature", "the signature does not fit the signed bytes", name)
    _require(status.coverage in WHOLE, "report.signature", "the signature does not cover its whole revision", name)
    _require(stamp is not None, "report.time_stamp", "its time stamp cannot be read", name)
    _require(stamp.intact and stamp.valid, "report.time_stamp", "its time stamp is over something else", name)
    _require(stamp.trusted, "report.time_stamp", "its time stamp leads to no root you trust", name)
    certificate = embedded.signer_cert
    _require(not status.revoked, "report.revocation", "the certificate was revoked before it signed", name)
    if not status.trusted:
        raise _why_untrusted(certificate, embedded.other_embedded_certs, roots, carried, moment, name)
    return Signed(
        field=name,
        signer=certificate.subject.human_friendly,
        certificate_sha256=certificate.sha256.hex(),
        certificate_valid_until=certificate["tbs_certificate"]["validity"]["not_after"].native,
        signed_at=moment,
        is_certifying=embedded.docmdp_level is not None,
    )


def _time_stamp(embedded: Any, roots: Roots, carried: Carried) -> Stamped:
    name = embedded.field_name
    moment = _token_time(embedded.signed_data)
    context = carried.context(roots.time_stamp, moment)
    status = asyncio.run(async_validate_pdf_timestamp(embedded, context, skip_diff=True))
    _require(status.intact and status.valid, "report.time_stamp", "it does not fit the stamped bytes", name)
    _require(status.coverage in WHOLE, "report.time_stamp", "it does not cover its whole revision", name)
    _require(status.trusted, "report.time_stamp", "it leads to no root you trust, valid and unrevoked then", name)
    return Stamped(status.signing_cert.subject.human_friendly, moment)


def _require_valid_today(embedded: Any, roots: Roots, carried: Carried, *, now: datetime) -> None:
    """Revocation is not asked again: lists of today are not in the file."""
    context = ValidationContext(
        trust_roots=list(roots.time_stamp),
        other_certs=[*carried.certificates, *embedded.other_embedded_certs],
        moment=now,
        allow_fetching=False,
        revocation_mode="soft-fail",
    )
    validator = CertificateValidator(embedded.signer_cert, validation_context=context)
    try:
        asyncio.run(validator.async_validate_usage(set(), {"time_stamping"}))
    except (PathBuildingError, PathValidationError) as error:
        raise NotCheckable(
            "report.expired",
            f"the newest time stamp's certificate is not valid any more: {error}. Ask for a renewed file",
        ) from None


def _why_untrusted(
    certificate: x509.Certificate,
    beside: Sequence[x509.Certificate],
    roots: Roots,
    carried: Carried,
    moment: datetime,
    name: str,
) -> ProofError:
    context = carried.context(roots.report, moment)
    store = SimpleCertificateStore()
    store.register_multiple(beside)
    validator = CertificateValidator(certificate, intermediate_certs=store, validation_context=context)
    try:
        asyncio.run(validator.async_validate_usage({"digital_signature"}))
    except PathBuildingError:
        return ProofError("report.untrusted", "its certificate leads to no root you trust", place=name)
    except PathValidationError as error:
        return ProofError("report.revocation", str(error), place=name)
    return ProofError("report.untrusted", "its certificate may not sign documents", place=name)


def _token_time(signed_data: Any) -> datetime:
    try:
        moment: datetime = signed_data["encap_content_info"]["content"].parsed["gen_time"].native
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ProofError("report.time_stamp", "a time stamp that cannot be read") from None
    return moment.astimezone(UTC)


def _require(holds: object, code: str, detail: str, place: str) -> None:
    if not holds:
        raise ProofError(code, detail, place=place)
