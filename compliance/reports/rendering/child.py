"""The process that draws: `python -m compliance.reports.rendering.child`, one report, then it ends.

It has limits of its own, no Django, no database and nothing to fetch, and gives back the memory that WeasyPrint keeps.
Standard input: one line of JSON (`html`, `made_at`, `identifier`, `attachments`), then the attachments' bytes. Standard
output: one line of JSON (`failure`, `pages`), then the PDF.
"""

import gc
import json
import logging
import mimetypes
import resource
import sys
from datetime import datetime
from io import BytesIO
from typing import Any, BinaryIO

CPU_SECONDS = 120  # a table of 10,000 rows takes 100; our longest has a few hundred
MEMORY_BYTES = 2 << 30
WRITTEN_FILE_BYTES = 32 << 20  # unpacked fonts go to a temporary folder
OUR_FAMILIES = frozenset({"Plex", "PlexMono"})  # as report.css calls the shipped fonts


class LogLines(logging.Handler):
    """Keeps what WeasyPrint complains about: it draws on after errors, and such a page must not be sealed."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the line."""
        self.lines.append(record.getMessage()[:300])


def main() -> None:
    """Draw what standard input asks for."""
    _limit()
    gc.disable()  # the process ends with the report: what it leaves behind is freed then
    request = json.loads(sys.stdin.buffer.readline())
    answer, pdf = draw(request, sys.stdin.buffer)
    sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n" + pdf)


def draw(request: dict[str, Any], contents: BinaryIO) -> tuple[dict[str, object], bytes]:
    """The answer and the PDF; an empty PDF goes with a failure."""
    mimetypes.init(files=[])  # the machine's own list of types would change the bytes
    try:
        from weasyprint import HTML
        from weasyprint.urls import FatalURLFetchingError
    except OSError as error:
        return {"failure": [f"WeasyPrint cannot start: {error}"]}, b""
    from compliance.reports.rendering.conformance import AccessibleArchiveMetadata, ForeignFont, finisher
    from compliance.reports.rendering.fetcher import BASE_URL, AssetFetcher

    complaints = LogLines()
    logging.getLogger("weasyprint").addHandler(complaints)
    output = BytesIO()
    try:
        source = HTML(string=request["html"], base_url=BASE_URL, url_fetcher=AssetFetcher())
        document = source.render(pdf_forms=True)
        document.metadata.__class__ = AccessibleArchiveMetadata
        document.write_pdf(
            output,
            pdf_variant="pdf/a-3a",
            pdf_forms=True,
            finisher=finisher(OUR_FAMILIES),
            attachments=_attachments(request, contents),
            pdf_identifier=bytes.fromhex(request["identifier"]),
        )
    except FatalURLFetchingError as error:
        return {"failure": [str(error)]}, b""
    except ForeignFont as error:
        return {"failure": [f"drawn with a font that is not ours: {error}"]}, b""
    if complaints.lines:
        return {"failure": complaints.lines[:20]}, b""
    return {"failure": [], "pages": len(document.pages)}, output.getvalue()


def _attachments(request: dict[str, Any], contents: BinaryIO) -> list[object]:
    from weasyprint import Attachment

    made_at = datetime.fromisoformat(request["made_at"])
    return [
        Attachment(
            file_obj=BytesIO(contents.read(item["size"])),
            name=item["name"],
            description=item["description"],
            relationship=item["relationship"],
            created=made_at,
            modified=made_at,
        )
        for item in request["attachments"]
    ]


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 5))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (WRITTEN_FILE_BYTES, WRITTEN_FILE_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    main()
