"""Whole reports for tests, on a small log made in memory: drawn, attached, sealed, countersigned."""

import dataclasses
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

from asn1crypto import crl, keys, x509
from cryptography.hazmat.primitives import serialization
from django.conf import settings
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.sign import signers
from pyhanko.sign.fields import MDPPerm, SigFieldSpec, SigSeedSubFilter
from pyhanko.sign.signers.pdf_signer import PdfTimeStamper
from pyhanko.sign.timestamps import TimeStamper
from pyhanko_certvalidator import ValidationContext
from pyhanko_certvalidator.registry import SimpleCertificateStore

from compliance.jobs import clock
from compliance.proof.trust import TrustFolder
from compliance.reports import authority, pages, rendering, sealing
from compliance.reports.authority import certificates
from compliance.reports.authority.certificates import Signer
from compliance.reports.authority.development import DevelopmentAuthority
from compliance.reports.authority.timestamps import DevelopmentTimeStamper
from compliance.reports.builders import attachments
from compliance.reports.builders.drafts import Draft
from compliance.reports.facts import CheckpointFacts, Document
from compliance.reports.rendering import AttachedFile
from compliance.reports.seal_mark import MarkStyle
from tests.proof.world import METER, World
from tests.reports import samples

Level = str  # "B", "T", "LT" or "LTA" of PAdES


@dataclass(frozen=True, slots=True)
class Workshop:
    """An authority, a log and a trust folder that belong together."""

    folder: Path
    world: World

    @classmethod
    def open(cls, folder: Path) -> "Workshop":
        """A workshop in `folder`. Its log holds one organisation and three meters."""
        world = World()
        world.create()
        world.register_organisation("acme", "acme")
        world.append("acme", ["acme"], [world.event(METER.format(n), "mfg.assembled") for n in range(3)])
        shop = cls(folder, world)
        world.write_trust(shop.trust_folder)
        with shop.in_settings():
            authority.publish_roots()
        return shop

    @property
    def trust_folder(self) -> Path:
        return self.folder / "trust"

    @property
    def trust(self) -> TrustFolder:
        return TrustFolder.load(self.trust_folder)

    @property
    def authority(self) -> DevelopmentAuthority:
        return DevelopmentAuthority(self.folder / "authority")

    @contextmanager
    def in_settings(self, **changes: Any):
        """The product's settings point here until the block ends."""
        before = settings.METERPROOF
        here = {"AUTHORITY_DIR": self.folder / "authority", "TRUST_DIR": self.trust_folder}
        settings.METERPROOF = {**before, **here, "REPORT_DIR": self.folder / "reports", **changes}
        try:
            yield
        finally:
            settings.METERPROOF = before

    def document(self, sample: Document) -> Document:
        """`sample`, standing on the checkpoint of this log."""
        checkpoint = self.world.checkpoint()
        note = self.world.note()
        facts = CheckpointFacts(checkpoint.origin, checkpoint.size, checkpoint.root.hex(), samples.PREPARED, note)
        return dataclasses.replace(sample, checkpoint=facts)

    def audit_draft(self, **shape: int) -> Draft:
        """A framework audit of invented content with a real proof inside."""
        facts = samples.framework_audit(**shape)
        facts = dataclasses.replace(facts, document=self.document(facts.document))
        files = [
            attachments.coverage_json(facts.requirements.rows, framework=facts.framework),
            attachments.evidence_csv(facts.evidence.rows),
            self.proof(),
        ]
        return Draft.of(facts.document, facts, files, pages.framework_audit)

    def certificate_draft(self, *, change: Callable[[Document], Document] = lambda same: same, **shape: int) -> Draft:
        """A meter certificate of invented content with a real proof inside; `change` alters what it says of itself."""
        facts = samples.meter_certificate(**shape)
        facts = dataclasses.replace(facts, document=change(self.document(facts.document)))
        return Draft.of(facts.document, facts, [self.proof()], pages.meter_certificate)

    def proof(self, **changes: Any) -> AttachedFile:
        """The bundle of a meter of this log."""
        bundle = self.world.bundle(METER.format(1), **changes)
        return attachments.proof(bundle, name="meter.proof", description="A meter's chain with its proof")

    def seal(self, unsigned: bytes) -> bytes:
        """`unsigned` under the platform's seal."""
        with self.in_settings():
            return sealing.seal(unsigned).data

    def sign(
        self,
        data: bytes,
        field: str,
        signer: Signer,
        *,
        level: Level = "LTA",
        certify: bool = False,
        stamper: TimeStamper | None = None,
        box: tuple[int, int, int, int] | None = None,
        chain: Sequence[str] = ("issuing", "report-root"),
        revocation_mode: str = "require",
    ) -> bytes:
        """A further signature, as other people's tools make it. With `box`, in a field of its own."""
        metadata = signers.PdfSignatureMetadata(
            field_name=field,
            md_algorithm="sha256",
            subfilter=SigSeedSubFilter.PADES,
            certify=certify,
            docmdp_permissions=MDPPerm.FILL_FORMS,
            embed_validation_info=level in {"LT", "LTA"},
            use_pades_lta=level == "LTA",
            validation_context=self.context(revocation_mode=revocation_mode) if level in {"LT", "LTA"} else None,
        )
        store = SimpleCertificateStore()
        store.register_multiple([as_asn1(self.authority.signer(name)) for name in chain])
        pdf_signer = signers.PdfSigner(
            metadata,
            signers.SimpleSigner(as_asn1(signer), key_info(signer), store),
            timestamper=None if level == "B" else stamper or DevelopmentTimeStamper(self.authority.signer("tsa")),
            stamp_style=MarkStyle(lines=("Signed", field)),
            new_field_spec=SigFieldSpec(field, on_page=0, box=box) if box else None,
        )
        output = BytesIO()
        pdf_signer.sign_pdf(IncrementalPdfFileWriter(BytesIO(data)), existing_fields_only=box is None, output=output)
        return output.getvalue()

    def stamp(self, data: bytes) -> bytes:
        """`data` with validation data of its time stamps and a document time stamp, as an archive adds it."""
        output = BytesIO()
        PdfTimeStamper(DevelopmentTimeStamper(self.authority.signer("tsa"))).timestamp_pdf(
            IncrementalPdfFileWriter(BytesIO(data)), "sha256", self.context(), output=output
        )
        return output.getvalue()

    def context(self, **changes: Any) -> ValidationContext:
        """What the authority's own people validate with."""
        roots = [as_asn1(self.authority.signer(name)) for name in ("report-root", "tsa-root")]
        lists = [crl.CertificateList.load(data) for data in self.authority.revocation_lists()]
        settings_ = {"trust_roots": roots, "other_certs": [as_asn1(self.authority.signer("issuing"))], "crls": lists}
        return ValidationContext(
            **{**settings_, "moment": clock.now(), "allow_fetching": False, "revocation_mode": "require", **changes}
        )

    def colleague(self, name: str) -> Signer:
        """A signer whom the issuing authority knows."""
        return certificates.seal(name, self.authority.signer("issuing"), now=clock.now().replace(microsecond=0))


def draw(draft: Draft) -> bytes:
    """The unsigned PDF of `draft`."""
    return rendering.render(draft.html, attachments=draft.files, made_at=draft.made_at).data


def with_files(draft: Draft, change: Callable[[AttachedFile], AttachedFile]) -> Draft:
    """`draft` with other files than it names."""
    return dataclasses.replace(draft, files=tuple(change(file) for file in draft.files))


def stranger(name: str = "Report Seal (development)") -> tuple[Signer, Signer]:
    """A signer under a root of the same names as ours, and that root."""
    now = datetime.now(UTC).replace(microsecond=0)
    root = certificates.root("Report Root (development)", now=now, path_length=1)
    return certificates.seal(name, root, now=now), root


def as_asn1(signer: Signer) -> x509.Certificate:
    """The certificate as pyHanko takes it."""
    return x509.Certificate.load(signer.certificate.public_bytes(serialization.Encoding.DER))


def key_info(signer: Signer) -> keys.PrivateKeyInfo:
    """The key as pyHanko takes it."""
    encoded = signer.key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return keys.PrivateKeyInfo.load(encoded)
