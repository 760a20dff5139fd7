"""`python -m tests`: every check of the project, one after the other, with a summary at the end.

Nothing is skipped for being slow. Each step is a command that a developer can also run alone.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.services.chromium import MISSING, find_chromium

PROJECT = Path(__file__).resolve().parents[1]
PYTHON = sys.executable
PROGRAMS = Path(sys.executable).parent
PROCESSES = "3"  # the smallest machine we promise green on has two cores, and many tests wait for a server they started
STEP_SECONDS = 1_800  # several times what the longest step takes; a step that hangs is ended and has failed
MEMORY = Path("/dev/shm")  # noqa: S108 (a folder of our own in it)
MEMORY_NEEDED = 8 * 1024**3  # a run was seen to hold 0.4 GiB; a machine with little memory takes the disk

# Modules go whole to one process, as their fixtures are dear, the slow ones first (tests/conftest.py).
PYTEST = (PYTHON, "-m", "pytest", "-q", "-n", PROCESSES, "--dist", "loadscope", "--no-loadscope-reorder")
PYTEST += ("--durations", "30")


@dataclass(frozen=True, slots=True)
class Step:
    """One check: what it is called, and the command that makes it."""

    name: str
    command: tuple[str, ...]


STEPS = (
    Step("shellcheck", ("shellcheck", "run", ".ci/run")),
    Step("ruff", (str(PROGRAMS / "ruff"), "check", ".")),
    Step("ruff format", (str(PROGRAMS / "ruff"), "format", "--check", ".")),
    Step("import-linter", (str(PROGRAMS / "lint-imports"),)),
    Step("mypy", (str(PROGRAMS / "mypy"), "compliance")),
    Step("migrations", (PYTHON, "manage.py", "makemigrations", "--check", "--dry-run")),
    Step("pytest, SQLite", PYTEST),
    Step("pytest, PostgreSQL", (PYTHON, "-m", "tests.services.postgresql", *PYTEST, "-m", "both_engines")),
)


def run(command: tuple[str, ...], environment: dict[str, str]) -> int:
    """Exit status of `command`; it and all it started are ended when it takes too long or we are interrupted."""
    process = subprocess.Popen(command, cwd=PROJECT, env=environment, start_new_session=True)
    try:
        return process.wait(STEP_SECONDS)
    except subprocess.TimeoutExpired:
        print(f"Ended after {STEP_SECONDS} s without a result.", flush=True)
        return 1
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder for all that the tests write, in memory where there is plenty.

    No test can end the power, and hundreds empty all tables: on a busy machine they mostly wait for the disk.
    """
    in_memory = os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free >= MEMORY_NEEDED
    with tempfile.TemporaryDirectory(prefix="meterproof-tests-", dir=MEMORY if in_memory else None) as folder:
        path = Path(folder)
        path.chmod(0o755)  # servers that refuse to run as root have folders of their own in it
        yield path


def main() -> int:
    """Run all steps, also after one failed, and return 0 only if every one of them passed."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("METERPROOF_")}
    environment.pop("DATABASE_URL", None)
    environment["DJANGO_SETTINGS_MODULE"] = "compliance.config.settings.test"
    results: list[tuple[Step, int, float]] = []
    with scratch() as folder:
        environment["TMPDIR"] = str(folder)
        for step in STEPS:
            print(f"\n=== {step.name}", flush=True)
            started = time.monotonic()
            code = run(step.command, environment)
            results.append((step, code, time.monotonic() - started))
    print("\n=== Summary")
    for step, code, seconds in results:
        print(f"{'passed' if code == 0 else 'FAILED':<8} {seconds:7.1f} s  {step.name}")
    if find_chromium() is None:
        print(f"LEFT OUT  {MISSING}")
    failed = sum(code != 0 for _, code, _ in results)
    print(f"checks: {len(results) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
