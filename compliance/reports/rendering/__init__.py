"""From HTML to an unsigned PDF/A-3a + PDF/UA-1, the same bytes for the same input, drawn in a process of its own."""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from compliance.reports.rendering.glyphs import legible

WALL_SECONDS = 300  # the child's own limit of processor time ends it first, unless the machine sleeps
PROJECT = Path(__file__).resolve().parents[3]
# No system font: what is drawn must not depend on the machine.
FONT_CONFIGURATION = (
    '<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "urn:fontconfig:fonts.dtd">'
    "<fontconfig><cachedir>{folder}</cachedir></fontconfig>"
)


class RenderFailed(Exception):
    """WeasyPrint complained, or did not finish. `complaints` are its lines."""

    def __init__(self, complaints: Sequence[str]) -> None:
        super().__init__("; ".join(complaints))
        self.complaints = tuple(complaints)


@dataclass(frozen=True, slots=True)
class AttachedFile:
    """A file inside the report."""

    name: str
    media_type: str
    description: str
    relationship: Literal["Data", "Supplement", "Source"]  # AFRelationship, ISO 19005-3 annex E
    content: bytes

    @property
    def sha256(self) -> str:
        """Digest of the content, hex."""
        return hashlib.sha256(self.content).hexdigest()


@dataclass(frozen=True, slots=True)
class UnsignedPdf:
    """What was drawn."""

    data: bytes
    pages: int


def render(html: str, *, attachments: Sequence[AttachedFile] = (), made_at: datetime) -> UnsignedPdf:
    """Draw `html` with `attachments`. Raises RenderFailed, also for what WeasyPrint only logs.

    `made_at` becomes the date of the attachments; the document's own dates stand in the HTML.
    """
    shown = legible(html)
    request = {
        "html": shown,
        "made_at": made_at.isoformat(),
        "identifier": _identifier(shown, attachments),
        "attachments": [
            {
                "name": attached.name,
                "description": attached.description,
                "relationship": attached.relationship,
                "size": len(attached.content),
            }
            for attached in attachments
        ],
    }
    message = json.dumps(request).encode() + b"\n" + b"".join(attached.content for attached in attachments)
    answer, _, pdf = _drawn(message).partition(b"\n")
    result = json.loads(answer)
    if result["failure"]:
        raise RenderFailed(result["failure"])
    return UnsignedPdf(pdf, result["pages"])


def _drawn(message: bytes) -> bytes:
    with tempfile.TemporaryDirectory(prefix="meterproof-render-") as folder:
        configuration = Path(folder, "fonts.conf")
        configuration.write_text(FONT_CONFIGURATION.format(folder=folder), encoding="utf-8")
        environment = {
            "FONTCONFIG_FILE": str(configuration),
            "HOME": folder,
            "LC_ALL": "C.UTF-8",
            "PATH": os.environ.get("PATH", os.defpath),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": str(PROJECT),
            "PYTHONWARNINGS": "ignore",  # Fontconfig says that it knows no system font, which is what we want
            "TMPDIR": folder,
            "TZ": "UTC",
        }
        command = [sys.executable, "-m", "compliance.reports.rendering.child"]
        try:
            child = subprocess.run(
                command,
                input=message,
                capture_output=True,
                env=environment,
                cwd=folder,
                timeout=WALL_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise RenderFailed([f"not drawn within {WALL_SECONDS} seconds"]) from error
    if child.returncode:
        tail = child.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
        raise RenderFailed([f"the drawing process ended with {child.returncode}", *tail])
    return child.stdout


def _identifier(html: str, attachments: Sequence[AttachedFile]) -> str:
    digest = hashlib.sha256(html.encode())
    for attached in attachments:
        digest.update(attached.name.encode() + b"\0" + attached.sha256.encode())
    return digest.hexdigest()[:32]
