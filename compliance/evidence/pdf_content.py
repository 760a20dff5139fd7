"""Which active content a PDF carries: scripts, actions, embedded files, forms that run code, encryption.

A scan, not a reader: names are looked for in the plain bytes and in object streams (ISO 32000-2 section 7.5.7), after
undoing the `#xx` escapes of names (7.3.5). It never executes, follows or repairs anything, and its work is bounded. It
can flag too much, for a name may occur in harmless text; evidence is flagged for the reviewer, not refused.
"""

import re
import zlib
from collections.abc import Iterator

MAX_INFLATED_BYTES = 64 * 1024 * 1024  # object streams of a 20 MiB file seldom pass 30 MiB; a bomb stops here

ACTIVE_NAMES = {
    b"JS": "script",
    b"JavaScript": "script",
    b"Launch": "starts programs",
    b"EmbeddedFile": "embedded file",
    b"EmbeddedFiles": "embedded file",
    b"OpenAction": "action on opening",
    b"AA": "automatic action",
    b"RichMedia": "rich media",
    b"XFA": "dynamic form",
    b"Encrypt": "encrypted",
}

_NAME = re.compile(rb"/([A-Za-z#][A-Za-z0-9#]{0,60})")
_STREAM = re.compile(rb"/ObjStm\b.{0,400}?stream\r?\n", re.DOTALL)
_ESCAPE = re.compile(rb"#([0-9A-Fa-f]{2})")


def active_content(data: bytes) -> tuple[str, ...]:
    """What a reviewer should know before opening the PDF `data`, in words, sorted; empty when nothing was seen."""
    found = set()
    for part in _parts(data):
        for match in _NAME.finditer(part):
            name = match[1]
            if b"#" in name:
                name = _ESCAPE.sub(lambda escape: bytes([int(escape[1], 16)]), name)
            if name in ACTIVE_NAMES:
                found.add(ACTIVE_NAMES[name])
    return tuple(sorted(found))


def _parts(data: bytes) -> Iterator[bytes]:
    yield data
    budget = MAX_INFLATED_BYTES
    for match in _STREAM.finditer(data):
        inflate = zlib.decompressobj()
        try:
            part = inflate.decompress(data[match.end() :], budget)
        except zlib.error:
            continue
        yield part
        budget -= len(part)
        if budget <= 0:
            return
