"""Files inside a report, and the manifest that says what they should be.

`report.json` (format `meterproof-report/1`) is what the report says in values: number, log, checkpoint, and name, size and
SHA-256 of every other attached file. The same digests are printed in the report for people. Both lie under the seal.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.reader import PdfFileReader

from compliance.proof.errors import ProofError
from compliance.proof.strict_json import parse

MANIFEST: Final = "report.json"
FORMAT: Final = "meterproof-report/1"
MAX_FILES: Final = 20
MAX_MANIFEST_BYTES: Final = 32 * 1024 * 1024
BUNDLE_TYPE: Final = "application/vnd.meterproof.bundle+json"
RELATIONSHIPS: Final = {"/Data", "/Supplement", "/Source"}


@dataclass(frozen=True, slots=True)
class Manifest:
    """What `report.json` promises."""

    number: str
    kind: str
    log: str
    checkpoint: str
    files: Mapping[str, Mapping[str, Any]]


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


def check_files(files: Mapping[str, bytes]) -> Manifest:
    """The manifest, once every file is what it says. Raises ProofError `report.attachment`."""
    if MANIFEST not in files:
        raise ProofError("report.attachment", f"there is no {MANIFEST}")
    manifest = _read_manifest(files[MANIFEST])
    beside = files.keys() - {MANIFEST}
    if beside != manifest.files.keys():
        odd = sorted(beside ^ manifest.files.keys())
        raise ProofError("report.attachment", "attached files and the manifest's list differ", place=odd[0])
    for name, stated in manifest.files.items():
        content = files[name]
        if (len(content), hashlib.sha256(content).hexdigest()) != (stated["size"], stated["sha256"]):
            raise ProofError("report.attachment", "the file is not the one the manifest names", place=name)
    return manifest


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
    associated = reader.root["/AF"] if "/AF" in reader.root else []
    if {_number(item) for item in associated} != {_number(item) for item in listed}:
        raise ProofError("report.attachment", "associated files and attached files differ")


def _number(value: Any) -> int:
    if not isinstance(value, generic.IndirectObject):
        raise ProofError("report.attachment", "an attached file without an object of its own")
    return int(value.idnum)


def _read_manifest(data: bytes) -> Manifest:
    value = parse(data, max_bytes=MAX_MANIFEST_BYTES, place=MANIFEST)
    try:
        if value["format"] != FORMAT:
            raise ProofError("report.attachment", f"the format is not {FORMAT}", place=MANIFEST)
        files = {item["name"]: item for item in value["attachments"]}
        for item in files.values():
            if type(item["size"]) is not int or type(item["sha256"]) is not str or type(item["media_type"]) is not str:
                raise ProofError("report.attachment", "an attachment has name, media_type, size, sha256", place=MANIFEST)
        texts = [value["number"], value["kind"], value["log"], value["checkpoint"]]
    except (KeyError, TypeError):
        raise ProofError("report.attachment", "the manifest lacks something", place=MANIFEST) from None
    if not all(type(text) is str for text in texts) or len(files) != len(value["attachments"]):
        raise ProofError("report.attachment", "the manifest has another form", place=MANIFEST)
    return Manifest(*texts, files=files)
