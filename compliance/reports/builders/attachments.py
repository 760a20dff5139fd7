"""The machine-readable half of a report: what it says in values, its tables as files, and the proof.

`report.json` is canonical JSON like everything else we sign, so it holds no decimals, and mappings with free names are
lists of name and value.
"""

import csv
import dataclasses
import io
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from enum import Enum
from typing import Any

from compliance.proof import canonical
from compliance.proof.report.manifest import BUNDLE_TYPE, FORMAT, MANIFEST
from compliance.reports.facts import AttachmentFacts, Document, EvidenceFacts, RequirementFacts
from compliance.reports.rendering import AttachedFile

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet would run such a cell (OWASP: CSV injection)
EVIDENCE_COLUMNS = (
    *("number", "title", "kind", "organisation", "state", "covers"),
    *("file_name", "media_type", "size", "sha256"),
)


def coverage_json(rows: Iterable[RequirementFacts], *, framework: Any) -> AttachedFile:
    """Every requirement with its state and reasons."""
    content = canonical.encode(
        {
            "format": "meterproof-coverage/1",
            "framework": values(framework),
            "requirements": [values(row) for row in rows],
        }
    )
    description = "Every requirement with its state and the reasons for it"
    return AttachedFile("coverage.json", "application/json", description, "Data", content)


def evidence_csv(rows: Iterable[EvidenceFacts]) -> AttachedFile:
    """Every evidence file, one a line, safe to open in a spreadsheet."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\r\n")
    writer.writerow(EVIDENCE_COLUMNS)
    for row in rows:
        writer.writerow([harmless(str(getattr(row, column))) for column in EVIDENCE_COLUMNS])
    description = "Every evidence file with its period, media type, size and SHA-256"
    return AttachedFile("evidence-manifest.csv", "text/csv", description, "Supplement", buffer.getvalue().encode())


def proof(bundle: bytes, *, name: str, description: str) -> AttachedFile:
    """The proof bundle."""
    return AttachedFile(name, BUNDLE_TYPE, description, "Supplement", bundle)


def manifest(document: Document, facts: Any, files: Sequence[AttachedFile]) -> AttachedFile:
    """`report.json`: the report in values, and what the other files are."""
    content = canonical.encode(
        {
            "format": FORMAT,
            "number": document.number,
            "kind": document.kind,
            "log": document.checkpoint.origin,
            "checkpoint": document.checkpoint.note,
            "attachments": [values(attachment_facts(file)) for file in files],
            "facts": values(facts),
        }
    )
    description = "This report in values, for machines, and the digests of the other files"
    return AttachedFile(MANIFEST, "application/json", description, "Data", content)


def attachment_facts(file: AttachedFile) -> AttachmentFacts:
    """What the report prints about a file."""
    return AttachmentFacts(file.name, file.description, file.media_type, len(file.content), file.sha256)


def harmless(cell: str) -> str:
    """`cell`, with an apostrophe before what a spreadsheet would take for a formula."""
    return f"'{cell}" if cell.startswith(FORMULA_STARTS) else cell


def values(fact: Any) -> Any:
    """A fact as JSON."""
    if dataclasses.is_dataclass(fact) and not isinstance(fact, type):
        return {field.name: values(getattr(fact, field.name)) for field in dataclasses.fields(fact)}
    if isinstance(fact, Mapping):
        return [{"name": values(name), "value": values(value)} for name, value in fact.items()]
    if isinstance(fact, Enum):
        return fact.value
    if isinstance(fact, datetime | date):
        return fact.isoformat()
    if isinstance(fact, tuple | list):
        return [values(item) for item in fact]
    return fact
