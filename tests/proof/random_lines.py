"""Seeded random JSON lines with the faults that strict reading must see, for the test of the fast reader.

After the probe that measured the append path: valid lines, mutated bytes, duplicate names, exotic escapes, astral and
high names, integers round 2^53 and 2^64, floats, -0, surrogates, controls, DEL, U+2028, white space, NUL, bad UTF-8,
depth.
"""

import json
import random
from collections.abc import Iterator
from typing import Any

import orjson
import rfc8785

CHARACTERS = [
    *'abcXYZ019 _-.:,{}[]"\\/eE+',
    *"\x00\x01\x08\t\n\x0b\x0c\r\x1f\x7f\x80",
    *"\u00e4\u00df\u20ac\u2028\u2029\ue000\ufb33\uffff\ufeff\ud7ff\u0301",
    *"\U00010000\U0001f600\U0010ffff",
    *(":1.5", ",2e3", "\\u0000", '":3.5', "null", '":', ',"a":', '{"b":'),
]
NAMES = ["a", "b", "data", "id", "type", "x_1", "z9", "a" * 64]
ODD_NAMES = ["a" * 65, "A", "9", "é", "", "payloadType", "_a", "a-b"]
INTEGERS = [
    *(0, 1, -1, 7, 10**15, 2**53 - 1, -(2**53 - 1), 2**53, -(2**53), 2**53 + 1),
    *(2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**64 - 1, 2**64, 10**19, 10**30),
]
FLOATS = [0.0, -0.0, 1.0, 1.5, 1e21, 1e20, 1e-7, 1e-6, 5e-324, 1.7976931348623157e308, 4.50, 2e-3, 1e16]
ODD_NUMBERS = ["+1", "1E2", "NaN", "Infinity", "-Infinity", "1e400", "1" * 5000, ".5", "1.", "00", "-"]
FRAGMENTS = [
    *(b"\xed\xa0\x80", b"\\ud800", b"\\udc00", b"\xc0\x80", b"\xef\xbb\xbf", b"\\u0000", b"\x7f", b"\xf4\x90\x80\x80"),
    *(b"\\ud83d\\ude00", b"\xf0\x9f\x98\x80", b"\xff", b"\\/", b"\x00"),
]


VARIANTS = 4


def lines(count: int, seed: int) -> Iterator[bytes]:
    """`count` lines that `seed` determines: each fourth is new, the three after it are that one with one fault."""
    line = b""
    maker = _Maker(random.Random(seed))  # noqa: S311 - reproducible test data
    for number in range(count):
        if number % VARIANTS == 0:
            line = maker.line()
            yield line
        else:
            yield maker.mutate(line)


class _Maker:
    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.faults: dict[str, float] = {}

    def line(self) -> bytes:
        rng = self.rng
        if rng.random() < 0.002:
            depth = rng.choice((14, 15, 16, 17, 100, 3_000))
            return b'{"a":' + b"[" * depth + b"]" * depth + b"}"
        if rng.random() < 0.002:
            return b'{"a":"' + rng.choice((b"x", "ü".encode(), b"\\n")) * rng.choice((4_096, 8_192, 8_193)) + b'"}'
        value = {self.name(): self.value() for _ in range(rng.randrange(1, 5))} if rng.random() < 0.97 else self.value()
        clean = rng.random() < 0.6
        self.faults = dict.fromkeys(("space", "twice", "escape", "number"), 0.0 if clean else 0.1)
        if rng.random() < 0.3:
            try:
                return rfc8785.dumps(value)
            except (ValueError, rfc8785.CanonicalizationError):
                return self.spell(value).encode("utf-8", "surrogatepass")
        return self.spell(value).encode("utf-8", "surrogatepass")

    def text(self) -> str:
        return "".join(self.rng.choice(CHARACTERS) for _ in range(self.rng.choice((0, 1, 1, 2, 3, 6))))

    def name(self) -> str:
        kind = self.rng.random()
        if kind < 0.03:
            return self.text()
        return self.rng.choice(ODD_NAMES if kind < 0.06 else NAMES)

    def value(self, depth: int = 0) -> Any:
        rng = self.rng
        kind = rng.random()
        if depth < 3 and kind < 0.25:
            return {self.name(): self.value(depth + 1) for _ in range(rng.randrange(4))}
        if depth < 3 and kind < 0.4:
            return [self.value(depth + 1) for _ in range(rng.randrange(4))]
        if kind < 0.7:
            return self.text()
        if kind < 0.9:
            return rng.choice(INTEGERS) if rng.random() < 0.2 else rng.randrange(-(10**6), 10**6)
        if kind < 0.93:
            return rng.choice(FLOATS)
        return rng.choice((True, False, None))

    def spell(self, value: Any) -> str:
        rng = self.rng
        if isinstance(value, dict):
            items = list(value.items())
            order = rng.choice(("utf-16", "code point", "code point", "any"))
            if order == "utf-16":
                items.sort(key=lambda item: item[0].encode("utf-16-be", "surrogatepass"))
            elif order == "code point":
                items.sort(key=lambda item: item[0])
            else:
                rng.shuffle(items)
            if items and rng.random() < self.faults["twice"]:
                name, item = rng.choice(items)
                again = item if rng.random() < 0.5 else self.value(3)
                items.insert(rng.randrange(len(items) + 1), (name, again))
            parts = (
                f"{self.space()}{self.string(name)}{self.space()}:{self.space()}{self.spell(item)}"
                for name, item in items
            )
            return "{" + ",".join(parts) + self.space() + "}"
        if isinstance(value, list):
            return "[" + ",".join(self.space() + self.spell(item) for item in value) + "]"
        if isinstance(value, str):
            return self.string(value)
        if value is None or isinstance(value, bool):
            return {True: "true", False: "false", None: "null"}[value]
        if isinstance(value, int):
            if rng.random() < self.faults["number"]:
                return rng.choice((*ODD_NUMBERS, "-0", f"{value}.0", f"{value}e0", f"0{value}"))
            return str(value)
        return rng.choice((repr(value), rfc8785.dumps(value).decode(), orjson.dumps(value).decode(), f"{value:.17g}"))

    def space(self) -> str:
        return self.rng.choice((" ", "\t", "\r", "\n")) if self.rng.random() < self.faults["space"] else ""

    def string(self, text: str) -> str:
        if not self.faults["escape"]:
            return json.dumps(text, ensure_ascii=False)
        out = ['"']
        for character in text:
            if self.rng.random() >= self.faults["escape"]:
                out.append(json.dumps(character, ensure_ascii=False)[1:-1])
                continue
            units = character.encode("utf-16-be", "surrogatepass").hex()
            escaped = "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))
            out.append(self.rng.choice((escaped, escaped.upper().replace("\\U", "\\u"))))
        return "".join(out) + '"'

    def mutate(self, data: bytes) -> bytes:
        rng = self.rng
        if not data:
            return data
        at = rng.randrange(len(data))
        match rng.randrange(5):
            case 0:
                return data[:at] + bytes([rng.randrange(256)]) + data[at:]
            case 1:
                return data[:at] + data[at + 1 :]
            case 2:
                return data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :]
            case 3:
                return data[:at] + rng.choice(FRAGMENTS) + data[at:]
            case _:
                return data + rng.choice((b" ", b"\n", b"\x00", b"{}", b","))
