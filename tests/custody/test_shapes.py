"""The shape of `data`: every example is accepted, every missing field refused with its place, both readers agree."""

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compliance.custody import shapes, vocabulary

WORDS = vocabulary.load()


@pytest.mark.parametrize("code", WORDS.events)
def test_the_example_is_accepted(code):
    assert shapes.of(code).problems(WORDS.events[code].example) == []


@pytest.mark.parametrize("code", WORDS.events)
def test_a_missing_field_is_named_with_its_place(code):
    for name in WORDS.events[code].required_fields:
        data = copy.deepcopy(dict(WORDS.events[code].example))
        outer, _, inner = name.partition("[].")
        if inner:
            assert data[outer], f"the example of {code} must hold an item in {outer}"
            del data[outer][0][inner]
            expected = f"/{outer}/0/{inner}"
        else:
            del data[outer]
            expected = f"/{outer}"
        assert (expected, "is missing") in shapes.of(code).problems(data), name


@pytest.mark.parametrize("code", WORDS.events)
def test_a_field_of_another_shape_is_refused(code):
    """An object, a float, an empty text: no field takes all of them."""
    for name in WORDS.events[code].required_fields:
        if "[]" in name:
            continue
        shape = WORDS.events[code].shape[name]
        is_open_object = isinstance(shape, dict) and "one_of" not in shape
        for wrong in ({"no": "such"}, 1.5, ""):
            problems = shapes.of(code).problems({**WORDS.events[code].example, name: wrong})
            named = any(pointer.startswith(f"/{name}") for pointer, _ in problems)
            assert named or (is_open_object and isinstance(wrong, dict)), (name, wrong)


def test_members_without_a_shape_are_kept():
    data = {**WORDS.events["cell.exited"].example, "our_own": {"note": [1, None]}}
    assert shapes.of("cell.exited").problems(data) == []


@pytest.mark.parametrize(
    ("shape", "right", "wrong"),
    [
        ("count", [0, 5], [-1, True, "1", None]),
        ("integer", [-3, 0], [False, "3", None]),
        ("boolean", [True, False], [1, "true", None]),
        ("decimal", ["0.125", "-4", "0"], [1, "1,5", "1e3", ".5", "1.", "", "\u0661"]),
        ("time", ["2026-04-14T06:00:00Z", "2026-04-14T06:00:00.123456Z"], ["2026-04-14", "2026-04-14T06:00:60Z", 5]),
        ("sha256", ["0" * 64], ["A" * 64, "0" * 63, "0" * 64 + "\n"]),
        ("organisation", ["elster"], ["Elster", "e", ""]),
        ("id", ["p-8f21"], ["", "-a", "a b", "a\n", "a" * 65]),
        ("text", ["ä"], ["", 1, None]),
        ("text?", [None, "x"], ["", 1]),
        ("subject", ["meter:din43849:1EMH0012345678"], ["meter", "meter:x:", 3]),
        ("subject:meter|logistic_unit", ["logistic_unit:sscc:340123450000000017"], ["shipment:elster:S1"]),
        (["count"], [[], [1, 2]], [None, {}, [1, -1]]),
        ({"one_of": ["pass", "fail"]}, ["pass"], ["PASS", "", None, 1]),
        ({"import_kwh": "decimal"}, [{"import_kwh": "1"}, {}, {"other": 1}], [{"import_kwh": 1}, [], None]),
    ],
    ids=str,
)
def test_words_for_shapes(shape, right, wrong):
    compiled = shapes.compile_shape({"member": shape}, ("member",))
    for value in right:
        assert compiled.problems({"member": value}) == []
        assert compiled.explain({"member": value}) == []
    for value in wrong:
        assert compiled.problems({"member": value})


_VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-3, 3),
        st.sampled_from(["", "pass", "x", "0.1", "0" * 64, "elster", "meter:a:b", "2026-04-14T06:00:00Z", "a\n"]),
        st.text(max_size=4),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from("abc"), inner, max_size=3)),
    max_leaves=6,
)


@st.composite
def _nearly_right(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """An example with up to two members taken away or replaced, also inside its lists and objects."""
    code = draw(st.sampled_from(sorted(WORDS.events)))
    data: dict[str, Any] = copy.deepcopy(dict(WORDS.events[code].example))
    for _ in range(draw(st.integers(0, 2))):
        place: Any = data
        while True:
            keys = sorted(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            if isinstance(place[key], dict | list) and draw(st.booleans()):
                place = place[key]
                continue
            if isinstance(place, dict) and draw(st.booleans()):
                del place[key]
            else:
                place[key] = draw(_VALUES)
            break
    return code, data


@settings(max_examples=1_200)
@given(_nearly_right())
def test_the_fast_answer_is_the_slow_answer(drawn):
    """What is told to be right at once has no problem by the member-by-member reading, and the other way round."""
    code, data = drawn
    shape = shapes.of(code)
    assert shape.is_right(data) == (shape.explain(data) == [])
