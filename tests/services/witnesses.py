"""Witnesses as real processes on loopback: ours, and one that is not ours (aics-witness)."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.services.process import free_port, running

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


@dataclass(frozen=True, slots=True)
class Running:
    """A witness that answers at `url` under `vkey`."""

    url: str
    vkey: str
    pid: int


@contextmanager
def ours(
    folder: Path, *logs: str, name: str = "witness.example.test/ours", port: int | None = None
) -> Iterator[Running]:
    """`python -m compliance.witness serve`, with one command: it makes the witness the first time."""
    port = port or free_port()
    command = [sys.executable, "-m", "compliance.witness", "serve", "--dir", folder, "--name", name]
    command += ["--listen", f"127.0.0.1:{port}", "--prefix", "w1"]
    for log in logs:
        command += ["--log", log]
    url = f"http://127.0.0.1:{port}/w1"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with running(
        command, answers=lambda: answers(url), log=folder.parent / f"{port}.log", environment=ENVIRONMENT
    ) as it:
        yield Running(url, (folder / "vkey").read_text().strip(), it.pid)


@contextmanager
def theirs(folder: Path, log: str, *, name: str = "witness.example.test/theirs") -> Iterator[Running]:
    """`aics-witness serve`."""
    folder.mkdir(parents=True, exist_ok=True)
    port, config = free_port(), folder / "witness.json"
    program = [sys.executable, "-m", "aics_witness"]
    made = _said([*program, "init", "--config", str(config), "--name", name])
    _said([*program, "add-log", "--config", str(config), "--origin", log.partition("+")[0], "--vkey", log])
    vkey = next(word for word in made.split() if word.startswith(f"{name}+"))
    command = [*program, "serve", "--config", config, "--listen", f"127.0.0.1:{port}"]
    url = f"http://127.0.0.1:{port}"
    with running(command, answers=lambda: answers(url), log=folder / "log", environment=ENVIRONMENT) as it:
        yield Running(url, vkey, it.pid)


def their_evidence(folder: Path) -> list[object]:
    """What `aics-witness evidence` has kept."""
    command = [sys.executable, "-m", "aics_witness", "evidence", "--config", str(folder / "witness.json")]
    kept: list[object] = json.loads(_said(command))
    return kept


def answers(url: str) -> bool:
    """Whether somebody speaks HTTP there."""
    try:
        return httpx.get(f"{url}/").status_code > 0
    except httpx.TransportError:
        return False


def _said(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=ENVIRONMENT)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
