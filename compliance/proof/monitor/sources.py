"""Where a monitor reads a log: a folder, or any web server that serves a C2SP tlog-tiles prefix.

Everything that comes from there may be wrong, endless or slow: each file has a largest size, each wait a limit, and
redirects are not followed.
"""

import http.client
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol, TypeVar
from urllib.parse import SplitResult, urlsplit

from compliance.proof import layout, merkle
from compliance.proof.errors import NotCheckable, ProofError
from compliance.proof.layout import TILE_WIDTH
from compliance.proof.log_folder import CHECKPOINT, MAX_ENTRY_BUNDLE_BYTES, MAX_TILE_BYTES
from compliance.proof.note import MAX_NOTE_BYTES

WAIT_SECONDS: Final = 30.0  # for the next bytes of an answer
Bytes = TypeVar("Bytes", bytes, bytearray)
_CHUNK: Final = 65_536
_GZIP: Final = 31  # zlib's word for "with the frame of gzip"


class Source(Protocol):
    """Files of a log by their path below its prefix."""

    def read(self, path: str, limit: int) -> bytes | None:
        """The bytes, None if there is no such file. Raises ProofError `json.size`, NotCheckable."""


class FolderSource:
    """A log that lies here, or was copied here."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        if not folder.is_dir():
            raise NotCheckable("file.missing", "there is no such folder", place=str(folder))

    def read(self, path: str, limit: int) -> bytes | None:
        """The file at `path`."""
        try:
            with (self._folder / path).open("rb") as file:
                return _within(file.read(limit + 1), limit, path)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None
        except OSError as error:
            raise NotCheckable("file.missing", error.strerror or "cannot be read", place=path) from None


class HttpSource:
    """A log behind `http://` or `https://`. `key` goes along as a bearer token, if there is one.

    `until` is the moment of `time.monotonic` at which the whole run has to be over.
    """

    def __init__(self, url: str, *, until: float, key: str = "") -> None:
        place = _place(url)
        if key and place.scheme == "http" and place.hostname not in ("127.0.0.1", "::1", "localhost"):
            raise NotCheckable("monitor.unreachable", "a key is not sent unencrypted; use https://", place=url)
        self._open: Callable[[], http.client.HTTPConnection] = lambda: (
            http.client.HTTPSConnection if place.scheme == "https" else http.client.HTTPConnection
        )(place.hostname or "", place.port, timeout=WAIT_SECONDS)
        self._prefix = place.path.rstrip("/")
        self._headers = {"User-Agent": "meterproof-monitor/1", "Accept-Encoding": "identity"}
        if key:
            self._headers["Authorization"] = f"Bearer {key}"
        self._until = until
        self._connection: http.client.HTTPConnection | None = None

    def read(self, path: str, limit: int) -> bytes | None:
        """The answer to `GET <prefix>/<path>`."""
        for attempt in ("kept", "new"):
            is_kept = self._connection is not None
            try:
                return self._get(path, limit)
            except ProofError:
                self._close()
                raise
            except (OSError, http.client.HTTPException, ValueError) as error:
                self._close()
                if attempt == "kept" and is_kept and not isinstance(error, TimeoutError):
                    continue  # servers end connections that were idle
                raise NotCheckable("monitor.unreachable", f"{type(error).__name__}: {error}", place=path) from None
        raise AssertionError("the second attempt ends in one way or the other")

    def _get(self, path: str, limit: int) -> bytes | None:
        self._require_time(path)
        if self._connection is None:
            self._connection = self._open()
        self._connection.request("GET", f"{self._prefix}/{path}", headers=self._headers)
        answer = self._connection.getresponse()
        body = bytearray()
        while chunk := answer.read1(_CHUNK):
            body += chunk
            self._require_time(path)
            _within(body, max(limit, _CHUNK), path)
        if answer.status in (http.client.NOT_FOUND, http.client.GONE):
            return None
        if answer.status != http.client.OK:
            raise NotCheckable("monitor.unreachable", f"answered {answer.status} {answer.reason}", place=path)
        if answer.headers.get("Content-Encoding", "identity") == "gzip":  # tlog-tiles allows it unasked
            try:
                return _within(zlib.decompressobj(_GZIP).decompress(bytes(body), limit + 1), limit, path)
            except zlib.error:
                raise ProofError("tile.size", "its compression is broken", place=path) from None
        return _within(bytes(body), limit, path)

    def _require_time(self, path: str) -> None:
        if time.monotonic() > self._until:
            raise NotCheckable("monitor.unreachable", "the time for this run is over (--deadline)", place=path)

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def open_source(text: str, *, until: float, key: str = "") -> Source:
    """The source that `text` names: an address or a folder."""
    return HttpSource(text, until=until, key=key) if "://" in text else FolderSource(Path(text))


def read_checkpoint(source: Source) -> str:
    """The signed note. Raises NotCheckable if there is none, ProofError `note.form`."""
    data = source.read(CHECKPOINT, MAX_NOTE_BYTES)
    if data is None:
        raise NotCheckable("file.missing", "no checkpoint is there", place=CHECKPOINT)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise ProofError("note.form", "not UTF-8", place=CHECKPOINT) from None


def read_tile(source: Source, level: int, index: int, width: int) -> bytes:
    """A hash tile, cut out of the full one where the partial one is gone. Raises `tile.missing`, `tile.size`."""
    path = layout.tile_path(level, index, width)
    data = source.read(path, MAX_TILE_BYTES)
    if data is None and width < TILE_WIDTH:
        full = source.read(layout.tile_path(level, index), MAX_TILE_BYTES)
        if full is not None and len(full) == MAX_TILE_BYTES:
            return full[: width * merkle.HASH_BYTES]
    if data is None:
        raise ProofError("tile.missing", "this tile belongs to the tree of the checkpoint", place=path)
    if len(data) != width * merkle.HASH_BYTES:
        raise ProofError("tile.size", f"{len(data)} bytes instead of {width} hashes", place=path)
    return data


def read_entries(source: Source, index: int, width: int) -> list[bytes]:
    """An entry bundle, cut out of the full one where the partial one is gone. Raises `tile.missing`, `entries.form`."""
    path = layout.entries_path(index, width)
    data = source.read(path, MAX_ENTRY_BUNDLE_BYTES)
    full = None
    if data is None and width < TILE_WIDTH:
        data = full = source.read(layout.entries_path(index), MAX_ENTRY_BUNDLE_BYTES)
    if data is None:
        raise ProofError("tile.missing", "this entry bundle belongs to the tree of the checkpoint", place=path)
    try:
        entries = layout.decode_entry_bundle(data)
    except ProofError as error:
        raise error.within(path) from None
    if len(entries) != (width if full is None else TILE_WIDTH):
        raise ProofError("entries.form", f"{len(entries)} entries instead of {width}", place=path)
    return entries[:width]


def _place(url: str) -> SplitResult:
    try:
        place = urlsplit(url)
        good = place.scheme in ("http", "https") and place.hostname and place.port != 0
    except ValueError:
        good = False
    if not good or place.username is not None or place.query or place.fragment:
        raise NotCheckable("monitor.unreachable", "not an address http(s)://host/path", place=url[:200])
    return place


def _within(data: Bytes, limit: int, path: str) -> Bytes:
    if len(data) > limit:
        raise ProofError("json.size", f"over {limit} bytes", place=path)
    return data
