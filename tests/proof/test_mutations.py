"""No false yes: whatever happens to the bytes of something that verifies, it ends as 1 or 2, never 0, never a crash."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compliance.proof import canonical
from compliance.proof.canonical import encode
from compliance.proof.verify import Asked, verify_file
from tests.proof.vectors import METERPROOF, case

FILES = ["bundle-meter", "bundle-redacted", "receipt-mfg.assembled", "receipt-chunk", "batch-s", "checkpoint-100"]
ORIGINALS = {name: (METERPROOF / case(name)["file"]).read_bytes() for name in FILES}
KEYS = Asked(keys=METERPROOF / "keys.json")
PIECES = [b"", b"0", b"9", b'"', b"{", b"}", b",", b"\n", b"\x00", b"\xff", b"null", b"\xe2\x80\x94", b"1e9", b" "]
SETTINGS = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@st.composite
def mutated(draw: Any, original: bytes) -> bytes:
    """`original` with up to three pieces cut out, put in, doubled or moved, or bits flipped."""
    data = original
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data)))
        length = draw(st.sampled_from([0, 1, 1, 1, 2, 7, 64, 1_000]))
        kind = draw(st.sampled_from(["flip", "flip", "flip", "replace", "insert", "cut", "double"]))
        part = data[at : at + length]
        if kind == "flip" and at < len(data):
            data = data[:at] + bytes([data[at] ^ (1 << draw(st.integers(0, 7)))]) + data[at + 1 :]
        elif kind == "replace":
            data = data[:at] + draw(st.sampled_from(PIECES)) + data[at + length :]
        elif kind == "insert":
            data = data[:at] + draw(st.sampled_from(PIECES)) + data[at:]
        elif kind == "cut":
            data = data[:at] + data[at + length :]
        else:
            data = data[:at] + part + part + data[at + length :]
    return data


def means_the_same(name: str, data: bytes) -> bool:
    """Whether `data` says what the original says: a batch in another spelling, or a bundle made at another time.

    `created` of a bundle is not authenticated, and the verifier says so.
    """
    original = ORIGINALS[name]
    if data == original:
        return True
    if name == "batch-s":
        return _lines(data) == _lines(original)
    if name.startswith("bundle"):
        return _without_created(data) == _without_created(original)
    return False


def _lines(data: bytes) -> list[bytes] | None:
    try:
        lines = [json.loads(line) for line in data.removesuffix(b"\n").split(b"\n")]
        return [encode(line) for line in lines]
    except ValueError:
        return None


def _without_created(data: bytes) -> Any:
    try:
        return {name: value for name, value in json.loads(data).items() if name != "created"}
    except (ValueError, AttributeError):
        return None


@pytest.mark.parametrize("name", FILES)
def test_a_changed_file_never_verifies(name, tmp_path):
    file = tmp_path / "changed"

    @given(mutated(ORIGINALS[name]))
    @SETTINGS
    def never(data: bytes) -> None:
        file.write_bytes(data)
        verdict = verify_file(file, METERPROOF / "trust", asked=KEYS)
        assert verdict.exit_status in (1, 2) or means_the_same(name, data), verdict.steps
        if verdict.error is not None:
            assert verdict.error.code
            assert verdict.to_object()["exit"] == verdict.exit_status

    never()


@pytest.mark.parametrize("name", ["bundle-meter", "bundle-redacted"])
def test_a_value_changed_inside_a_well_formed_bundle_never_verifies(name, tmp_path):
    """Not only broken JSON: the canonical form stays right, one value anywhere inside is another."""
    file = tmp_path / "changed"
    value = json.loads(ORIGINALS[name])
    leaves = [path for path in _paths(value) if path[0] not in ("created",)]

    @given(st.sampled_from(leaves), st.data())
    @SETTINGS
    def never(path: tuple[str | int, ...], data: st.DataObject) -> None:
        changed = json.loads(ORIGINALS[name])
        container = changed
        for part in path[:-1]:
            container = container[part]
        old = container[path[-1]]
        new = data.draw(_others(old))
        if new == old:
            return
        container[path[-1]] = new
        file.write_bytes(canonical.encode(changed))
        verdict = verify_file(file, METERPROOF / "trust")
        assert verdict.exit_status in (1, 2), (path, old, new)

    never()


def _paths(value: Any, at: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    if isinstance(value, dict):
        return [path for name, item in value.items() for path in _paths(item, (*at, name))]
    if isinstance(value, list) and value:
        return [path for index, item in enumerate(value) for path in _paths(item, (*at, index))]
    return [at]


def _others(old: Any) -> st.SearchStrategy[Any]:
    """Values like `old`, or of another kind."""
    other: st.SearchStrategy[Any] = st.sampled_from([None, 0, 1, "", "x", [], {}])
    if isinstance(old, int):
        return st.integers(0, 400) | other
    if isinstance(old, str) and old:
        place = st.integers(0, len(old) - 1)
        character = st.sampled_from("0123456789abcdefABCDEF+/=: \n")
        return st.tuples(place, character).map(lambda pair: old[: pair[0]] + pair[1] + old[pair[0] + 1 :]) | other
    return other


@given(st.binary(max_size=300))
@SETTINGS
def test_any_file_is_answered(tmp_path_factory, data):
    file = Path(tmp_path_factory.getbasetemp()) / "any"
    file.write_bytes(data)
    assert verify_file(file, METERPROOF / "trust").exit_status in (1, 2)
