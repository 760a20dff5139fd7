"""A report that only lacks its drawing: HTML, attached files, and what the register keeps of it."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from compliance.reports.builders.attachments import attachment_facts, manifest
from compliance.reports.facts import AttachmentFacts, CheckpointFacts, Document
from compliance.reports.rendering import AttachedFile

Facts = TypeVar("Facts")


@dataclass(frozen=True, slots=True)
class Draft:
    """What is drawn."""

    html: str
    files: tuple[AttachedFile, ...]
    title: str
    checkpoint: CheckpointFacts
    made_at: datetime

    @classmethod
    def of(
        cls,
        document: Document,
        facts: Facts,
        files: Sequence[AttachedFile],
        page: Callable[[Facts, Sequence[AttachmentFacts]], str],
    ) -> "Draft":
        """The draft of `facts` with `files`; the manifest is put before them and all are named on the page."""
        attached = (manifest(document, facts, files), *files)
        html = page(facts, [attachment_facts(file) for file in attached])
        return cls(html, attached, document.title, document.checkpoint, document.prepared_at)

    @property
    def digest(self) -> str:
        """SHA-256 over the HTML and the digests of the files: equal drafts are drawn alike."""
        lines = [hashlib.sha256(self.html.encode()).hexdigest(), *(file.sha256 for file in self.files)]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()
