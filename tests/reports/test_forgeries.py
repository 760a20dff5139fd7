"""What the offline verifier refuses, and why. Other tools accept most of these updates (`docs/reports.md`)."""

import dataclasses
import re
import shutil
from datetime import UTC, datetime, timedelta

import pytest
from asn1crypto import x509
from cryptography.hazmat.primitives.serialization import Encoding

from compliance.jobs import clock
from compliance.proof.errors import NotCheckable, ProofError
from compliance.proof.report import child, verify_report
from compliance.proof.report.signatures import Roots
from compliance.proof.steps import Verdict
from compliance.proof.trust import REPORT_SEALS, TrustFolder
from compliance.reports import authority
from compliance.reports.facts import Document
from compliance.reports.rendering import AttachedFile
from compliance.reports.sealing import SealRefused, require_good_standing
from tests.reports import forging, making
from tests.reports.making import Workshop

UPDATES = (
    (forging.overlay, "report.update"),
    (forging.page_removed, "report.update"),
    (forging.page_turned, "report.update"),
    (forging.note_added, "report.update"),
    (forging.attachment_swapped, "report.update"),
    (forging.attachment_emptied, "report.update"),
    (forging.title_changed, "report.update"),
    (forging.opens_a_page, "report.update"),
    (forging.metadata_changed, "report.update"),
    (forging.validation_data_emptied, "report.update"),
    (forging.seal_taken_off, "report.seal"),
    (forging.field_moved, "report.update"),
)


def refusal(workshop: Workshop, data: bytes) -> str:
    """The code for which the part that reads the PDF refuses `data`, "" if it does not; in this process."""
    trust = workshop.trust
    roots = Roots(
        *(
            tuple(x509.Certificate.load(root.public_bytes(Encoding.DER)) for root in listed)
            for listed in (trust.report_roots, trust.time_stamp_roots)
        )
    )
    try:
        child.check(data, roots, Verdict("report"), now=datetime.now(UTC))
    except (ProofError, NotCheckable) as error:
        return error.code
    return ""


def failure(workshop: Workshop, data: bytes) -> str | None:
    """The code for which the whole verifier refuses `data`."""
    return next((step.code for step in verify_report(data, workshop.trust) if step.status != "ok"), None)


def test_untouched_it_is_accepted(workshop: Workshop, sealed_certificate: bytes) -> None:
    assert refusal(workshop, sealed_certificate) == ""


@pytest.mark.parametrize(("change", "code"), UPDATES, ids=lambda value: getattr(value, "__name__", None))
def test_an_update_after_the_seal_is_refused(
    workshop: Workshop, sealed_certificate: bytes, change: forging.Change, code: str
) -> None:
    forged = forging.updated(sealed_certificate, change)
    assert forged.startswith(sealed_certificate)
    assert refusal(workshop, forged) == code


def test_bytes_that_no_table_lists_are_refused(workshop: Workshop, sealed_certificate: bytes) -> None:
    assert refusal(workshop, forging.object_nobody_lists(sealed_certificate)) in {"report.update", "report.form"}


def test_a_changed_byte_of_a_page_is_refused(workshop: Workshop, sealed_certificate: bytes) -> None:
    """In a stream, so that the file stays readable: only the signature tells."""
    place = sealed_certificate.index(b"stream\n", sealed_certificate.index(b"/Type /Page")) + 40
    assert refusal(workshop, forging.flipped(sealed_certificate, place)) in {"report.signature", "report.time_stamp"}


def test_a_changed_byte_of_the_signature_is_refused(workshop: Workshop, sealed_certificate: bytes) -> None:
    first = re.search(rb"/Contents <([0-9A-Fa-f]{2000})", sealed_certificate)
    assert first is not None
    changed = bytearray(sealed_certificate)
    place = first.start(1) + 1500
    changed[place] = ord("0") if changed[place] != ord("0") else ord("1")
    assert refusal(workshop, bytes(changed)) != ""


@pytest.mark.parametrize("byte", range(4))
def test_a_bit_changed_anywhere_is_refused(workshop: Workshop, sealed_certificate: bytes, byte: int) -> None:
    place = 9 + byte * len(sealed_certificate) // 5
    assert refusal(workshop, forging.flipped(sealed_certificate, place)) != ""


def test_a_shortened_file_is_refused(workshop: Workshop, sealed_certificate: bytes) -> None:
    assert refusal(workshop, sealed_certificate[: len(sealed_certificate) // 2]) == "report.form"


def test_a_report_that_nobody_sealed_is_refused(workshop: Workshop, unsigned_certificate: bytes) -> None:
    assert refusal(workshop, unsigned_certificate) == "report.seal"


def test_below_the_archive_level_it_is_refused(workshop: Workshop, unsigned_certificate: bytes) -> None:
    short = workshop.sign(unsigned_certificate, "sig-seal", workshop.authority.signer("seal"), level="T", certify=True)
    assert refusal(workshop, short) == "report.revocation", "no revocation list, so nobody can tell"


def test_a_seal_that_the_same_authority_issued_to_others_is_refused(
    workshop: Workshop, unsigned_certificate: bytes, tmp_path
) -> None:
    another = workshop.sign(unsigned_certificate, "sig-seal", workshop.colleague("Somebody Else"), certify=True)
    assert failure(workshop, another) == "report.untrusted"
    shutil.copytree(workshop.trust_folder, tmp_path / "trust")
    (tmp_path / "trust" / REPORT_SEALS).unlink()
    steps = verify_report(another, TrustFolder.load(tmp_path / "trust"))
    assert {step.status for step in steps} == {"ok"}, "who names no seal trusts all that the root stands for"
    assert any("any certificate under report-root.crt may seal" in line for step in steps for line in step.lines)


def test_a_seal_under_another_root_of_the_same_name_is_refused(workshop: Workshop, unsigned_certificate: bytes) -> None:
    signer, _ = making.stranger()
    with pytest.raises(Exception, match="certificate"):  # a library will not even make the long-term form of it
        workshop.sign(unsigned_certificate, "sig-seal", signer, certify=True)
    forged = workshop.sign(unsigned_certificate, "sig-seal", signer, level="T", certify=True)
    assert refusal(workshop, workshop.stamp(forged)) == "report.untrusted"


def test_swapped_attachments_are_refused_even_under_our_seal(workshop: Workshop) -> None:
    """Whoever can seal cannot make the manifest say what is not inside."""

    def swap(file: AttachedFile) -> AttachedFile:
        return dataclasses.replace(file, content=file.content + b" ") if file.name == "meter.proof" else file

    draft = making.with_files(workshop.certificate_draft(events=1), swap)
    assert refusal(workshop, workshop.seal(making.draw(draft))) == "report.attachment"


def test_a_checkpoint_other_than_that_of_the_proof_is_refused(workshop: Workshop) -> None:
    def elsewhere(document: Document) -> Document:
        checkpoint = dataclasses.replace(document.checkpoint, note=document.checkpoint.note.replace("\n8\n", "\n9\n"))
        return dataclasses.replace(document, checkpoint=checkpoint)

    sealed = workshop.seal(making.draw(workshop.certificate_draft(events=1, change=elsewhere)))
    assert failure(workshop, sealed) == "report.checkpoint"


def test_a_revoked_seal_signs_nothing(tmp_path) -> None:
    shop = Workshop.open(tmp_path)
    with shop.in_settings():
        before = authority.seal_material()
        shop.authority.revoke_seal()
        after = authority.seal_material()
        stale = dataclasses.replace(before, revocation_lists=after.revocation_lists)
        with pytest.raises(SealRefused, match="revoked"):
            require_good_standing(stale, clock.now())
        require_good_standing(after, clock.now())
    assert before.certificate.sha256 != after.certificate.sha256, "the authority makes itself a new seal"


def test_a_seal_made_after_it_was_revoked_is_refused(unsigned_certificate: bytes, tmp_path) -> None:
    """The file carries the list that says so; a careless signer did not look at it."""
    shop = Workshop.open(tmp_path)
    stolen = shop.authority.signer("seal")
    earlier = clock.now() - timedelta(minutes=2)
    with clock.use(lambda: earlier):
        shop.authority.revoke_seal()
    forged = shop.sign(unsigned_certificate, "sig-seal", stolen, certify=True, revocation_mode="soft-fail")
    assert refusal(shop, forged) == "report.revocation"
