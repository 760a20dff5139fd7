"""`manage.py` as a process: a migrate that was cut off goes on, `serve` ends with all it started, doctor only looks."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
LIMIT_SECONDS = 90


def environment(var: Path) -> dict[str, str]:
    """An installation of its own on SQLite in `var`."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return kept | {"METERPROOF_VAR": str(var)}


def manage(var: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """Run `manage.py words` to its end."""
    command = [sys.executable, "manage.py", *words]
    return subprocess.run(
        command, cwd=PROJECT, env=environment(var), capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False
    )


@pytest.fixture(scope="module")
def var(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database whose first migrate got no further than the ledger, and was then started again."""
    var = tmp_path_factory.mktemp("installation")
    for words in (("migrate", "ledger"), ("migrate",)):
        done = manage(var, *words, "--verbosity", "0")
        assert done.returncode == 0, done.stdout + done.stderr
    return var


def test_check_is_content_after_a_migrate_that_was_cut_off(var: Path) -> None:
    done = manage(var, "check", "--database", "default")
    assert done.returncode == 0, done.stderr


def test_doctor_makes_no_database(tmp_path: Path) -> None:
    done = manage(tmp_path, "doctor")
    assert done.returncode == 1
    assert "not made yet: ./run" in done.stdout
    assert not list(tmp_path.glob("db.sqlite3*"))


def wait(until: Callable[[], object]) -> bool:
    """Look again and again for a bounded time."""
    deadline = time.monotonic() + LIMIT_SECONDS
    while not until():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def parents() -> dict[int, int]:
    """The parent of every process that runs on this machine, from /proc/PID/stat."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = path.read_text().rpartition(")")[2].split()[:2]
        except OSError:  # it ended as we looked
            continue
        if state != "Z":
            found[int(path.parent.name)] = int(parent)
    return found


def below(pid: int) -> set[int]:
    """All processes that `pid` started, and those that they started."""
    known = parents()
    found: set[int] = set()
    level = {pid}
    while level:
        level = {child for child, parent in known.items() if parent in level}
        found |= level
    return found


@pytest.fixture
def server(var: Path, tmp_path: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """`manage.py serve` that answers; killed with what is left of it if a test fails."""
    port = tmp_path / "port"
    command = [sys.executable, "manage.py", "serve", "--port-file", str(port)]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=PROJECT,
            env=environment(var),
            stdout=log,
            stderr=log,
            preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # whoever runs us may ignore it
        )
    try:
        assert wait(lambda: port.exists() or process.poll() is not None)
        assert port.exists(), (tmp_path / "log").read_text()
        yield process
    finally:
        for pid in (*below(process.pid), process.pid) if process.poll() is None else ():
            os.kill(pid, signal.SIGKILL)
        process.wait(LIMIT_SECONDS)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGHUP])
def test_serve_ends_with_everything_it_started(server: "subprocess.Popen[bytes]", how: signal.Signals) -> None:
    """Ctrl-C, or a terminal that was closed: status 0, and neither web server nor worker stays."""
    assert wait(lambda: len(below(server.pid)) >= 4)  # gunicorn with its two, and the worker
    started = below(server.pid)
    server.send_signal(how)
    assert server.wait(LIMIT_SECONDS) == 0
    assert wait(lambda: not started & parents().keys()), started & parents().keys()
