"""Files inside a report, as the PDF holds them (ISO 32000-1 section 7.11.4, ISO 19005-3 annex E)."""

from typing import Any, Final

from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.reader import PdfFileReader

from compliance.proof.errors import ProofError

MAX_FILES: Final = 20
RELATIONSHIPS: Final = {"/Data", "/Supplement", "/Source"}


def read_files(reader: PdfFileReader) -> dict[str, bytes]:
    """Names and contents of the embedded files. Raises ProofError `report.attachment`."""
    if "/Names" not in reader.root or "/EmbeddedFiles" not in reader.root["/Names"]:
        raise ProofError("report.attachment", "no files are attached")
    tree = reader.root["/Names"]["/EmbeddedFiles"]
    if "/Kids" in tree or len(tree["/Names"]) % 2 or len(tree["/Names"]) > 2 * MAX_FILES:
        raise ProofError("report.attachment", "the list of attached files has another form")
    listed = list(tree["/Names"])
    files: dict[str, bytes] = {}
    for label, specification in zip(listed[::2], listed[1::2], strict=True):
        name, content = _file(label, specification)
        if name in files:
            raise ProofError("report.attachment", "two files with one name", place=name)
        files[name] = content
    _require_same_associated(reader, listed[1::2])
    return files


def _file(label: Any, specification: Any) -> tuple[str, bytes]:
    entry = specification.get_object() if isinstance(specification, generic.IndirectObject) else specification
    name = str(entry["/UF"])
    if str(entry["/F"]) != name or str(label) != name:
        raise ProofError("report.attachment", "a file with two names", place=name)
    if entry.get("/AFRelationship") not in RELATIONSHIPS:
        raise ProofError("report.attachment", "no known relationship to the report", place=name)
    contents = entry["/EF"]
    if set(contents) - {"/F", "/UF"}:
        raise ProofError("report.attachment", "a file for one system only", place=name)
    content = contents["/F"]
    if "/UF" in contents and contents["/UF"].data != content.data:
        raise ProofError("report.attachment", "one name with two contents", place=name)
    return name, bytes(content.data)


def _require_same_associated(reader: PdfFileReader, listed: list[Any]) -> None:
    associated = reader.root.get("/AF", [])
    if {_number(item) for item in associated} != {_number(item) for item in listed}:
        raise ProofError("report.attachment", "associated files and attached files differ")


def _number(value: Any) -> int:
    if not isinstance(value, generic.IndirectObject):
        raise ProofError("report.attachment", "an attached file without an object of its own")
    return int(value.idnum)
