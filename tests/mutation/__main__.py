"""`./run mutate [MODULE ...]`: break the code in small ways, one at a time, and count what the tests notice.

`--sample` tries some of the mutants, the same for the same seed, and prints how far the score may be from that of all.
`--again` tries those once more that the tests did not notice the last time.
"""

import argparse
import json
import math
import os
import random
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pytest

from tests.mutation.mutants import Mutant, mutants_of
from tests.mutation.session import MutationSession, Outcome

PROJECT = Path(__file__).resolve().parents[2]
FOLDER = PROJECT / "var/mutation"
OUTCOMES = FOLDER / "outcomes.jsonl"
UNNOTICED = frozenset({Outcome.SURVIVED, Outcome.UNREACHED})
BUDGET = 20.0  # seconds of processor time for a mutant that no test notices
KEEP_NO_FILES = ("-o", "tmp_path_retention_policy=none")  # thousands of logs otherwise
CERTAINTY = 1.96  # standard deviations to either side hold 95 % of all samples


def main() -> int:
    """The exit status: 0 if the mutants were tried, whatever came of them."""
    parser = argparse.ArgumentParser(prog="./run mutate", description=__doc__.split("\n")[0])
    parser.add_argument(
        "modules",
        nargs="*",
        metavar="MODULE",
        help="such as compliance.proof.merkle or compliance.ledger.integrate; compliance.proof if none is named",
    )
    parser.add_argument("--sample", type=int, metavar="N", help="only N mutants, drawn at random")
    parser.add_argument("--seed", type=int, default=1, help="of the draw (default: 1)")
    parser.add_argument("--minutes", type=float, metavar="M", help="stop after so long: the rest was not drawn")
    parser.add_argument("--budget", type=float, default=BUDGET, metavar="SECONDS", help="of a survivor (default: 20)")
    parser.add_argument(
        "--tests", nargs="+", metavar="PATH", help="only these tests (default: those of the rooms of the modules)"
    )
    parser.add_argument(
        "--again",
        action="store_true",
        help="only those of the last run that no test noticed; the score is that run's with what became of them now",
    )
    parser.add_argument("--unchanged", action="store_true", help="break nothing: all that a test reaches must survive")
    options = parser.parse_args()
    if options.again and options.sample:
        parser.error("--again tries what the last run drew: no --sample")
    wanted = options.modules or ["compliance.proof"]
    paths = modules_of(wanted)
    if not paths:
        parser.error(f"no module is called {' or '.join(wanted)}")
    os.environ["HYPOTHESIS_PROFILE"] = "mutation"  # tests/conftest.py reads it
    mutants = [mutant for name, path in paths.items() for mutant in mutants_of(path, name)]
    outcomes: dict[str, tuple[Mutant, Outcome]] = {}
    FOLDER.mkdir(parents=True, exist_ok=True)
    if options.again:
        outcomes = former(OUTCOMES, mutants)
        chosen = [mutant for mutant, outcome in outcomes.values() if outcome in UNNOTICED]
        if not chosen:
            parser.error("the last run has nothing to try again in these modules")
    else:
        drawn = min(options.sample or len(mutants), len(mutants))
        chosen = random.Random(options.seed).sample(mutants, drawn)  # noqa: S311 (a draw to repeat)

    with OUTCOMES.open("a" if options.again else "w", encoding="utf-8") as kept:

        def told(mutant: Mutant, outcome: Outcome) -> None:
            outcomes[mutant.name] = mutant, outcome
            line = {"name": mutant.name, "line": mutant.line, "change": mutant.change, "outcome": outcome.value}
            print(json.dumps(line, ensure_ascii=False), file=kept, flush=True)

        session = MutationSession(
            chosen, told, budget=options.budget, minutes=options.minutes, unchanged=options.unchanged
        )
        tests = options.tests or sorted({f"tests/{name.split('.')[1]}" for name in paths})
        status = pytest.main(
            [
                "-q",
                "-n",
                "0",
                "-p",
                "no:cacheprovider",
                "-m",
                "not slow and not browser",
                "--no-header",
                *KEEP_NO_FILES,
                *tests,
            ],
            plugins=[session],
        )
    if status != pytest.ExitCode.OK or not outcomes:
        return 1
    print("\n".join(report(outcomes.values(), of=len(mutants))))
    return 0


def modules_of(wanted: Sequence[str]) -> dict[str, Path]:
    """The files of the modules called so, and of those below them, by name."""
    found = {}
    for path in sorted((PROJECT / "compliance").rglob("*.py")):
        name = ".".join(path.relative_to(PROJECT).with_suffix("").parts).removesuffix(".__init__")
        if any(name == module or name.startswith(f"{module}.") for module in wanted):
            found[name] = path
    return found


def former(path: Path, mutants: Iterable[Mutant]) -> dict[str, tuple[Mutant, Outcome]]:
    """What became of these mutants, by name: of what was tried more than once, the last. A mutant that is not what it
    was, because its function was changed, is left out.
    """
    present = {mutant.name: mutant for mutant in mutants}
    found = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        kept = json.loads(line)
        mutant = present.get(kept["name"])
        if mutant and mutant.change == kept["change"]:
            found[mutant.name] = mutant, Outcome(kept["outcome"])
    return found


def report(outcomes: Iterable[tuple[Mutant, Outcome]], *, of: int) -> list[str]:
    """A line a module, and the score. A mutant that no test reaches counts against it like one that survived."""
    by_module: dict[str, Counter[Outcome]] = {}
    for mutant, outcome in outcomes:
        by_module.setdefault(mutant.module, Counter())[outcome] += 1
    lines = [f"{'':<44}" + "".join(f"{outcome.value:>10}" for outcome in Outcome) + f"{'score':>9}"]
    for module, counts in sorted(by_module.items()):
        lines.append(
            f"{module:<44}" + "".join(f"{counts[outcome]:>10}" for outcome in Outcome) + f"{score(counts):>9.1%}"
        )
    total = sum(by_module.values(), Counter[Outcome]())
    number = total.total()
    within = ""
    if number < of:
        low, high = interval(score(total), number)
        within = f" (drawn from {of}; 95 % confidence: {100 * low:.1f} to {100 * high:.1f} %)"
    lines.append("What survived, and its line: var/mutation/outcomes.jsonl")
    lines.append(f"mutation score: {100 * score(total):.1f} % of {number} mutants{within}")
    return lines


def score(counts: Mapping[Outcome, int]) -> float:
    """The share of mutants that a test noticed."""
    return (counts[Outcome.KILLED] + counts[Outcome.TIMEOUT]) / sum(counts.values())


def interval(share: float, number: int) -> tuple[float, float]:
    """Wilson's interval: where the share of all lies, with 95 % confidence, if `number` drawn ones gave `share`."""
    square = CERTAINTY**2
    middle = (share + square / (2 * number)) / (1 + square / number)
    half = CERTAINTY / (1 + square / number) * math.sqrt(share * (1 - share) / number + square / (4 * number**2))
    return middle - half, middle + half


if __name__ == "__main__":
    sys.exit(main())
