"""F50-F54: what strict reading refuses, with the place; what it accepts means what the standard library reads."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compliance.proof.errors import ProofError
from compliance.proof.strict_json import parse, split_items, split_members

TABLE = [
    (b"", "json.syntax"),
    (b"{", "json.syntax"),
    (b'"\\u"00e4"', "json.syntax"),  # what Python 3.11.2 lets through a possessive group
    (b'{"a":"\\u"00e4","b":"\\"}', "json.syntax"),
    (b"{}{}", "json.syntax"),
    (b"{} x", "json.syntax"),
    (b"\xef\xbb\xbf{}", "json.syntax"),
    (b"{'a':1}", "json.syntax"),
    (b'{"a":1,}', "json.syntax"),
    (b"[1,]", "json.syntax"),
    (b"[1 2]", "json.syntax"),
    (b'{"a" 1}', "json.syntax"),
    (b'{"a":1 "b":2}', "json.syntax"),
    (b"{1:2}", "json.syntax"),
    (b'{"a":}', "json.syntax"),
    (b'"a\nb"', "json.syntax"),
    (b'"a\x00b"', "json.syntax"),
    (b'"\\x"', "json.syntax"),
    (b'"\\u12"', "json.syntax"),
    (b'"open', "json.syntax"),
    (b"tru", "json.syntax"),
    (b"truely", "json.syntax"),
    (b"01", "json.syntax"),
    (b"+1", "json.syntax"),
    (b"-", "json.syntax"),
    (b".5", "json.syntax"),
    (b"\x0b1", "json.syntax"),
    (b"/*c*/1", "json.syntax"),
    (b"\xff", "json.utf8"),
    (b'"\xc0\x80"', "json.utf8"),
    (b'"\xed\xa0\x80"', "json.utf8"),
    (b'"\xf4\x90\x80\x80"', "json.utf8"),
    (b"NaN", "json.number"),
    (b"Infinity", "json.number"),
    (b"-Infinity", "json.number"),
    (b"1e999", "json.number"),
    (b"1E5", "json.number"),
    (b"1.0", "json.number"),
    (b"-0", "json.number"),
    (b"-0.0", "json.number"),
    (b"9007199254740992", "json.number"),
    (b"-9007199254740992", "json.number"),
    (b"1" * 5_000, "json.number"),
    (b'{"a":1,"a":1}', "json.duplicate_name"),
    (b'{"a":{"b":1,"\\u0062":2}}', "json.duplicate_name"),
    (b'{"A":1}', "json.name"),
    (b'{"":1}', "json.name"),
    (b'{"a-b":1}', "json.name"),
    (b'{"payloadType":1}', "json.name"),
    (b'{"' + b"a" * 65 + b'":1}', "json.name"),
    (b'"\\ud800"', "json.surrogate"),
    (b'"\\udc00\\ud800"', "json.surrogate"),
    (b'"\\ud800\\u0041"', "json.surrogate"),
    (b'"\\u0000"', "json.nul"),
    (b'["' + b"x" * 8_193 + b'"]', "json.string_size"),
    (b'["' + "ü".encode() * 4_097 + b'"]', "json.string_size"),
    (b"[" * 17 + b"]" * 17, "json.depth"),
    (b'{"a":' * 17 + b"1" + b"}" * 17, "json.depth"),
    (b"[" * 100_000, "json.depth"),
    (b'{"a":' * 100_000, "json.depth"),
    (b" " * 1_000_001, "json.size"),
]


@pytest.mark.parametrize(("data", "code"), TABLE, ids=lambda item: str(item[:24]))
def test_refused(data, code):
    with pytest.raises(ProofError) as refused:
        parse(data, max_bytes=1_000_000, max_string_bytes=8_192)
    assert refused.value.code == code


ACCEPTED = [
    (b"9007199254740991", 2**53 - 1),
    (b"-9007199254740991", -(2**53) + 1),
    (b"0", 0),
    (b' {"a" : [ ] , "b":{ }\r\n}\t', {"a": [], "b": {}}),
    (b'"\\ud83d\\ude00\\u00e4\\/\\b\\f\\n\\r\\t\\"\\\\"', '\U0001f600\u00e4/\b\f\n\r\t"\\'),
    ('"\u2028\u007f\U0010ffff e\u0301 \u00e9"'.encode(), "\u2028\u007f\U0010ffff e\u0301 \u00e9"),
    (b"[" * 16 + b"]" * 16, [[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]),
    (b'["' + b"x" * 8_192 + b'"]', ["x" * 8_192]),
    (b"[true,false,null]", [True, False, None]),
]


@pytest.mark.parametrize(("data", "value"), ACCEPTED, ids=lambda item: str(item)[:24])
def test_accepted(data, value):
    assert parse(data, max_bytes=1_000_000, max_string_bytes=8_192) == value


def test_text_is_never_normalised():
    """F54: NFC and NFD twins stay two."""
    assert parse('"\u00e9"'.encode(), max_bytes=100) != parse('"e\u0301"'.encode(), max_bytes=100)


@pytest.mark.parametrize("character", [0x1_0000, 0x1_03FF, 0x1_0400, 0x1_F512, 0x10_FC00, 0x10_FFFF])
def test_a_surrogate_pair_is_one_character_up_to_the_ends_of_its_range(character):
    text = chr(character)
    assert parse(json.dumps([text, f"a{text}b"]).encode(), max_bytes=100) == [text, f"a{text}b"]


@pytest.mark.parametrize("unit", ["d800", "dbff", "dc00", "dfff"])
@pytest.mark.parametrize("following", ["", "a", "\\u0061", "\\ud800", "\\udbff", "\\ue000"])
def test_half_of_a_surrogate_pair_is_refused_whatever_follows(unit, following):
    with pytest.raises(ProofError) as refused:
        parse(f'["\\u{unit}{following}"]'.encode(), max_bytes=100)
    assert refused.value.code == "json.surrogate"


def test_a_refusal_names_line_column_and_pointer():
    with pytest.raises(ProofError) as refused:
        parse(b'{"a":1,\n "b":[0,\n  {"c":1.5}]}', max_bytes=1_000, place="line 7")
    assert refused.value.place == "line 7, line 3 column 8, /b/1/c"
    assert refused.value.pointer == "/b/1/c"


@pytest.mark.parametrize(
    ("data", "place"),
    [
        (b"[\n }]", "line 2 column 2, /0"),
        (b"[1,\n ]", "line 2 column 2, /1"),
        (b"[1\n :2]", "line 2 column 2, /1"),
        (b"[1\n 2]", "line 2 column 2, /1"),
        (b"[1,\n 1.5]", "line 2 column 2, /1"),
        (b"[0,\n 9007199254740992]", "line 2 column 2, /1"),
        (b'{"a":1,\n }', "line 2 column 2, /a"),
        (b'{"a":\n :1}', "line 2 column 2, /a"),
        (b"{\n 1:2}", "line 2 column 2, /"),
        (b'{"a":1,\n "a":2}', "line 2 column 2, /a"),
        (b'{"a":1,\n "A":2}', "line 2 column 2, /a"),
        (b'["a",\n "\\ud800"]', "line 2 column 2, /1"),
        (b'["a",\n "\\u0000"]', "line 2 column 2, /1"),
        (b'[0,\n "abcdefghijk"]', "line 2 column 2, /1"),
        (b"[[1],\n [[[2]]]]", "line 2 column 4, /1/0/0"),
        (b"[1]\n x", "line 2 column 2"),
    ],
)
def test_a_refusal_points_at_the_first_character_that_is_wrong(data, place):
    with pytest.raises(ProofError) as refused:
        parse(data, max_bytes=100, max_depth=3, max_string_bytes=10)
    assert refused.value.place == place


def test_a_fault_at_the_end_of_a_large_document_is_found_in_one_reading():
    """F50: no second pass, no copy of the rest, whatever stands before the fault."""
    data = b'{"a":[' + b'{"b":"cccccccc"},\n' * 50_000 + b"1.5]}"
    with pytest.raises(ProofError) as refused:
        parse(data, max_bytes=2_000_000)
    assert refused.value.place == "line 50001 column 1, /a/50000"


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner),
        max_leaves=20,
    ),
    st.sampled_from([None, 1]),
    st.booleans(),
)
def test_what_is_accepted_means_what_json_says(value, indent, ascii_only):
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    data = text.encode("utf-8", "surrogatepass")
    try:
        read = parse(data, max_bytes=10**6)
    except ProofError as refused:
        assert refused.code.startswith("json.")  # noqa: PT017 - either outcome is right, depending on the value
    else:
        assert read == value


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(data):
    for read in (lambda: parse(data, max_bytes=1_000), lambda: split_members(data), lambda: split_items(data)):
        try:
            read()
        except ProofError as refused:
            assert refused.code.startswith("json.")  # noqa: PT017 - any bytes: most are refused


@given(st.lists(st.recursive(st.none() | st.text() | st.integers(), lambda inner: st.lists(inner, max_size=3))))
def test_splitting_gives_the_items_as_they_stand(values):
    data = json.dumps(values, indent=1).encode()
    assert [json.loads(item) for _, item in split_items(data)] == values
    assert all(data[offset : offset + len(item)] == item for offset, item in split_items(data))


def test_splitting_an_object_keeps_names_that_repeat():
    assert split_members(b' {"a": [1, {"b":"}"}], "a" :2} ') == [("a", b'[1, {"b":"}"}]'), ("a", b"2")]
    assert split_members(b"{ }") == []


@pytest.mark.parametrize("data", [b"", b"[", b"[]", b'{"a"}', b'{"a":1', b'{"a":1}x', b'{"a":]}', b'{"a":,}', b"{1:2}"])
def test_splitting_refuses_what_is_not_balanced(data):
    with pytest.raises(ProofError) as refused:
        split_members(data)
    assert refused.value.code == "json.syntax"


@pytest.mark.parametrize(
    ("split", "data", "place"),
    [
        (split_members, b"\n [", "line 2 column 2"),
        (split_members, b'{"a":1\n x"b":2}', "line 2 column 2"),
        (split_members, b'{"a"\n x1}', "line 2 column 2"),
        (split_members, b'{"a":1}\n x', "line 2 column 2"),
        (split_members, b'{"a":\n [1}', "line 2 column 4"),
        (split_members, b'{"a":\n [1', "line 2 column 3"),
        (split_items, b"\n {", "line 2 column 2"),
        (split_items, b"[1\n x2]", "line 2 column 2"),
        (split_items, b"[1]\n x", "line 2 column 2"),
        (split_items, b"[\n [}]", "line 2 column 3"),
    ],
)
def test_splitting_refuses_one_wrong_character_and_points_at_it(split, data, place):
    with pytest.raises(ProofError) as refused:
        split(data)
    assert (refused.value.code, refused.value.place) == ("json.syntax", place)
    with pytest.raises(ProofError) as refused:
        split(data, place="batch")
    assert refused.value.place == f"batch, {place}"
