"""What a mutant is, and that each is one change of what a function does."""

import json
from pathlib import Path
from types import FunctionType, SimpleNamespace
from typing import Any

import pytest

from compliance.proof import merkle
from compliance.proof.errors import ProofError
from tests.mutation import session
from tests.mutation.__main__ import former, interval, report
from tests.mutation.mutants import Mutant, mutants_of, place_of
from tests.mutation.session import Outcome, in_order

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


def test_its_name_outlives_a_change_of_another_function(mutants, tmp_path):
    path = tmp_path / "gate.py"
    path.write_text(f"def before(age):\n    return age + 1\n\n\n{SOURCE}")
    later = {mutant.name: mutant.change for mutant in mutants_of(path, "gate")}
    assert {mutant.name: mutant.change for mutant in mutants}.items() <= later.items()
    assert len(later) > len(mutants)


def test_a_later_outcome_takes_the_place_of_a_former_one_and_a_mutant_that_changed_is_left_out(mutants, tmp_path):
    first, second, third, *_ = mutants
    lines = [
        (first.name, first.change, "survived"),
        (second.name, "another change", "killed"),
        (third.name, third.change, "no test"),
        ("gate:Gate.gone:1", "1  ->  2", "survived"),
        (first.name, first.change, "killed"),
    ]
    path = tmp_path / "outcomes.jsonl"
    path.write_text(
        "".join(json.dumps(dict(zip(("name", "change", "outcome"), line, strict=True))) + "\n" for line in lines)
    )
    outcomes = former(path, mutants)
    assert outcomes == {first.name: (first, Outcome.KILLED), third.name: (third, Outcome.UNREACHED)}
    assert report(outcomes.values(), of=9)[-1].startswith("mutation score: 50.0 % of 2 mutants (drawn from 9;")
    assert former(tmp_path / "nothing.jsonl", mutants) == {}


def test_one_of_each_test_function_comes_before_a_second_of_any():
    def test(name: str, seconds: float) -> session.Test:
        return session.Test(SimpleNamespace(nodeid=name), seconds, frozenset())  # type: ignore[arg-type]

    tests = [test("t.py::a[1]", 0.1), test("t.py::a[2]", 0.2), test("t.py::b", 0.3), test("test_gate.py::c", 0.9)]
    names = [test.item.nodeid for test in in_order(tests, "gate")]
    assert names == ["test_gate.py::c", "t.py::a[1]", "t.py::b", "t.py::a[2]"]


def test_the_interval_holds_the_share_and_stays_a_share():
    assert interval(0.9, 100) == pytest.approx((0.8256, 0.9448), abs=1e-4)
    assert interval(1.0, 20)[1] == pytest.approx(1.0)
