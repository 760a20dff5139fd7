"""The targets of `./run fuzz` without the fuzzer: every seed, and every input that once did harm."""

from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS, run, seeds

CRASHES = Path(__file__).parent / "crashes"
REFUSED = {"cose"}  # needs a signature over an entry that the target does not have


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_and_what_did_harm_once(name):
    """Refused or accepted, nothing else. A target that refused every seed would look at nothing."""
    accepted = [run(name, seed) for seed in seeds(name)]
    assert accepted
    assert any(accepted) != (name in REFUSED)
    for path in sorted((CRASHES / name).glob("*")):
        run(name, path.read_bytes())


def test_every_kept_input_is_of_a_target():
    assert {path.name for path in CRASHES.glob("*")} <= TARGETS.keys()
