"""Reports that the job made: sealed, valid for other people's tools, and naming what they carry."""

import csv
import hashlib
import io
import json
import subprocess
from pathlib import Path

import pytest

from compliance.proof import bundle as bundles
from compliance.proof.verify import verify_file
from compliance.reports.models import SealStatus, State
from tests.reports.house import FRAMEWORK, Issued

# Tables must be there when this module runs alone; the first test waits until both reports are made.
pytestmark = [pytest.mark.django_db, pytest.mark.timeout(300)]
KINDS = ["framework_audit", "meter_certificate"]


@pytest.fixture(params=KINDS)
def one(request: pytest.FixtureRequest, issued: dict[str, Issued]) -> Issued:
    return issued[request.param]


@pytest.fixture
def file(one: Issued, tmp_path: Path) -> Path:
    path = tmp_path / "report.pdf"
    path.write_bytes(one.pdf)
    return path


def attached(pdf: bytes, folder: Path) -> dict[str, bytes]:
    """Names and contents of the files inside, as poppler takes them out."""
    inside = folder / "inside"
    inside.mkdir()
    (folder / "whole.pdf").write_bytes(pdf)
    subprocess.run(["pdfdetach", "-saveall", "-o", str(inside), str(folder / "whole.pdf")], check=True)
    return {path.name: path.read_bytes() for path in inside.iterdir()}


def text_of(path: Path) -> str:
    """What the pages say, without line breaks."""
    said = subprocess.run(["pdftotext", "-layout", str(path), "-"], capture_output=True, text=True, check=True).stdout
    return "".join(said.split())


def test_the_row_and_the_log_say_the_same(one: Issued) -> None:
    report, data = one.report, one.said["data"]
    assert one.said["type"] == "report.issued"
    assert (report.state, report.seal_status, report.failure) == (State.ISSUED, SealStatus.VERIFIED, "")
    assert data["pdf_sha256"] == report.pdf_sha256 == hashlib.sha256(one.pdf).hexdigest()
    assert (data["number"], data["log_size"], data["pages"]) == (report.number, report.log_size, report.pages)
    assert one.problems == []


def test_our_verifier_accepts_it(one: Issued, file: Path) -> None:
    verdict = verify_file(file, one.trust)
    assert (verdict.kind, verdict.exit_status) == ("report", 0), verdict.error


def test_poppler_calls_the_seal_valid_and_trusted(one: Issued, file: Path, tmp_path: Path) -> None:
    store = f"sql:{tmp_path / 'nss'}"
    (tmp_path / "nss").mkdir()
    root = str(one.trust / "report-root.crt")
    subprocess.run(["certutil", "-N", "-d", store, "--empty-password"], check=True, capture_output=True)
    subprocess.run(
        ["certutil", "-A", "-d", store, "-n", "root", "-t", "CT,C,C", "-i", root], check=True, capture_output=True
    )
    said = subprocess.run(
        ["pdfsig", "-nssdir", store, str(file)], capture_output=True, text=True, check=False
    ).stdout  # its status is 1 because it cannot judge document time stamps
    seal = said.partition("Signature #1")[2].partition("Signature #2")[0]
    assert "Signature is Valid." in seal, said
    assert "Certificate is Trusted." in seal, said
    assert "ETSI.CAdES.detached" in seal, said


def test_qpdf_finds_nothing_wrong(file: Path) -> None:
    done = subprocess.run(["qpdf", "--check", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No syntax or stream encoding errors found" in done.stdout


def test_the_unsigned_file_is_the_leading_part(one: Issued) -> None:
    ends = [place + len(b"%%EOF\n") for place in range(len(one.pdf)) if one.pdf.startswith(b"%%EOF\n", place)]
    digests = {hashlib.sha256(one.pdf[:end]).hexdigest() for end in ends}
    assert one.report.unsigned_sha256 in digests


def test_each_attachment_is_the_one_the_page_and_the_row_name(one: Issued, file: Path, tmp_path: Path) -> None:
    files = attached(one.pdf, tmp_path)
    text = text_of(file)
    assert {item["name"] for item in one.report.attachments} == files.keys()
    for item in one.report.attachments:
        digest = hashlib.sha256(files[item["name"]]).hexdigest()
        assert digest == item["sha256"]
        assert digest in text, item["name"]


def test_the_bundle_stands_on_the_checkpoint_that_the_report_names(one: Issued, file: Path, tmp_path: Path) -> None:
    files = attached(one.pdf, tmp_path)
    manifest = json.loads(files["report.json"])
    (name,) = [name for name in files if name.endswith(".proof")]
    assert bundles.read(files[name]).checkpoint == manifest["checkpoint"]
    assert one.report.log_root in text_of(file) or manifest["checkpoint"].split("\n")[2] in text_of(file)
    assert manifest["number"] == one.report.number


def test_the_audit_carries_coverage_and_evidence(issued: dict[str, Issued], tmp_path: Path) -> None:
    files = attached(issued["framework_audit"].pdf, tmp_path)
    coverage = json.loads(files["coverage.json"])
    assert coverage["framework"]["key"] == FRAMEWORK
    states = {row["ref"]: row["state"] for row in coverage["requirements"]}
    assert len(states) == coverage["framework"]["requirements"] > 20
    assert states["CPA-DEV-T04"] in {"supported", "contradicted"}
    rows = list(csv.DictReader(io.StringIO(files["evidence-manifest.csv"].decode())))
    assert [row["state"] for row in rows].count("accepted") == 1
    assert rows[0]["sha256"] == hashlib.sha256(b"record 0").hexdigest()
    assert rows[1]["title"] == "'=HYPERLINK(1) Prüfprotokoll", "a spreadsheet must not take it for a formula"


def test_the_certificate_tells_the_whole_chain(issued: dict[str, Issued], tmp_path: Path) -> None:
    one = issued["meter_certificate"]
    (tmp_path / "certificate.pdf").write_bytes(one.pdf)
    text = text_of(tmp_path / "certificate.pdf")
    facts = json.loads(attached(one.pdf, tmp_path)["report.json"])["facts"]
    events = facts["timeline"]["rows"]
    assert [event["seq"] for event in events] == sorted(event["seq"] for event in events)
    assert facts["timeline"]["total"] == len(events) > 10
    for event in events:
        assert event["entry_hash"][:20] in text
    assert facts["subject"] in text
    assert {key["role"] for key in facts["keys"]} >= {"GUEK", "GAK"}
