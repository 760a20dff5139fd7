"""What may come in as an evidence file, and the checks before it is kept. Rules: docs/evidence.md.

A file is what its name's extension, its declared media type and its bytes agree on, and nothing else is let in. The
bytes are kept untouched; what a reviewer should know about them is said in `flags`. There is no virus scan here:
evidence that was not scanned says so.
"""

import csv
import io
import json
import re
import stat
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

import puremagic
from defusedxml import DefusedXmlException
from defusedxml import ElementTree as DefusedTree

from compliance.evidence import storage
from compliance.evidence.errors import IntakeRefused
from compliance.evidence.pdf_content import active_content

MAX_NAME_BYTES = 255  # an event's `evidence` member and most file systems end there
MAX_PIXELS = 50_000_000  # decoded at four bytes each this is 200 MB; nobody scans larger
MAX_PARSED_BYTES = 4 * 1024 * 1024  # as objects, JSON and rows take thirty times their bytes
MAX_ARCHIVE_ENTRIES = 1_000
MAX_ARCHIVE_RATIO = 100  # text compresses to a tenth or twentieth, bombs to a thousandth
MAX_ARCHIVE_BYTES = 1024 * 1024 * 1024
# zipfile unpacks these piece by piece; of bzip2 and LZMA it unpacks all that a piece gives, which may be gigabytes.
_BOUNDED_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})

# Path separators, C0 and C1 controls, line and paragraph separators, direction overrides, lone surrogates.
_UNSAFE_IN_NAMES = re.compile(r"[/\\\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class IncomingFile:
    """A file as somebody offers it."""

    name: str
    media_type: str
    content: IO[bytes]
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class TakenFile:
    """A file in the store."""

    sha256: str
    size: int
    media_type: str
    name: str
    flags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FileKind:
    """A kind of file we let in: what it may be called, and how its bytes are recognised. `examine` returns flags."""

    media_types: tuple[str, ...]
    extensions: tuple[str, ...]
    examine: Callable[[Path], tuple[str, ...]]


def take_in(file: IncomingFile) -> TakenFile:
    """Check `file` and keep its bytes. Raises IntakeRefused; then nothing is kept."""
    check_name(file.name)
    kind = _kind_of(file)
    with storage.temporary_copy(file.content) as (path, blob):
        storage.require_digest(blob, file.sha256)
        flags = kind.examine(path)
        storage.keep(path, blob)
    return TakenFile(blob.sha256, blob.size, kind.media_types[0], file.name, flags)


def check_name(name: str) -> None:
    """Raise IntakeRefused unless `name` is a plain file name that is safe in a header, a log line and a folder."""
    size = len(name.encode("utf-8", "surrogatepass"))
    if not 1 <= size <= MAX_NAME_BYTES:
        raise IntakeRefused("file.name", f"the file name must be 1 to {MAX_NAME_BYTES} bytes long")
    if name.strip(". ") == "" or _UNSAFE_IN_NAMES.search(name):
        raise IntakeRefused("file.name", "the file name may hold no path, control or direction character")


def _kind_of(file: IncomingFile) -> FileKind:
    extension = PurePosixPath(file.name).suffix.lower()
    kind = _BY_EXTENSION.get(extension)
    if kind is None:
        raise IntakeRefused(
            "file.type", f"files called *{extension} are not taken; taken are {', '.join(_BY_EXTENSION)}"
        )
    media_type = file.media_type.partition(";")[0].strip().lower()
    if media_type not in kind.media_types:
        raise IntakeRefused("file.type", f"*{extension} must be declared as {kind.media_types[0]}, not {media_type}")
    return kind


def _mismatch(what: str) -> IntakeRefused:
    return IntakeRefused("file.content", f"the content is not {what}, as its name says")


def _signed_by(signature: bytes, extension: str, path: Path, what: str) -> None:
    with path.open("rb") as file:
        head = file.read(2048)
    try:
        known = {match.extension for match in puremagic.magic_string(head)}
    except puremagic.PureError:
        known = set()
    if not head.startswith(signature) or extension not in known:
        raise _mismatch(what)


def _pdf(path: Path) -> tuple[str, ...]:
    _signed_by(b"%PDF-", ".pdf", path, "a PDF")
    data = path.read_bytes()
    if b"%%EOF" not in data[-2048:]:
        raise IntakeRefused("file.content", "the PDF is cut off: its end marker is missing")
    return active_content(data)


def _png(path: Path) -> tuple[str, ...]:
    _signed_by(b"\x89PNG\r\n\x1a\n", ".png", path, "a PNG image")
    with path.open("rb") as file:
        head = file.read(24)
    _require_pixels(int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big"), "a PNG image")
    return ()


def _jpeg(path: Path) -> tuple[str, ...]:
    _signed_by(b"\xff\xd8\xff", ".jpg", path, "a JPEG image")
    data = path.read_bytes()
    position = 2
    while position + 9 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # a start of frame: ITU-T T.81 table B.1
            height, width = data[position + 5 : position + 7], data[position + 7 : position + 9]
            _require_pixels(int.from_bytes(width, "big"), int.from_bytes(height, "big"), "a JPEG image")
            return ()
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    raise _mismatch("a JPEG image")


def _require_pixels(width: int, height: int, what: str) -> None:
    if width == 0 or height == 0:
        raise _mismatch(what)
    if width * height > MAX_PIXELS:
        raise IntakeRefused("file.too_large", f"the image has {width} x {height} pixels, more than {MAX_PIXELS}")


def _text(path: Path, what: str = "text") -> str:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise IntakeRefused("file.content", f"the content is not {what} in UTF-8 (byte {problem.start})") from problem
    if "\0" in text:
        raise _mismatch(what)
    if re.match(r"\s*<(!doctype\s+html|html|script|svg)\b", text, re.IGNORECASE):
        raise IntakeRefused("file.content", f"the content is a page with markup, not {what}, as its name says")
    return text


def _plain(path: Path) -> tuple[str, ...]:
    _text(path)
    return ()


def _require_parsable(path: Path, what: str) -> None:
    if path.stat().st_size > MAX_PARSED_BYTES:
        limit = MAX_PARSED_BYTES // 1024 // 1024
        raise IntakeRefused("file.too_large", f"{what} is read up to {limit} MiB; send it in a ZIP archive, or as PDF")


def _csv(path: Path) -> tuple[str, ...]:
    _require_parsable(path, "CSV")
    formulas = False
    try:
        for row in csv.reader(io.StringIO(_text(path, "CSV"), newline=""), strict=True):
            formulas = formulas or any(field[:1] in ("=", "@", "\t", "\r") for field in row)
    except csv.Error as problem:  # also fields over 128 KiB, the reader's own limit
        raise IntakeRefused("file.content", f"the content is not CSV: {problem}") from problem
    return ("formulas",) if formulas else ()


def _json(path: Path) -> tuple[str, ...]:
    _require_parsable(path, "JSON")
    try:
        json.loads(_text(path, "JSON"))
    except (ValueError, RecursionError) as problem:
        raise IntakeRefused("file.content", f"the content is not JSON: {problem}") from problem
    return ()


class _NoTree:
    """What expat's events go to: only that there is no error matters."""

    def close(self) -> None:
        """Called at the end of the document."""


def _xml(path: Path) -> tuple[str, ...]:
    _require_parsable(path, "XML")
    try:
        parser = DefusedTree.XMLParser(target=_NoTree(), forbid_dtd=True)
        parser.feed(path.read_bytes())  # at once: of pieces, expat reads a long token again with each
        parser.close()
    except (DefusedXmlException, DefusedTree.ParseError, LookupError, ValueError) as problem:
        raise IntakeRefused("file.content", f"the content is not XML we read: {problem}") from problem
    return ()


def _pem(path: Path) -> tuple[str, ...]:
    text = _text(path, "PEM")
    if not re.search(r"^-----BEGIN [A-Z0-9 ]+-----\r?$", text, re.MULTILINE):
        raise _mismatch("PEM")
    if "PRIVATE KEY-----" in text:
        raise IntakeRefused("file.secret", "the file holds a private key; secrets never come here")
    return ()


def _der(path: Path) -> tuple[str, ...]:
    data = path.read_bytes()
    if len(data) < 2 or data[0] != 0x30:
        raise _mismatch("DER")
    length, count = data[1], 0
    if length >= 0x80:
        count = length & 0x7F
        length = int.from_bytes(data[2 : 2 + count], "big")
    if count > 4 or 2 + count + length != len(data):
        raise _mismatch("DER")
    return ()


def _zip(path: Path) -> tuple[str, ...]:
    _signed_by(b"PK\x03\x04", ".zip", path, "a ZIP archive")
    try:
        with zipfile.ZipFile(path) as archive:
            return _archive(archive, path.stat().st_size)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError, ValueError) as problem:
        raise IntakeRefused("file.archive", f"the archive cannot be read: {problem}") from problem


def _archive(archive: zipfile.ZipFile, size: int) -> tuple[str, ...]:
    entries = archive.infolist()
    if not entries or len(entries) > MAX_ARCHIVE_ENTRIES:
        raise IntakeRefused(
            "file.archive", f"an archive holds 1 to {MAX_ARCHIVE_ENTRIES} files, this one {len(entries)}"
        )
    if sum(entry.compress_size for entry in entries) > size:
        raise IntakeRefused("file.archive", "files in the archive lie over each other")
    total = sum(entry.file_size for entry in entries)
    if total > MAX_ARCHIVE_BYTES or total > MAX_ARCHIVE_RATIO * size:
        raise IntakeRefused("file.archive", f"the archive would unpack to {total} bytes, more than we accept")
    flags = set()
    for entry in entries:
        path = PurePosixPath(entry.filename.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or ":" in entry.filename:
            raise IntakeRefused("file.archive", "a file in the archive would be unpacked outside its folder")
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise IntakeRefused("file.archive", "the archive holds a symbolic link")
        if entry.flag_bits & 0x1:
            flags.add("encrypted")
            continue
        if entry.compress_type not in _BOUNDED_METHODS:
            raise IntakeRefused(
                "file.archive", f"the archive is packed with method {entry.compress_type}; only deflate is taken"
            )
        with archive.open(entry) as content:
            if content.read(4) in (b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b\x08\x00", b"7z\xbc\xaf", b"Rar!"):
                raise IntakeRefused("file.archive", "the archive holds another archive")
    return tuple(sorted(flags))


KINDS = (
    FileKind(("application/pdf",), (".pdf",), _pdf),
    FileKind(("image/png",), (".png",), _png),
    FileKind(("image/jpeg",), (".jpg", ".jpeg"), _jpeg),
    FileKind(("text/csv",), (".csv",), _csv),
    FileKind(("application/json",), (".json",), _json),
    FileKind(("application/xml", "text/xml"), (".xml",), _xml),
    FileKind(("text/plain",), (".txt",), _plain),
    FileKind(("application/pkcs7-mime", "application/pkcs7-signature"), (".p7m",), _der),
    FileKind(("application/x-pem-file", "application/pem-certificate-chain"), (".pem",), _pem),
    FileKind(("application/pkix-cert", "application/octet-stream"), (".der",), _der),
    FileKind(("application/zip",), (".zip",), _zip),
)
_BY_EXTENSION = {extension: kind for kind in KINDS for extension in kind.extensions}
