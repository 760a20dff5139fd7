"""Which active content a PDF carries: scripts, actions, embedded files, forms that run code, encryption.

A scan, not a reader: names are looked for in the plain bytes and in object streams (ISO 32000-2 section 7.5.7), after
undoing the `#xx` escapes of names (7.3.5). It never executes, follows or repairs anything, and its work is bounded. It
can flag too much, for a name may occur in harmless text; evidence is flagged for the reviewer, not refused.
"""

import re
import zlib
from functools import cache

MAX_INFLATED_BYTES = 64 * 1024 * 1024  # object streams of a 20 MiB file seldom pass 30 MiB; a bomb stops here
MAX_OBJECT_STREAMS = 2_000  # writers put 100 objects and more in each; the longest documents have some hundred
CHUNK_BYTES = 64 * 1024
NOT_ALL_SEARCHED = "too many object streams"  # what lies in those beyond the limits is unknown, and so told

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

_OBJECT_STREAM = re.compile(rb"/ObjStm\b")
_BEGINNING = re.compile(rb".{0,400}?stream\r?\n", re.DOTALL)


def active_content(data: bytes) -> tuple[str, ...]:
    """What a reviewer should know before opening the PDF `data`, in words, sorted; empty when nothing was seen."""
    found: set[str] = set()
    _look_for_names(data, found)
    inflated_left, input_left = MAX_INFLATED_BYTES, len(data)  # streams of a real file never lie over each other
    for number, match in enumerate(_OBJECT_STREAM.finditer(data)):
        if number == MAX_OBJECT_STREAMS or inflated_left <= 0 or input_left <= 0:
            found.add(NOT_ALL_SEARCHED)
            break
        beginning = _BEGINNING.match(data, match.end())
        if beginning is None:
            continue
        part, used = _inflated(memoryview(data)[beginning.end() :], inflated_left, input_left)
        _look_for_names(part, found)
        inflated_left -= len(part)
        input_left -= used
    return tuple(sorted(found))


def _look_for_names(part: bytes | bytearray, found: set[str]) -> None:
    """Add to `found` what the names in `part` say. Each thing is looked for until it is seen once, and no longer."""
    position = 0
    while names := [name for name, meaning in ACTIVE_NAMES.items() if meaning not in found]:
        match = _any_of(tuple(names)).search(part, position)
        if match is None:
            return
        found.add(ACTIVE_NAMES[names[(match.lastindex or 0) - 1]])
        position = match.end()


@cache
def _any_of(names: tuple[bytes, ...]) -> re.Pattern[bytes]:
    """One of these names, each in a group of its own, any of its letters written as it is or as `#xx`."""
    spelt = ("".join(f"(?:{chr(letter)}|#(?i:{letter:02x}))" for letter in name) for name in names)
    return re.compile(f"/(?:{'|'.join(f'({each})' for each in spelt)})(?![A-Za-z0-9#])".encode())


def _inflated(packed: memoryview, max_bytes: int, max_used: int) -> tuple[bytearray, int]:
    """What `packed` begins with, unpacked, and how many packed bytes that took; bounded by both limits.

    Piece by piece: zlib copies whatever it is given and does not need.
    """
    inflate, part, used = zlib.decompressobj(), bytearray(), 0
    try:
        while used < min(len(packed), max_used) and len(part) < max_bytes and not inflate.eof:
            piece = packed[used : used + CHUNK_BYTES]
            part += inflate.decompress(piece, max_bytes - len(part))
            used += len(piece) - len(inflate.unconsumed_tail) - len(inflate.unused_data)
    except zlib.error:
        pass  # broken or no stream: what came before the break counts
    return part, used
