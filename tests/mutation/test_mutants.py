"""What a mutant is, and that each is one change of what a function does."""

from pathlib import Path
from types import FunctionType
from typing import Any

import pytest

from compliance.proof import merkle
from compliance.proof.errors import ProofError
from tests.mutation.__main__ import interval
from tests.mutation.mutants import Mutant, mutants_of, place_of

SOURCE = '''"""A module."""

LIMIT = 7


class Gate:
    """A class."""

    def opens(self, age: int, *, guest: bool = False) -> bool:
        """Whether it does, which `not guest and age < LIMIT` says."""
        if age < 0:
            raise ProofError("age.form", "nobody is so young", place="gate")
        reach("gate.opens")
        return not guest and age < LIMIT
'''


@pytest.fixture
def mutants(tmp_path: Path) -> list[Mutant]:
    path = tmp_path / "gate.py"
    path.write_text(SOURCE)
    return list(mutants_of(path, "gate"))


def test_conditions_numbers_codes_and_statements_change_but_no_sentence_type_or_default(mutants):
    changes = {mutant.change for mutant in mutants}
    assert {change for change in changes if not change.startswith(("raise", "return"))} == {
        "age < 0  ->  age <= 0",
        "0  ->  1",
        "'age.form'  ->  'XXage.formXX'",
        "'gate'  ->  'XXgateXX'",
        "not guest and age < LIMIT  ->  not guest or age < LIMIT",
        "not guest  ->  guest",
        "age < LIMIT  ->  age <= LIMIT",
    }
    assert len(mutants) == len({mutant.name for mutant in mutants}) == 9


def test_a_mutant_does_what_it_says(mutants):
    namespace: dict[str, Any] = {"ProofError": ProofError, "reach": lambda _: None}
    exec(compile(SOURCE, "gate.py", "exec"), namespace)  # noqa: S102
    gate = namespace["Gate"]
    opens: FunctionType = gate.opens
    original = opens.__code__
    answers = {}
    for mutant in mutants:
        opens.__code__ = mutant.codes[place_of(original)]
        answers[mutant.change] = gate().opens(7)
    assert answers["age < LIMIT  ->  age <= LIMIT"] is True
    assert answers["age < 0  ->  age <= 0"] is False
    assert answers["return not guest and age < LIMIT  ->  return None"] is None


def test_each_mutant_changes_one_outermost_function():
    for mutant in mutants_of(Path(merkle.__file__), merkle.__name__):
        assert len({place.qualname.split(".<locals>")[0] for place in mutant.codes}) == 1, mutant


def test_the_interval_holds_the_share_and_stays_a_share():
    assert interval(0.9, 100) == pytest.approx((0.8256, 0.9448), abs=1e-4)
    assert interval(1.0, 20)[1] == pytest.approx(1.0)
