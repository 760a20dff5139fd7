"""The locks hold what pyproject.toml asks for, and install by hash on every Python that the README names."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

PROJECT = Path(__file__).resolve().parents[2]
UV = Path(sys.executable).parent / "uv"
COMPILE = ["pip", "compile", "--quiet", "--universal", "--python-version", "3.11", "--generate-hashes"]
COMPILE += ["--no-emit-index-url", "--no-annotate", "--no-header"]


UNREACHABLE = "Failed to fetch"


def uv(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run uv in the project's folder against the registry that pip uses. Skips, and says so, when there is none."""
    done = subprocess.run(
        [UV, *arguments], cwd=PROJECT, env=os.environ | pip_settings(), capture_output=True, text=True, check=False
    )
    if UNREACHABLE in done.stderr:
        pytest.skip(f"the package registry cannot be reached from here: {done.stderr.splitlines()[0]}")
    return done


def pip_settings() -> dict[str, str]:
    """What pip was told about registry and certificates, in uv's words: uv does not read pip's configuration."""
    told = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    ).stdout
    values = dict(line.split("=", 1) for line in told.splitlines() if "=" in line)
    names = {"cert": "SSL_CERT_FILE", "index-url": "UV_DEFAULT_INDEX"}
    return {
        names[name]: value.strip("'")
        for key, value in values.items()
        for name in [key.rpartition(".")[2]]
        if name in names
    }


def pinned(lock: str) -> dict[str, str]:
    """Version by package, of the lines of `lock` that pin one."""
    lines = [line.split(";")[0].rstrip(" \\") for line in (PROJECT / lock).read_text().splitlines() if "==" in line]
    return {name.lower(): version.strip() for name, version in (line.split("==") for line in lines)}


@pytest.mark.parametrize(("lock", "dev"), [("requirements.txt", False), ("requirements-dev.txt", True)])
def test_the_lock_pins_what_the_project_asks_for(lock: str, dev: bool) -> None:
    """Needs no network: every direct dependency is pinned at a version that pyproject.toml allows."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())
    asked = [*project["project"]["dependencies"], *(project["dependency-groups"]["dev"] if dev else [])]
    pins = pinned(lock)
    assert len(pins) > len(asked)
    for requirement in map(Requirement, asked):
        version = pins.get(requirement.name.lower())
        assert version is not None, f"{lock} does not pin {requirement.name}"
        assert requirement.specifier.contains(version), f"{lock} pins {requirement.name} {version}"


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
