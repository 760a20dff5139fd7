"""`./run fuzz [TARGET ...] [--seconds N]`: each reader for a minute, a line a target, exit 1 if one did harm.

Inputs that do harm are kept in `tests/fuzz/crashes/TARGET`, where `test_targets.py` replays them for ever. What the
fuzzer learnt is kept in the folder given by --corpus, var/fuzz unless said otherwise.
"""

import argparse
import importlib.util
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.targets import TARGETS, seeds

CRASHES = Path(__file__).parent / "crashes"
LONGEST_INPUT = 65_536
MEMORY_MEGABYTES = 2_048
SECONDS_AN_INPUT = 10  # longer is harm, too


@dataclass(frozen=True)
class Outcome:
    """What came of one target."""

    name: str
    executions: int
    covered: int
    crash: Path | None
    said: str

    def __str__(self) -> str:
        verdict = f"CRASH {self.crash}" if self.crash else "ok" if self.executions else "DID NOT RUN"
        return f"fuzz {self.name:<14} {self.executions:>10,} inputs, {self.covered:>5} edges  {verdict}"


def fuzz(name: str, *, seconds: int, corpus: Path) -> Outcome:
    """Run one target."""
    begun, learnt, kept = corpus / name / "seeds", corpus / name / "learnt", CRASHES / name
    for folder in (begun, learnt, kept):
        folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds(name)):
        (begun / f"{number:04}").write_bytes(seed)
    options = [
        f"-max_total_time={seconds}",
        f"-max_len={LONGEST_INPUT}",
        f"-rss_limit_mb={MEMORY_MEGABYTES}",
        f"-timeout={SECONDS_AN_INPUT}",
        f"-artifact_prefix={kept}/",
        "-print_final_stats=1",
    ]
    before = set(kept.iterdir())
    command = [sys.executable, "-m", "tests.fuzz.worker", name, *options, str(learnt), str(begun), str(kept)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    said = done.stdout + done.stderr
    crashes = sorted(set(kept.iterdir()) - before)
    if not any(kept.iterdir()):
        kept.rmdir()
    ran = re.search(r"number_of_executed_units:\s*(\d+)", said)
    covered = re.findall(r"cov: (\d+)", said)
    crash = crashes[0] if crashes else None
    if done.returncode and crash is None:
        ran = None
    return Outcome(name, int(ran[1]) if ran else 0, int(covered[-1]) if covered else 0, crash, said)


def main() -> int:
    """The exit status: 0 if every target ran and none did harm."""
    parser = argparse.ArgumentParser(prog="./run fuzz", description=__doc__.split("\n")[0])
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; all if none is named")
    parser.add_argument("--seconds", type=int, default=60, help="for each target (default: 60)")
    parser.add_argument("--corpus", type=Path, default=Path("var/fuzz"), help="where what was learnt is kept")
    options = parser.parse_args()
    unknown = set(options.targets) - TARGETS.keys()
    if unknown:
        parser.error(f"no target is called {', '.join(sorted(unknown))}")
    if importlib.util.find_spec("atheris") is None:
        print("Atheris is not installed; ./run fuzz installs it (tests/fuzz/requirements.txt).", file=sys.stderr)
        return 2
    harmed = []
    for name in options.targets or TARGETS:
        outcome = fuzz(name, seconds=options.seconds, corpus=options.corpus)
        print(outcome, flush=True)
        if outcome.crash or not outcome.executions:
            harmed.append(name)
            print("\n".join(outcome.said.splitlines()[-40:]), file=sys.stderr)
    print(
        f"fuzz: {len(harmed)} of {len(options.targets or TARGETS)} targets did harm{': ' if harmed else ''}"
        f"{', '.join(harmed)}"
    )
    return 1 if harmed else 0


if __name__ == "__main__":
    sys.exit(main())
