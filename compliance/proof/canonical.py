"""Canonical form: RFC 8785 for the JSON we allow, where sorted compact spelling is enough.

Without floats and with member names in `[a-z0-9_]` the sorted compact spelling *is* RFC 8785 (code point order, UTF-16
order and byte order are one). The fast reader says yes or "don't know"; what is refused, `strict_json` alone decides.
"""

import re
from collections.abc import Collection
from typing import Any, Final, NoReturn

import msgspec
import orjson

from compliance.proof.errors import ProofError
from compliance.proof.strict_json import JSON, MAX_DEPTH, MAX_INTEGER, is_name, parse

MAX_EVENT_BYTES: Final = 60_000  # leaves room for batch, prev and salt below the 65,535 of a C2SP entry bundle
MAX_EVENT_LINE_BYTES: Final = 6 * MAX_EVENT_BYTES  # an escape spends six bytes where the canonical form has one
MAX_STRING_BYTES: Final = 8_192  # in events: a text that long is a file, and files go to evidence
_MAX_KNOWN_NAMES: Final = 8_192  # bounds the memory a stranger can make the set of known names use

_SORTED: Final = orjson.OPT_SORT_KEYS | orjson.OPT_STRICT_INTEGER
_PLAIN: Final = (
    orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_SUBCLASS | _SORTED
)
_DSSE_NAME: Final = ("payloadType",)  # DSSE's one name that is not of our form
_ASTRAL = re.compile(rb"[\xf0-\xf4]")


class _Unsure(Exception):
    """The fast reader cannot tell."""


def _no_float(_: str) -> NoReturn:
    raise _Unsure


_decode = msgspec.json.Decoder(float_hook=_no_float).decode
_dumps = orjson.dumps
_known_names: set[str] = set()


def encode(value: object) -> bytes:
    """The canonical bytes of `value`. Raises ProofError for what the strict reader would not take back."""
    try:
        data = _dumps(value, option=_PLAIN)
    except TypeError:
        data = b""
    if value and _read_fast(data, None, MAX_DEPTH + 2, _DSSE_NAME) == value:
        return data
    _require_plain(value, "", 1)
    if not data:
        raise ProofError("json.surrogate", "a string holds half of a surrogate pair")
    return data


def require_canonical(
    data: bytes,
    *,
    max_bytes: int,
    max_string_bytes: int | None = None,
    max_depth: int = MAX_DEPTH,
    extra_names: Collection[str] = (),
    place: str | None = None,
) -> JSON:
    """The value of `data`, which must be its own canonical form byte for byte."""
    if len(data) <= max_bytes:
        fast = _read_fast(data, max_string_bytes, max_depth, extra_names)
        if fast is not None:
            return fast
    value = parse(
        data,
        max_bytes=max_bytes,
        max_string_bytes=max_string_bytes,
        max_depth=max_depth,
        extra_names=extra_names,
        place=place,
    )
    if _dumps(value, option=_SORTED) != data:
        raise ProofError("json.not_canonical", "the bytes are not the canonical form of their value", place=place)
    return value


def read_event_line(line: bytes, *, place: str | None = None) -> tuple[dict[str, Any], bytes]:
    """The event a sender wrote as `line`, and its canonical bytes. Other white space and member order are fine.

    Reads the JSON only; `event.check_event` looks at what it says.
    """
    if len(line) <= MAX_EVENT_BYTES:
        value = _read_fast(line, MAX_STRING_BYTES, MAX_DEPTH, ())
        if value is not None:
            return value, line
    strict = parse(line, max_bytes=MAX_EVENT_LINE_BYTES, max_string_bytes=MAX_STRING_BYTES, place=place)
    if not isinstance(strict, dict):
        raise ProofError("event.member", "an event is a JSON object", place=place)
    canonical = _dumps(strict, option=_SORTED)
    if len(canonical) > MAX_EVENT_BYTES:
        raise ProofError("json.size", f"{len(canonical)} canonical bytes, at most {MAX_EVENT_BYTES} fit", place=place)
    return strict, canonical


def read_object(
    data: bytes,
    *,
    max_bytes: int,
    code: str,
    what: str,
    max_depth: int = MAX_DEPTH,
    max_string_bytes: int | None = None,
    extra_names: Collection[str] = (),
    place: str | None = None,
) -> dict[str, Any]:
    """A canonical document whose outermost value is an object; `code` is said if it is another value."""
    value = require_canonical(
        data,
        max_bytes=max_bytes,
        max_depth=max_depth,
        max_string_bytes=max_string_bytes,
        extra_names=extra_names,
        place=place,
    )
    if not isinstance(value, dict):
        raise ProofError(code, f"{what} is a JSON object", place=place)
    return value


def _read_fast(
    data: bytes, max_string_bytes: int | None, max_depth: int, extra_names: Collection[str]
) -> dict[str, Any] | None:
    """The object if `data` is certainly canonical and allowed, None if this cannot tell.

    Equality with the sorted re-spelling rules out white space, duplicate names, other escapes, -0, 01, bad UTF-8 and
    order; the options rule out large integers, the hook floats; astral characters are left to the strict reader.
    """
    try:
        value = _decode(data)
        if _dumps(value, option=_SORTED) != data:
            return None
    except (_Unsure, ValueError, TypeError, RecursionError):
        return None
    if type(value) is not dict or b"\\u0000" in data:
        return None
    if not data.isascii() and _ASTRAL.search(data):
        return None
    if max_string_bytes is not None and len(data) > max_string_bytes and _longest_string(value) > max_string_bytes:
        return None
    return value if _names_and_depth_fit(value, max_depth, extra_names) else None


def _names_and_depth_fit(value: dict[str, Any], max_depth: int, extra_names: Collection[str]) -> bool:
    if max_depth == 0 or not (_known_names.issuperset(value) or _learn(value, extra_names)):
        return False
    for item in value.values():
        kind = type(item)
        if kind is dict:
            if not _names_and_depth_fit(item, max_depth - 1, extra_names):
                return False
        elif kind is list and not _list_fits(item, max_depth - 1, extra_names):
            return False
    return True


def _list_fits(items: list[Any], max_depth: int, extra_names: Collection[str]) -> bool:
    if max_depth == 0:
        return False
    for item in items:
        kind = type(item)
        if kind is dict:
            if not _names_and_depth_fit(item, max_depth - 1, extra_names):
                return False
        elif kind is list and not _list_fits(item, max_depth - 1, extra_names):
            return False
    return True


def _learn(container: dict[str, Any], extra_names: Collection[str]) -> bool:
    for name in container.keys() - _known_names:
        if is_name(name):
            if len(_known_names) < _MAX_KNOWN_NAMES:
                _known_names.add(name)
        elif name not in extra_names:
            return False
    return True


def _longest_string(value: Any) -> int:
    longest, todo = 0, [value]
    while todo:
        item = todo.pop()
        if type(item) is str:
            if len(item) * 3 > longest:
                longest = max(longest, len(item.encode()))
        elif type(item) is dict:
            todo += item.values()
        elif type(item) is list:
            todo += item
    return longest


def _require_plain(value: object, pointer: str, depth: int) -> None:
    kind = type(value)
    if kind is str:
        if "\x00" in value:  # type: ignore[operator]
            raise ProofError("json.nul", "a NUL character in a string", pointer=pointer)
    elif kind is int:
        if abs(value) > MAX_INTEGER:  # type: ignore[arg-type]
            raise ProofError("json.number", f"beyond +-{MAX_INTEGER}; write it as a string", pointer=pointer)
    elif kind is dict or kind is list:
        if depth > MAX_DEPTH + 2:
            raise ProofError("json.depth", f"nested deeper than {MAX_DEPTH + 2}", pointer=pointer)
        if isinstance(value, dict):
            for name, item in value.items():
                if type(name) is not str or not (is_name(name) or name in _DSSE_NAME):
                    raise ProofError("json.name", f"{name!r} is no member name of ours", pointer=pointer)
                _require_plain(item, f"{pointer}/{name}", depth + 1)
        elif isinstance(value, list):
            for position, item in enumerate(value):
                _require_plain(item, f"{pointer}/{position}", depth + 1)
    elif value is not None and kind is not bool:
        raise ProofError("json.number", f"{kind.__name__} has no place in our JSON", pointer=pointer)
