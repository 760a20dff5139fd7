"""The locks hold what pyproject.toml asks for, and install by hash on every Python that the README names."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
UV = Path(sys.executable).parent / "uv"
COMPILE = ["pip", "compile", "--quiet", "--universal", "--python-version", "3.11", "--generate-hashes"]
COMPILE += ["--no-emit-index-url", "--no-annotate", "--no-header"]


def uv(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run uv in the project's folder."""
    return subprocess.run([UV, *arguments], cwd=PROJECT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
@pytest.mark.parametrize("lock", ["requirements.txt", "requirements-dev.txt"])
def test_every_locked_package_can_be_had(version: str, lock: str, tmp_path: Path) -> None:
    """Resolves for `version` with hashes required and ready-made packages only; installs nothing."""
    target = ["--target", str(tmp_path / "never-made"), "--python-version", version, "--only-binary", ":all:"]
    done = uv("pip", "install", "--quiet", "--dry-run", *target, "--require-hashes", "-r", lock)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("lock", "groups"), [("requirements.txt", []), ("requirements-dev.txt", ["--group", "dev"])])
def test_the_lock_is_what_the_project_asks_for(lock: str, groups: list[str], tmp_path: Path) -> None:
    again = shutil.copy(PROJECT / lock, tmp_path / lock)
    done = uv(*COMPILE, "pyproject.toml", *groups, "-o", str(again))
    assert done.returncode == 0, done.stderr
    assert Path(again).read_text() == (PROJECT / lock).read_text()
