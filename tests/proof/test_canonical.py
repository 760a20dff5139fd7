"""Canonical form against RFC 8785, and the fast reader against the strict one."""

import json
import struct
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from compliance.proof import canonical
from compliance.proof.canonical import MAX_EVENT_BYTES, MAX_STRING_BYTES, encode, read_event_line, require_canonical
from compliance.proof.errors import ProofError
from compliance.proof.strict_json import MAX_DEPTH, parse
from tests.proof.random_lines import lines
from tests.proof.vectors import VECTORS

LINES_A_SEED = 25_000
SEEDS = range(8)

NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,12}", fullmatch=True)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=20,
)
OBJECTS = st.dictionaries(NAMES, VALUES, max_size=6)


def strict_canonical(line: bytes) -> Any:
    """The reference: strict reading alone, then equality with the RFC 8785 package."""
    value = parse(line, max_bytes=MAX_EVENT_BYTES, max_string_bytes=MAX_STRING_BYTES)
    return value if isinstance(value, dict) and rfc8785.dumps(value) == line else None


def test_the_lines_of_one_run_are_two_hundred_thousand():
    assert LINES_A_SEED * len(SEEDS) >= 200_000


@pytest.mark.parametrize("seed", SEEDS)
def test_the_fast_reader_accepts_nothing_that_the_strict_one_refuses(seed):
    """F50-F54: over 200,000 random lines a run, no wrong yes, equal values, and the fast reader does say yes."""
    accepted = certain = 0
    for line in lines(LINES_A_SEED, seed):
        fast = canonical._read_fast(line, MAX_STRING_BYTES, MAX_DEPTH, ())
        try:
            strict = strict_canonical(line)
        except ProofError:
            strict = None
        accepted += strict is not None
        if fast is not None:
            certain += 1
            assert strict is not None, line
            assert repr(fast) == repr(strict), line
    assert accepted > LINES_A_SEED // 20, "the generator makes too few good lines to say anything"
    assert certain > accepted // 2, "the fast reader never says yes"


@pytest.mark.parametrize("seed", [97, 98])
def test_reading_an_event_line_agrees_with_reading_it_slowly(seed):
    """Whatever the spelling: same value, same refusal, and the canonical bytes are RFC 8785's."""
    for line in lines(5_000, seed):
        value, data, code = outcome(line)
        if code:
            assert slow_code(line) == code
        else:
            assert data == rfc8785.dumps(value)
            assert json.loads(line) == value


def outcome(line: bytes) -> tuple[Any, bytes, str | None]:
    """Value, canonical bytes and reason code of reading `line` as an event."""
    try:
        return (*read_event_line(line), None)
    except ProofError as refused:
        return None, b"", refused.code


def slow_code(line: bytes) -> str | None:
    """The reason code of reading `line` strictly, without the fast reader."""
    try:
        value = parse(line, max_bytes=canonical.MAX_EVENT_LINE_BYTES, max_string_bytes=MAX_STRING_BYTES)
    except ProofError as refused:
        return refused.code
    return None if isinstance(value, dict) else "event.member"


@given(OBJECTS)
def test_encoding_is_rfc_8785_and_reads_back(value):
    data = encode(value)
    assert data == rfc8785.dumps(value)
    assert require_canonical(data, max_bytes=10**6) == value
    assert read_event_line(json.dumps(value, indent=2).encode()) == (value, data)


@given(OBJECTS, st.data())
def test_another_spelling_is_not_canonical(value, data):
    spelled = data.draw(st.sampled_from([json.dumps(value, indent=1), json.dumps(value) + " ", json.dumps(value)]))
    if spelled.encode() == encode(value):
        return
    with pytest.raises(ProofError) as refused:
        require_canonical(spelled.encode(), max_bytes=10**6)
    assert refused.value.code == "json.not_canonical"


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ({"a": 1.0}, "json.number"),
        ({"a": 2**53}, "json.number"),
        ({"a": -(2**53)}, "json.number"),
        ({"a": float("nan")}, "json.number"),
        ({"a": "\ud800"}, "json.surrogate"),
        ({"a": "\x00"}, "json.nul"),
        ({"A": 1}, "json.name"),
        ({"a" * 65: 1}, "json.name"),
        ({1: 1}, "json.name"),
        ({"a": b"bytes"}, "json.number"),
        ({"a": (1, 2)}, "json.number"),
    ],
    ids=repr,
)
def test_what_could_not_be_read_back_is_not_encoded(value, code):
    with pytest.raises(ProofError) as refused:
        encode(value)
    assert refused.value.code == code


def nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth - 1):
        value = {"a": value}
    return value


def test_encoding_stops_two_levels_below_the_readers_limit():
    """An entry holds an event of sixteen levels, and something may hold the entry."""
    deepest = nested(MAX_DEPTH + 2)
    assert parse(encode(deepest), max_bytes=1_000, max_depth=MAX_DEPTH + 2) == deepest
    for depth in (MAX_DEPTH + 3, 40):
        with pytest.raises(ProofError) as refused:
            encode(nested(depth))
        assert refused.value.code == "json.depth"


@pytest.mark.parametrize("line", [b"[]", b"1", b'"a"', b"null"])
def test_an_event_line_is_an_object(line):
    with pytest.raises(ProofError) as refused:
        read_event_line(line, place="line 4")
    assert (refused.value.code, refused.value.place) == ("event.member", "line 4")


def test_an_event_line_may_be_spelled_longer_than_its_canonical_form():
    """60,000 bytes are counted in the canonical form: escapes and white space do not make an event too large."""
    text = "ü" * 4_000
    line = json.dumps({f"a{n}": text for n in range(7)}, ensure_ascii=True).encode()
    assert len(line) > MAX_EVENT_BYTES
    _, data = read_event_line(line)
    assert len(data) < MAX_EVENT_BYTES
    with pytest.raises(ProofError) as refused:
        read_event_line(json.dumps({f"a{n}": text for n in range(8)}, ensure_ascii=False).encode())
    assert refused.value.code == "json.size"


@pytest.mark.parametrize("name", ["arrays", "french", "structures", "values"])
def test_the_oracle_gives_the_official_canonical_forms(name):
    """The official inputs hold floats and names that ours refuses; the oracle of these tests takes them."""
    data = (VECTORS / f"jcs/input/{name}.json").read_bytes()
    assert rfc8785.dumps(json.loads(data)) == (VECTORS / f"jcs/output/{name}.json").read_bytes()
    with pytest.raises(ProofError) as refused:
        parse(data, max_bytes=10**6)
    assert refused.value.code in ("json.number", "json.name")


def _numbers() -> list[Any]:
    return [json.loads(line) for line in (VECTORS / "jcs/numbers.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(("bits", "text"), _numbers(), ids=lambda item: str(item))
def test_official_numbers(bits, text):
    """Integers within the limit have RFC 8785's spelling; every other number is refused here."""
    (number,) = struct.unpack(">d", bytes.fromhex(bits))
    if text is not None:
        assert rfc8785.dumps(number).decode() == text
    spelled = (text if text is not None else repr(number)).encode()
    if text is not None and text.lstrip("-").isdigit() and abs(int(text)) < 2**53:
        value = parse(spelled, max_bytes=1_000)
        assert value == number
        assert encode({"a": value}) == b'{"a":%b}' % spelled
        return
    with pytest.raises(ProofError) as refused:
        parse(spelled, max_bytes=1_000)
    assert refused.value.code in ("json.number", "json.syntax")
