"""PDF files of reports below REPORT_DIR, named by their SHA-256. Written whole or not at all, never changed."""

import hashlib
from io import BytesIO
from pathlib import Path
from typing import IO

from django.conf import settings

from compliance.proof import durable_files
from compliance.reports.models import Report


class ArchiveDamaged(Exception):
    """The stored file is missing or is not the one that was issued."""


def store(data: bytes) -> str:
    """Keep `data` and return its name. The same bytes are kept once."""
    name = f"{hashlib.sha256(data).hexdigest()}.pdf"
    folder = _folder()
    if not (folder / name).exists():
        durable_files.replace(folder / name, data, mode=0o600)
    return name


def read(sha256: str) -> bytes:
    """The file with that digest. Raises ArchiveDamaged."""
    try:
        data = (_folder() / f"{sha256}.pdf").read_bytes()
    except FileNotFoundError:
        raise ArchiveDamaged(f"{sha256}.pdf is missing from the report folder") from None
    if hashlib.sha256(data).hexdigest() != sha256:
        raise ArchiveDamaged(f"{sha256}.pdf does not have the digest it is named by")
    return data


def open_issued(report: Report) -> IO[bytes]:
    """The issued PDF, its digest checked. Raises ArchiveDamaged."""
    return BytesIO(read(report.pdf_sha256))


def forget(sha256: str) -> None:
    """Remove a draft that is the leading part of an issued file."""
    (_folder() / f"{sha256}.pdf").unlink(missing_ok=True)


def _folder() -> Path:
    folder: Path = settings.METERPROOF["REPORT_DIR"]
    return folder
