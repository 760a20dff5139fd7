"""Evidence files of the simulated organisations: small, real files in the formats people send."""

import csv
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cached_property
from typing import Any


@dataclass(frozen=True)
class Paper:
    """One file with what its sender says about it. `links` are (kind, reference), as the evidence form knows them."""

    organisation: str
    name: str
    media_type: str
    content: bytes = field(repr=False)
    title: str
    kind: str
    covers_from: date
    covers_until: date
    produced_at: datetime
    links: tuple[tuple[str, str], ...] = ()
    verdict: str = ""  # what the auditor will do: "accept", "return", or leave it

    @cached_property
    def sha256(self) -> str:
        """Digest of the content."""
        return hashlib.sha256(self.content).hexdigest()

    @property
    def reference(self) -> dict[str, Any]:
        """How an event names it."""
        return {
            "sha256": self.sha256,
            "size": len(self.content),
            "media_type": self.media_type,
            "name": self.name,
        }


def as_csv(header: Sequence[str], rows: Sequence[Sequence[object]]) -> bytes:
    """A comma separated file with a header line (RFC 4180)."""
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(header)
    writer.writerows(rows)
    return out.getvalue().encode()


def as_json(value: Mapping[str, Any] | Sequence[Any]) -> bytes:
    """An indented JSON file."""
    return json.dumps(value, indent=1, sort_keys=True).encode() + b"\n"


def as_text(lines: Sequence[str]) -> bytes:
    """A plain text file."""
    return ("\n".join(lines) + "\n").encode()


def as_pdf(title: str, lines: Sequence[str]) -> bytes:
    """A one-page PDF 1.4 with a heading and lines of text in a standard font. Source: ISO 32000-1 section 7.5."""
    shown = [f"BT /F1 16 Tf 56 780 Td ({_escape(title)}) Tj ET"]
    shown += [f"BT /F1 10 Tf 56 {750 - 15 * row} Td ({_escape(line)}) Tj ET" for row, line in enumerate(lines)]
    page = "\n".join(shown).encode("latin-1", "replace")
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R"
        b" /Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(page), page),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    ]
    out = io.BytesIO()
    out.write(b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n")
    places = []
    for number, body in enumerate(objects, start=1):
        places.append(out.tell())
        out.write(b"%d 0 obj\n%s\nendobj\n" % (number, body))
    table = out.tell()
    out.write(b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1))
    out.writelines(b"%010d 00000 n \n" % place for place in places)
    out.write(b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, table))
    return out.getvalue()


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")
