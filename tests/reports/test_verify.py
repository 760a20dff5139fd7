"""The offline verifier of reports: what is right passes, whatever was changed does not."""

from datetime import UTC, datetime, timedelta
from io import BytesIO

import pytest
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.signers.pdf_signer import PdfTimeStamper

from compliance.proof.report import Expected, verify_report
from compliance.proof.steps import Step
from compliance.proof.verify import verify_file
from compliance.reports.authority.timestamps import DevelopmentTimeStamper
from tests.reports.making import Workshop


def failure(steps: list[Step]) -> str | None:
    """The code of the first step that failed."""
    return next((step.code for step in steps if step.status != "ok"), None)


@pytest.mark.parametrize("name", ["sealed_audit", "signed_by_three", "sealed_certificate"])
def test_what_was_issued_verifies(workshop: Workshop, name: str, request: pytest.FixtureRequest) -> None:
    steps = verify_report(request.getfixturevalue(name), workshop.trust)
    assert failure(steps) is None, [step.to_object() for step in steps]
    said = "\n".join(line for step in steps for line in step.lines)
    assert "sig-seal: sealed at" in said
    assert "meter.proof" in said


def test_the_command_line_verifies_a_report(workshop: Workshop, sealed_audit: bytes, tmp_path) -> None:
    (tmp_path / "report.pdf").write_bytes(sealed_audit)
    verdict = verify_file(tmp_path / "report.pdf", workshop.trust_folder)
    assert (verdict.kind, verdict.exit_status) == ("report", 0)


def test_every_signature_is_named_with_its_time(workshop: Workshop, signed_by_three: bytes) -> None:
    steps = verify_report(signed_by_three, workshop.trust)
    (signatures,) = [step for step in steps if step.title == "Seal and signatures"]
    assert [line.partition(":")[0] for line in signatures.lines] == ["sig-seal", "sig-auditor", "sig-regulator"]


def test_a_renewed_archive_time_stamp_is_accepted(workshop: Workshop, sealed_audit: bytes) -> None:
    renewed = BytesIO()
    PdfTimeStamper(DevelopmentTimeStamper(workshop.authority.signer("tsa"))).update_archival_timestamp_chain(
        PdfFileReader(BytesIO(sealed_audit)), workshop.context(), in_place=False, output=renewed
    )
    steps = verify_report(renewed.getvalue(), workshop.trust)
    assert failure(steps) is None, [step.to_object() for step in steps]
    (stamps,) = [step for step in steps if step.title == "Time stamps"]
    assert len(stamps.lines) == 2


def test_the_record_knows_of_signatures_that_were_cut_off(
    workshop: Workshop, sealed_audit: bytes, signed_by_three: bytes
) -> None:
    """A file without its last signatures is a valid earlier file; only the record tells."""
    expected = Expected("AR-2026-000147", ("sig-seal", "sig-auditor", "sig-regulator"))
    assert failure(verify_report(signed_by_three, workshop.trust, expected)) is None
    assert failure(verify_report(sealed_audit, workshop.trust, expected)) == "report.expected"
    another = Expected("AR-2026-000148", ("sig-seal",))
    assert failure(verify_report(sealed_audit, workshop.trust, another)) == "report.expected"


def test_after_the_seal_expired_the_report_still_verifies(workshop: Workshop, sealed_audit: bytes) -> None:
    steps = verify_report(sealed_audit, workshop.trust, now=datetime.now(UTC) + timedelta(days=3 * 365))
    assert failure(steps) is None, [step.to_object() for step in steps]
    assert any("valid when it signed" in line for step in steps for line in step.lines)


def test_after_the_time_stamp_expired_there_is_no_verdict(workshop: Workshop, sealed_audit: bytes) -> None:
    steps = verify_report(sealed_audit, workshop.trust, now=datetime.now(UTC) + timedelta(days=11 * 365))
    assert failure(steps) == "report.expired"
    assert steps[-1].status == "unchecked"


def test_a_time_stamp_from_the_future_is_refused(workshop: Workshop, sealed_audit: bytes) -> None:
    steps = verify_report(sealed_audit, workshop.trust, now=datetime.now(UTC) - timedelta(days=1))
    assert failure(steps) == "report.time_stamp"


def test_without_roots_there_is_no_verdict(workshop: Workshop, sealed_audit: bytes, tmp_path) -> None:
    workshop.world.write_trust(tmp_path)
    (tmp_path / "report.pdf").write_bytes(sealed_audit)
    verdict = verify_file(tmp_path / "report.pdf", tmp_path)
    assert (verdict.exit_status, verdict.error.code) == (2, "trust.missing")


def test_another_log_is_refused(workshop: Workshop, sealed_audit: bytes, tmp_path) -> None:
    other = Workshop.open(tmp_path)
    trust = workshop.trust_folder
    for name in ("report-root.crt", "report-seal.crt", "tsa-root.crt"):
        (other.trust_folder / name).write_bytes((trust / name).read_bytes())
    other.world.origin = "log.example.test/other"
    other.world.write_trust(other.trust_folder)
    assert failure(verify_report(sealed_audit, other.trust)) == "bundle.log"


def test_a_limit_is_no_verdict(workshop: Workshop, sealed_audit: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("compliance.proof.report.WALL_SECONDS", 0.05)
    steps = verify_report(sealed_audit, workshop.trust)
    assert (steps[-1].code, steps[-1].status) == ("report.limit", "unchecked")
