"""What is checked of a report beside its signatures: attached files, the manifest, the process and its limits."""

import base64
import hashlib
import json
import resource
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from io import BytesIO
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.writer import PdfFileWriter

from compliance.proof import report
from compliance.proof.canonical import encode
from compliance.proof.errors import NotCheckable, ProofError
from compliance.proof.report import attached, child, limits, manifest
from compliance.proof.report.signatures import Signed
from compliance.proof.steps import Verdict
from compliance.proof.trust import TrustFolder
from tests.proof.test_report_updates import base, pdf, stream
from tests.proof.time_stamps import authority
from tests.proof.world import World

NOW = datetime(2026, 5, 4, 6, 0, tzinfo=UTC)
OURS = authority()
ROOT = OURS.root.public_bytes(serialization.Encoding.DER)
FILES = {"a.csv": b"1,2\n", "meter.proof": b"{}"}


def described(files: dict[str, bytes] = FILES, **changes: Any) -> bytes:
    listed = [
        {"name": name, "media_type": "text/csv", "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for name, data in files.items()
    ]
    stated = {"format": manifest.FORMAT, "number": "AR-1", "kind": "audit", "log": "l", "checkpoint": "c"}
    return encode({**stated, "attachments": listed, **changes})


def refusal(do: Callable[[], object]) -> tuple[str, str | None]:
    with pytest.raises(ProofError) as refused:
        do()
    return refused.value.code, refused.value.place


def test_the_manifest_names_every_file_and_what_it_is() -> None:
    read = manifest.check_files({**FILES, "report.json": described()})
    assert (read.number, read.kind, read.log, read.checkpoint) == ("AR-1", "audit", "l", "c")
    assert set(read.files) == set(FILES)
    files = {**FILES, "report.json": described()}
    for wrong, place in (
        (FILES, None),
        ({**files, "b.csv": b""}, "b.csv"),
        ({name: data for name, data in files.items() if name != "a.csv"}, "a.csv"),
        ({**files, "a.csv": b"1,3\n"}, "a.csv"),
        ({**files, "meter.proof": b"{} "}, "meter.proof"),
        ({**files, "report.json": described(format="meterproof-report/2")}, "report.json"),
        ({**files, "report.json": described(attachments=json.loads(described())["attachments"] * 2)}, "report.json"),
        ({**files, "report.json": b"[]"}, "report.json"),
    ):
        assert refusal(lambda wrong=wrong: manifest.check_files(wrong)) == ("report.attachment", place)
    assert refusal(lambda: manifest.check_files({"report.json": b"{"}))[0] == "json.syntax"


def document(
    *, names: Any = None, associated: Any = None, twice: bool = False, own: bool = True, **changes: Any
) -> SimpleNamespace:
    """A catalog with two files; `changes` are of the first one's entries."""
    writer = PdfFileWriter()
    listed: list[Any] = []
    for number, (name, data) in enumerate(FILES.items()):
        content = writer.add_object(stream(data))
        entry = {"/F": name, "/UF": name, "/AFRelationship": "/Data", "/EF": {"/F": content, "/UF": content}}
        if number == 0:
            entry |= {f"/{key}": value(writer) if callable(value) else value for key, value in changes.items()}
        specification = pdf({key: value for key, value in entry.items() if value is not None})
        listed += [pdf(name), writer.add_object(specification) if own or number else specification]
    if twice:
        listed += listed[:2]
    writer.root[generic.pdf_name("/AF")] = pdf(listed[1::2] if associated is None else associated(listed))
    tree = pdf({"/Names": listed}) if names is None else pdf(names(listed))
    if tree is not None:
        writer.root[generic.pdf_name("/Names")] = pdf({"/EmbeddedFiles": tree})
    return SimpleNamespace(root=writer.root)


def test_attached_files_are_read() -> None:
    assert attached.read_files(document()) == FILES  # type: ignore[arg-type]
    for relationship in ("/Supplement", "/Source"):
        assert attached.read_files(document(AFRelationship=relationship)) == FILES  # type: ignore[arg-type]
    alone = document(EF=lambda writer: {"/F": writer.add_object(stream(FILES["a.csv"]))})
    assert attached.read_files(alone) == FILES  # type: ignore[arg-type]


def many(listed: list[Any]) -> dict[str, Any]:
    return {"/Names": [item for number in range(21) for item in (f"{number}", listed[1])]}


ATTACHED: dict[str, tuple[dict[str, Any], str | None]] = {
    "a tree": ({"names": lambda listed: {"/Names": listed, "/Kids": []}}, None),
    "an odd list": ({"names": lambda listed: {"/Names": listed[:3]}}, None),
    "twenty-one files": ({"names": many}, None),
    "one name twice": ({"twice": True}, "a.csv"),
    "another label": ({"names": lambda listed: {"/Names": ["b.csv", *listed[1:]]}}, "a.csv"),
    "two names": ({"F": "b.csv"}, "a.csv"),
    "no relationship": ({"AFRelationship": None}, "a.csv"),
    "another relationship": ({"AFRelationship": "/Alternative"}, "a.csv"),
    "one for one system": ({"EF": lambda writer: {"/F": writer.add_object(stream(b"")), "/DOS": 1}}, "a.csv"),
    "two contents": (
        {"EF": lambda writer: {"/F": writer.add_object(stream(b"1")), "/UF": writer.add_object(stream(b"2"))}},
        "a.csv",
    ),
    "fewer associated": ({"associated": lambda listed: listed[1:2]}, None),
    "associated that is no object": ({"associated": lambda listed: [{}, *listed[1::2]]}, None),
    "one inside the list": ({"own": False, "associated": lambda listed: listed[3:4]}, None),
}


@pytest.mark.parametrize("name", ATTACHED)
def test_attached_files_of_another_form_are_refused(name: str) -> None:
    changes, place = ATTACHED[name]
    reader = document(**changes)
    assert refusal(lambda: attached.read_files(reader)) == ("report.attachment", place)  # type: ignore[arg-type]


def test_a_file_without_attachments_is_refused() -> None:
    for root in ({}, {"/Names": {}}):
        reader = SimpleNamespace(root=pdf(root))
        assert refusal(lambda reader=reader: attached.read_files(reader))[0] == "report.attachment"


def test_twenty_files_are_not_too_many() -> None:
    writer = PdfFileWriter()
    listed: list[Any] = []
    for number in range(20):
        name = f"{number:02}"
        entry = {"/F": name, "/UF": name, "/AFRelationship": "/Data", "/EF": {"/F": writer.add_object(stream(b""))}}
        listed += [name, writer.add_object(pdf(entry))]
    writer.root[generic.pdf_name("/AF")] = pdf(listed[1::2])
    writer.root[generic.pdf_name("/Names")] = pdf({"/EmbeddedFiles": {"/Names": listed}})
    assert len(attached.read_files(SimpleNamespace(root=writer.root))) == 20  # type: ignore[arg-type]


def answer(monkeypatch: pytest.MonkeyPatch, data: bytes, *, roots: bool = True) -> tuple[dict[str, Any], bytes, Any]:
    """What the process answers, and the limits that it set itself."""
    listed = [base64.b64encode(ROOT).decode()] if roots else []
    request = {"report_roots": listed, "time_stamp_roots": listed, "now": NOW.isoformat()}
    set_: dict[int, tuple[int, int]] = {}
    out = BytesIO()
    with monkeypatch.context() as patch:
        patch.setattr(resource, "setrlimit", set_.__setitem__)
        patch.setattr(sys, "stdin", SimpleNamespace(buffer=BytesIO(json.dumps(request).encode() + b"\n" + data)))
        patch.setattr(sys, "stdout", SimpleNamespace(buffer=out))
        patch.setattr("logging.disable", lambda _: None)
        child.main()
    line, _, rest = out.getvalue().partition(b"\n")
    return json.loads(line), rest, set_


def test_the_process_limits_itself_and_says_its_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    value, rest, set_ = answer(monkeypatch, base())
    assert set_ == {
        resource.RLIMIT_CPU: (limits.CPU_SECONDS, limits.CPU_SECONDS + 2),
        resource.RLIMIT_AS: (limits.MEMORY_BYTES, limits.MEMORY_BYTES),
        resource.RLIMIT_FSIZE: (0, 0),
        resource.RLIMIT_NOFILE: (limits.OPEN_FILES, limits.OPEN_FILES),
        resource.RLIMIT_CORE: (0, 0),
    }
    (step,) = value["steps"]
    assert (step["title"], step["status"], step["code"]) == ("The PDF", "bad", "report.seal")
    assert (value["facts"], rest) == ({}, b"")


@pytest.mark.parametrize(
    ("data", "roots", "limit", "code", "status"),
    [
        (b"%PDF-1.7 nothing", True, None, "report.form", "bad"),
        (base(), False, None, "trust.missing", "unchecked"),
        (base(), True, len(base()), "report.seal", "bad"),
        (base(), True, len(base()) - 1, "report.limit", "unchecked"),
    ],
    ids=["no PDF", "no roots", "as large as may be", "too large"],
)
def test_what_the_process_refuses(
    monkeypatch: pytest.MonkeyPatch, data: bytes, roots: bool, limit: int | None, code: str, status: str
) -> None:
    monkeypatch.setattr(child, "MAX_PDF_BYTES", limit or limits.MAX_PDF_BYTES)
    value, rest, _ = answer(monkeypatch, data, roots=roots)
    assert [(step["code"], step["status"]) for step in value["steps"]] == [(code, status)]
    assert rest == b""


def test_an_encrypted_file_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from pyhanko.pdf_utils.reader import PdfFileReader

    monkeypatch.setattr(PdfFileReader, "encrypted", True)
    value, _, _ = answer(monkeypatch, base())
    assert value["steps"][0]["code"] == "report.form"
    assert "encrypted" in value["steps"][0]["lines"][0]


def test_memory_that_runs_out_is_no_verdict() -> None:
    def exhausted(*_: object) -> bytes:
        raise MemoryError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(child, "_check", exhausted)
        with pytest.raises(MemoryError):
            child.check(b"", child.Roots((), ()), Verdict("report"), now=NOW)


def test_how_a_signature_is_said() -> None:
    def line(*, certifying: bool, until: datetime) -> str:
        return child._said(Signed("sig-seal", "CN=x", "ab", until, NOW, certifying), NOW)

    assert line(certifying=True, until=NOW) == "sig-seal: sealed at 2026-05-04 06:00:00 UTC by CN=x, certificate ab"
    assert line(certifying=False, until=NOW - timedelta(seconds=1)) == (
        "sig-seal: signed at 2026-05-04 06:00:00 UTC by CN=x, certificate ab, "
        "expired since 2026-05-04: valid when it signed"
    )


def test_the_process_is_asked_with_what_the_reader_trusts(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    world = World()
    trust = world.write_trust(tmp_path / "trust")
    for name in ("report-root.crt", "tsa-root.crt"):
        (trust / name).write_bytes(OURS.root.public_bytes(serialization.Encoding.PEM))
    asked: list[Any] = []

    def run(command: list[str], **more: Any) -> Any:
        asked.append((command, more))
        code = 7 if len(asked) > 1 else 0
        said = {"title": "The PDF", "status": "bad", "lines": ["x"], "code": "report.form"}
        return SimpleNamespace(
            returncode=code, stderr=b"one\ntwo \xff\n", stdout=json.dumps({"steps": [said], "facts": {}}).encode()
        )

    monkeypatch.setattr(subprocess, "run", run)
    (step,) = report.verify_report(b"%PDF", TrustFolder.load(trust), now=NOW)
    assert (step.code, step.lines) == ("report.form", ["x"])
    command, more = asked[0]
    assert command == [sys.executable, "-m", "compliance.proof.report.child"]
    assert set(more["env"]) == {"PYTHONPATH", "PATH", "LC_ALL", "TZ"}
    assert more["timeout"] == limits.WALL_SECONDS
    line, _, data = more["input"].partition(b"\n")
    roots = [base64.b64encode(ROOT).decode()]
    assert json.loads(line) == {"report_roots": roots, "time_stamp_roots": roots, "now": NOW.isoformat()}
    assert data == b"%PDF"
    (step,) = report.verify_report(b"%PDF", TrustFolder.load(trust), now=NOW)
    assert (step.title, step.status, step.code) == ("A process of its own, with limits", "unchecked", "report.limit")
    assert "(7): two \ufffd" in step.lines[0]


def test_without_the_library_there_is_no_verdict(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    from compliance.proof.verify import verify_file

    trust = World().write_trust(tmp_path / "trust")
    (tmp_path / "report.pdf").write_bytes(b"%PDF-1.7")
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    verdict = verify_file(tmp_path / "report.pdf", trust)
    assert isinstance(verdict.error, NotCheckable)
    assert verdict.error.code == "file.unknown"
    assert "pyhanko is not installed" in verdict.error.detail
    assert verdict.kind == "report"
