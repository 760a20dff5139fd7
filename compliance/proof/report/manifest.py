"""The manifest of a report: what it says in values, and what the files beside it should be.

`report.json` (format `meterproof-report/1`) names number, log, checkpoint, and name, size and SHA-256 of every other
attached file. The same digests are printed in the report for people. Both lie under the seal.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from compliance.proof.errors import ProofError
from compliance.proof.strict_json import parse

MANIFEST: Final = "report.json"
FORMAT: Final = "meterproof-report/1"
BUNDLE_TYPE: Final = "application/vnd.meterproof.bundle+json"
MAX_MANIFEST_BYTES: Final = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Manifest:
    """What `report.json` promises."""

    number: str
    kind: str
    log: str
    checkpoint: str
    files: Mapping[str, Mapping[str, Any]]


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


def _read_manifest(data: bytes) -> Manifest:
    value: Any = parse(data, max_bytes=MAX_MANIFEST_BYTES, place=MANIFEST)
    try:
        if value["format"] != FORMAT:
            raise ProofError("report.attachment", f"the format is not {FORMAT}", place=MANIFEST)
        if type(value["attachments"]) is not list:
            raise ProofError("report.attachment", "attachments is a list", place=MANIFEST)
        files = {item["name"]: item for item in value["attachments"]}
        for item in files.values():
            texts = item["name"], item["sha256"], item["media_type"]
            if type(item["size"]) is not int or not all(type(text) is str for text in texts):
                raise ProofError(
                    "report.attachment", "an attachment has name, media_type, size, sha256", place=MANIFEST
                )
        stated = {name: value[name] for name in ("number", "kind", "log", "checkpoint")}
    except (KeyError, TypeError):
        raise ProofError("report.attachment", "the manifest lacks something", place=MANIFEST) from None
    if not all(type(text) is str for text in stated.values()) or len(files) != len(value["attachments"]):
        raise ProofError("report.attachment", "the manifest has another form", place=MANIFEST)
    return Manifest(**stated, files=files)
