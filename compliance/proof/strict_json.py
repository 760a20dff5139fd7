"""Strict reading of JSON: objects, arrays, strings, integers within +-(2^53-1), booleans and null, nothing ambiguous.

What RFC 8259 leaves to the reader (duplicate names, numbers no double can hold, lone surrogates, depth) is refused
here, with the place. One loop over an explicit stack: depth cannot exhaust the interpreter. This reader alone decides
what is refused; `canonical.py` has a faster one that may only say yes or "don't know".
"""

import re
from collections.abc import Collection
from functools import lru_cache
from typing import Final, NoReturn, TypeVar

from compliance.proof.errors import ProofError

JSON = dict[str, "JSON"] | list["JSON"] | str | int | bool | None

MAX_DEPTH: Final = 16  # the outermost object is 1; our deepest document needs 5, senders' data get the rest
MAX_INTEGER: Final = 2**53 - 1  # beyond it a reader that keeps doubles would see another number
BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"

_T = TypeVar("_T")

# Possessive quantifiers stand on single characters only: on groups, Python 3.11.0 to 3.11.4 accept what does not match
# (CPython issue 106052), `"\u"` for one. The loops below are linear without them.
_STRING: Final = r'"[^"\\\x00-\x1f]*+(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*+)*"'
_INTEGER: Final = r"-?(?:0|[1-9][0-9]*+)(?![0-9.eE])"
_TOKEN = re.compile(rf"[ \t\n\r]*+(?:({_STRING})([ \t\n\r]*+:)?|([{{}}\[\],])|({_INTEGER})|(true|false|null)(?!\w))")
_TEXT, _NAMED, _PUNCTUATION, _NUMBER, _LITERAL = 1, 2, 3, 4, 5  # groups of _TOKEN; _NAMED is a string and a colon
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})(?:\\u([0-9a-fA-F]{4}))?|(.))")
_SPACE = re.compile(r"[ \t\n\r]*+")
_OTHER_NUMBER = re.compile(r"-?(?:Infinity|NaN|(?:0|[1-9][0-9]*+)(?:\.[0-9]|[eE][+-]?[0-9]))")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_LITERALS: Final[dict[str, bool | None]] = {"true": True, "false": False, "null": None}
_SHORT_ESCAPES: Final = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_MAX_DIGITS: Final = 17  # sixteen digits and a sign: longer text is not worth converting
_CACHED_NAMES: Final = 8_192  # bounds the memory that a stranger's names can take


def parse(
    data: bytes,
    *,
    max_bytes: int,
    max_string_bytes: int | None = None,
    max_depth: int = MAX_DEPTH,
    extra_names: Collection[str] = (),
    place: str | None = None,
) -> JSON:
    """The value `data` spells, or ProofError with a `json.*` code and the place.

    `extra_names` are member names allowed beside `[a-z][a-z0-9_]{0,63}` (DSSE has one).
    """
    if len(data) > max_bytes:
        raise ProofError("json.size", f"{len(data)} bytes, at most {max_bytes} are read", place=place)
    return _Reader(_decode(data, place), max_string_bytes, max_depth, extra_names, place).read()


def split_members(data: bytes, *, place: str | None = None) -> list[tuple[str, bytes]]:
    """The top-level members of one JSON object as raw slices, unread but balanced; names may repeat."""
    return _Splitter(data, place).members()


def split_items(data: bytes, *, place: str | None = None) -> list[tuple[int, bytes]]:
    """The items of one JSON array as raw slices with their offset in `data`, unread but balanced."""
    return _Splitter(data, place).items()


@lru_cache(maxsize=_CACHED_NAMES)
def is_name(text: str) -> bool:
    """Whether `text` may be a member name."""
    return _NAME.fullmatch(text) is not None


def _decode(data: bytes, place: str | None) -> str:
    if data.startswith(BYTE_ORDER_MARK):
        raise ProofError("json.syntax", "begins with a byte order mark", place=place)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ProofError("json.utf8", f"byte {error.start} does not belong to UTF-8 text", place=place) from None


class _Reader:
    """One document being read; `containers` and `names` say where the loop is."""

    __slots__ = ("containers", "extra_names", "max_depth", "max_string_bytes", "names", "place", "text")

    def __init__(
        self,
        text: str,
        max_string_bytes: int | None,
        max_depth: int,
        extra_names: Collection[str],
        place: str | None,
    ) -> None:
        self.text = text
        self.max_string_bytes = max_string_bytes
        self.max_depth = max_depth
        self.extra_names = extra_names
        self.place = place
        self.containers: list[dict[str, JSON] | list[JSON]] = []
        self.names: list[str] = []

    def read(self) -> JSON:
        """The one value of the text. After a value comes a comma or a bracket; `wanted` says what comes elsewhere."""
        text, containers, names = self.text, self.containers, self.names
        match = _TOKEN.match
        value: JSON
        at, wanted = 0, "value"
        while True:
            token = match(text, at)
            if token is None:
                self._refuse_token(at, wanted)
            group = token.lastindex
            if wanted == "value" or wanted == "value or ]":
                if group == _TEXT:
                    value = self._string(token.group(_TEXT), token.start(_TEXT))
                elif group == _NUMBER:
                    value = self._integer(token.group(_NUMBER), token.start(_NUMBER))
                elif group == _LITERAL:
                    value = _LITERALS[token.group(_LITERAL)]
                elif group == _PUNCTUATION:
                    bracket = token.group(_PUNCTUATION)
                    if bracket == "{" or bracket == "[":
                        if len(containers) >= self.max_depth:
                            self._refuse("json.depth", f"nested deeper than {self.max_depth}", token.end() - 1)
                        containers.append({} if bracket == "{" else [])
                        names.append("")
                        at, wanted = token.end(), "name or }" if bracket == "{" else "value or ]"
                        continue
                    if bracket != "]" or wanted == "value":
                        self._refuse("json.syntax", "expected a value", token.end() - 1)
                    names.pop()
                    value = containers.pop()
                else:
                    self._refuse("json.syntax", "a colon where a comma or bracket belongs", token.end() - 1)
            elif group == _NAMED and wanted != "comma":
                self._take_name(token.group(_TEXT), token.start(_TEXT))
                at, wanted = token.end(), "value"
                continue
            elif group == _PUNCTUATION and token.group(_PUNCTUATION) == "}" and wanted == "name or }":
                names.pop()
                value = containers.pop()
            else:
                self._refuse("json.syntax", "expected a member name and a colon", token.end() - 1)
            at = token.end()
            while containers:
                container = containers[-1]
                if type(container) is list:
                    container.append(value)
                else:
                    container[names[-1]] = value  # type: ignore[call-overload]
                token = match(text, at)
                mark = token.group(_PUNCTUATION) if token is not None else None
                if token is None or mark is None:
                    self._refuse("json.syntax", "expected a comma or a closing bracket", self._skip(at))
                at = token.end()
                if mark == ",":
                    wanted = "value" if type(container) is list else "name"
                    break
                if mark != ("]" if type(container) is list else "}"):
                    self._refuse("json.syntax", "expected a comma or a closing bracket", at - 1)
                names.pop()
                value = containers.pop()
            else:
                at = self._skip(at)
                if at != len(text):
                    self._refuse("json.syntax", "something stands after the value", at)
                return value

    def _take_name(self, spelled: str, at: int) -> None:
        name = self._unescape(spelled[1:-1], at) if "\\" in spelled else spelled[1:-1]
        if name in self.containers[-1]:
            self._refuse("json.duplicate_name", f"the member {name!r} occurs twice", at)
        if not is_name(name) and name not in self.extra_names:
            self._refuse("json.name", f"{name[:80]!r} is no member name of ours ([a-z][a-z0-9_]*, at most 64)", at)
        self.names[-1] = name

    def _string(self, spelled: str, at: int) -> str:
        text = self._unescape(spelled[1:-1], at) if "\\" in spelled else spelled[1:-1]
        limit = self.max_string_bytes
        if limit is not None and len(text) * 4 > limit and len(text.encode()) > limit:
            self._refuse("json.string_size", f"a string of {len(text.encode())} bytes, at most {limit} fit", at)
        return text

    def _integer(self, digits: str, at: int) -> int:
        if digits == "-0":
            self._refuse("json.number", "minus zero is not written", at)
        if len(digits) > _MAX_DIGITS or abs(int(digits)) > MAX_INTEGER:
            self._refuse("json.number", f"beyond +-{MAX_INTEGER}; write it as a string", at)
        return int(digits)

    def _skip(self, at: int) -> int:
        space = _SPACE.match(self.text, at)
        return space.end() if space else at

    def _refuse_token(self, at: int, wanted: str) -> NoReturn:
        at = self._skip(at)
        if _OTHER_NUMBER.match(self.text, at) and wanted.startswith("value"):
            self._refuse("json.number", "only integers are numbers here; a decimal is written as a string", at)
        self._refuse("json.syntax", f"expected a {wanted}, well spelled and closed", at)

    def _unescape(self, raw: str, at: int) -> str:
        out: list[str] = []
        done = 0
        while (match := _ESCAPE.search(raw, done)) is not None:
            out.append(raw[done : match.start()])
            unit, second, short = match.groups()
            done = match.end()
            if short is not None:
                out.append(_SHORT_ESCAPES[short])
                continue
            code = int(unit, 16)
            if code == 0:
                self._refuse("json.nul", "a NUL character in a string", at)
            if 0xD800 <= code <= 0xDBFF and second is not None and 0xDC00 <= int(second, 16) <= 0xDFFF:
                code = 0x10000 + ((code - 0xD800) << 10) + (int(second, 16) - 0xDC00)
            else:
                if 0xD800 <= code <= 0xDFFF:
                    self._refuse("json.surrogate", f"\\u{unit} is half of a surrogate pair", at)
                done = match.start() + 6  # the second escape is read by itself
            out.append(chr(code))
        out.append(raw[done:])
        return "".join(out)

    def _refuse(self, code: str, detail: str, at: int) -> NoReturn:
        line = self.text.count("\n", 0, at) + 1
        column = at - self.text.rfind("\n", 0, at)
        pointer = ""
        for container, name in zip(self.containers, self.names, strict=True):
            pointer += f"/{len(container) if isinstance(container, list) else name}"
        where = f"line {line} column {column}" + (f", {pointer[:200]}" if pointer else "")
        error = ProofError(code, detail, place=where, pointer=pointer)
        if self.place:
            error.within(self.place)
        raise error


class _Splitter:
    """Finds where members or items begin and end, by strings and brackets alone, so that each can be read by itself."""

    _text = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*"', re.DOTALL)
    _scalar = re.compile(rb'[^\s\[\]{},:"]++')
    _to_bracket = re.compile(rb'[^"\[\]{}]*+(?:"[^"\\]*+(?:\\.[^"\\]*+)*"[^"\[\]{}]*+)*([\[\]{}])', re.DOTALL)
    _space = re.compile(rb"[ \t\n\r]*")
    _close = {b"{": b"}", b"[": b"]"}

    def __init__(self, data: bytes, place: str | None) -> None:
        self.data = data
        self.place = place

    def members(self) -> list[tuple[str, bytes]]:
        at = self._open(b"{")
        out: list[tuple[str, bytes]] = []
        if self._peek(at) == b"}":
            return self._finish(at + 1, out)
        while True:
            at = self._after_space(at)
            name = self._match(self._text, at)
            at = self._after_space(at + len(name))
            if self._peek(at) != b":":
                self._refuse("expected a colon after the member name", at)
            start = self._after_space(at + 1)
            at = self._skip_value(start)
            out.append((name[1:-1].decode("utf-8", "replace"), self.data[start:at]))
            at = self._after_space(at)
            if self._peek(at) == b"}":
                return self._finish(at + 1, out)
            if self._peek(at) != b",":
                self._refuse("expected a comma or the end of the object", at)
            at += 1

    def items(self) -> list[tuple[int, bytes]]:
        at = self._open(b"[")
        out: list[tuple[int, bytes]] = []
        if self._peek(at) == b"]":
            return self._finish(at + 1, out)
        while True:
            start = self._after_space(at)
            at = self._skip_value(start)
            out.append((start, self.data[start:at]))
            at = self._after_space(at)
            if self._peek(at) == b"]":
                return self._finish(at + 1, out)
            if self._peek(at) != b",":
                self._refuse("expected a comma or the end of the array", at)
            at += 1

    def _open(self, bracket: bytes) -> int:
        at = self._after_space(0)
        if self._peek(at) != bracket:
            self._refuse(f"expected {bracket.decode()}", at)
        return self._after_space(at + 1)

    def _finish(self, at: int, out: list[_T]) -> list[_T]:
        at = self._after_space(at)
        if at != len(self.data):
            self._refuse("something stands after the value", at)
        return out

    def _skip_value(self, at: int) -> int:
        first = self._peek(at)
        if first not in self._close:
            return at + len(self._match(self._text if first == b'"' else self._scalar, at))
        open_brackets = [self._close[first]]
        at += 1
        while open_brackets:
            match = self._to_bracket.match(self.data, at)
            if match is None:
                self._refuse("a bracket or a string never ends", at)
            bracket = match.group(1)
            at = match.end()
            if bracket in self._close:
                open_brackets.append(self._close[bracket])
            elif open_brackets.pop() != bracket:
                self._refuse("a bracket closes what was not opened", at - 1)
        return at

    def _match(self, pattern: re.Pattern[bytes], at: int) -> bytes:
        match = pattern.match(self.data, at)
        if match is None:
            self._refuse("ends too early" if at >= len(self.data) else "expected a value, well closed", at)
        return match.group()

    def _peek(self, at: int) -> bytes:
        return self.data[at : at + 1]

    def _after_space(self, at: int) -> int:
        match = self._space.match(self.data, at)
        return match.end() if match else at

    def _refuse(self, detail: str, at: int) -> NoReturn:
        line = self.data.count(b"\n", 0, at) + 1
        column = at - self.data.rfind(b"\n", 0, at)
        where = f"line {line} column {column}"
        raise ProofError("json.syntax", detail, place=f"{self.place}, {where}" if self.place else where)
