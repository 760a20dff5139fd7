"""`run`, the one door: which commands it starts. A copy of it, among programs that only note how they are called."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
LIMIT_SECONDS = 60


class Door:
    """A folder with `run`, an interpreter that notes its arguments, and programs that stand before the machine's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.policy = folder / "policy-rc.d"
        self.release = folder / "os-release"
        script = (PROJECT / "run").read_text().replace("/usr/sbin/policy-rc.d", str(self.policy))
        script = script.replace("/etc/os-release", str(self.release))
        self._program("run", script)
        self._program(".venv/bin/python", f'#!/bin/sh\nprintf "%s\\n" "$*" >>"{folder}/calls"\n')
        self._program("bin/sudo", '#!/bin/sh\nexec "$@"\n')
        self.path = f"{folder / 'bin'}:{os.environ['PATH']}"
        shutil.copy(PROJECT / "requirements.txt", folder)

    def _program(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)

    def without_libraries(self, apt_get: str) -> None:
        """A machine that lacks Pango, and whose apt-get does this."""
        self._program("bin/ldconfig", "#!/bin/sh\n")
        self._program("bin/apt-get", f"#!/bin/sh\n{apt_get}\n")

    def bare(self, system: str) -> Path:
        """A fresh `system` with Python, but without its venv module and all that is installed; what apt-get is told."""
        self.release.write_text(f'NAME="{system.title()}"\nID={system}\n')
        self._program("bin/apt-get", f'#!/bin/sh\nprintf "%s\\n" "$*" >>"{self.folder}/apt"\n')
        self._program("bin/ldconfig", "#!/bin/sh\n")
        python = f'#!/bin/sh\ncase "$2" in *ensurepip*) exit 1 ;; esac\nexec "{sys.executable}" "$@"\n'
        self._program("bin/python3", python)
        for name in NEEDED:
            (self.folder / "bin" / name).symlink_to(shutil.which(name) or "missing")
        self.path = str(self.folder / "bin")
        return self.folder / "apt"

    def open(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """`./run words`."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("METERPROOF_", "PYTHON"))}
        return subprocess.run(
            ["env", "--default-signal=HUP,INT", str(self.folder / "run"), *words],  # under nohup HUP is ignored
            env=kept | {"PATH": self.path},
            capture_output=True,
            text=True,
            timeout=LIMIT_SECONDS,
            check=False,
        )

    def ran(self, *words: str) -> list[str]:
        """The commands of manage.py that `./run words` starts."""
        calls = self.folder / "calls"
        calls.unlink(missing_ok=True)
        done = self.open("--no-install", *words)
        assert done.returncode == 0, done.stderr
        lines = calls.read_text().splitlines()
        return [line.split()[1] for line in lines if line.startswith("manage.py")]

    def summary(self, text: str) -> None:
        """What a demo left."""
        (self.folder / "var" / "demo").mkdir(parents=True, exist_ok=True)
        (self.folder / "var" / "demo" / "summary.json").write_text(text)


# What the script itself needs of the machine: it is on every Debian and Ubuntu.
NEEDED = (
    "cat",
    "chmod",
    "cksum",
    "cut",
    "dirname",
    "env",
    "grep",
    "id",
    "ls",
    "mkdir",
    "rm",
    "sh",
    "sort",
    "tee",
    "tr",
    "uname",
)
PREPARED = ["migrate", "load_catalogues", "bootstrap", "serve"]


@pytest.fixture
def door(tmp_path: Path) -> Door:
    return Door(tmp_path)


def test_the_demo_runs_until_it_has_verified(door: Door) -> None:
    assert door.ran() == ["demo", "serve"]
    door.summary('{\n "verified": false\n}')
    assert door.ran() == ["demo", "serve"]
    assert door.ran("serve") == PREPARED  # a look at what is there changes nothing about it
    assert door.ran() == ["demo", "serve"]
    door.summary('{\n "verified": true\n}')
    assert door.ran() == PREPARED


def test_a_database_alone_says_nothing_about_the_demo(door: Door) -> None:
    (door.folder / "var").mkdir()
    (door.folder / "var" / "db.sqlite3").touch()
    assert door.ran() == ["demo", "serve"]


@pytest.mark.parametrize("first", ["--empty", "serve"])
def test_who_started_without_the_demo_goes_on_without_it(door: Door, first: str) -> None:
    assert door.ran(first) == PREPARED
    assert door.ran() == PREPARED


@pytest.mark.parametrize(
    ("apt_get", "status"), [('kill -INT "$PPID"; exit 130', 130), ('kill -HUP "$PPID"; exit 129', 129), ("exit 100", 1)]
)
def test_whatever_ends_apt_services_may_start_again(door: Door, apt_get: str, status: int) -> None:
    door.without_libraries(f'[ -x "{door.policy}" ] || exit 0\ntouch "{door.folder}/kept-still"\n{apt_get}')
    done = door.open("serve")
    assert done.returncode == status, done.stderr
    assert (door.folder / "kept-still").exists()
    assert not door.policy.exists()


@pytest.mark.parametrize("system", ["debian", "ubuntu"])
def test_a_bare_machine_is_asked_for_all_it_lacks(door: Door, system: str) -> None:
    """Ubuntu has Chromium only as a snap: it is left to the user there, and said."""
    asked = door.bare(system)
    door.open("test", "-q")
    words = asked.read_text().split()
    to_run = {f"python3.{sys.version_info.minor}-venv", "libpango-1.0-0", "libharfbuzz-subset0", "openssl"}
    assert to_run | {"redis-server", "qpdf", "poppler-utils", "softhsm2", "shellcheck", "git"} <= set(words)
    assert ("chromium" in words) == (system == "debian")
    said = door.open("doctor").stderr
    assert ("snap install chromium" in said) == (system == "ubuntu")


def test_doctor_names_a_remedy_for_everything_that_is_missing(door: Door) -> None:
    door.without_libraries("exit 100")
    for name in ("python3.13", "python3.12", "python3.11", "python3"):
        door._program(f"bin/{name}", "#!/bin/sh\nexit 1\n")
    lines = [line for line in door.open("doctor").stderr.splitlines() if line.startswith("missing")]
    assert any("Python 3.11, 3.12 or 3.13: apt-get install" in line for line in lines)
    assert any("libpango" in line for line in lines)
    assert [line for line in lines if ": " not in line] == []
