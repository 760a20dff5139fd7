"""The manifest of an evidence item: one digest over everything said about it, as it stands in the log.

RFC 8785 canonical JSON of the organisation, kind, title, three times, files and links. Names and titles stay outside
the log itself: they may hold personal data, and a digest shows as well that they did not change.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

from compliance.evidence.intake import TakenFile
from compliance.evidence.models import Evidence
from compliance.proof import canonical
from compliance.proof.times import format_time


@dataclass(frozen=True, slots=True)
class Manifest:
    """What is said about an evidence item."""

    organisation: str
    kind: str
    title: str
    covers_from: datetime
    covers_to: datetime
    produced_at: datetime
    files: tuple[TakenFile, ...]
    links: tuple[tuple[str, str], ...]

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical manifest, in hex."""
        return sha256(
            canonical.encode(
                {
                    "organisation": self.organisation,
                    "kind": self.kind,
                    "title": self.title,
                    "covers_from": format_time(self.covers_from),
                    "covers_to": format_time(self.covers_to),
                    "produced_at": format_time(self.produced_at),
                    "files": [
                        {"sha256": file.sha256, "size": file.size, "media_type": file.media_type, "name": file.name}
                        for file in self.files
                    ],
                    "links": [{"kind": kind, "reference": reference} for kind, reference in sorted(self.links)],
                }
            )
        ).hexdigest()


def manifest_of(evidence: Evidence) -> Manifest:
    """The manifest that the stored rows of `evidence` give today."""
    return Manifest(
        organisation=evidence.organisation_id,
        kind=evidence.kind,
        title=evidence.title,
        covers_from=evidence.covers_from,
        covers_to=evidence.covers_to,
        produced_at=evidence.produced_at,
        files=tuple(
            TakenFile(file.sha256, file.size, file.media_type, file.name, flags=())  # no part of a manifest
            for file in evidence.files.all()
        ),
        links=tuple((link.kind, link.reference) for link in evidence.links.all()),
    )


def log_data(manifest: Manifest, *, submitter: dict[str, str]) -> dict[str, object]:
    """The `data` of the `evidence.received` entry."""
    return {
        "organisation": manifest.organisation,
        "kind": manifest.kind,
        "manifest_sha256": manifest.digest,
        "covers_from": format_time(manifest.covers_from),
        "covers_to": format_time(manifest.covers_to),
        "produced_at": format_time(manifest.produced_at),
        "submitter": submitter,
        "flags": [list(file.flags) for file in manifest.files],
    }


def log_files(files: Sequence[TakenFile]) -> list[dict[str, object]]:
    """The `evidence` member of that entry.

    Names are made from the digests: what a sender calls a file stays out of the log.
    """
    return [
        {
            "sha256": file.sha256,
            "size": file.size,
            "media_type": file.media_type,
            "name": f"{file.sha256[:16]}{_extension(file.name)}",
        }
        for file in files
    ]


def _extension(name: str) -> str:
    return f".{name.rpartition('.')[2].lower()}"
