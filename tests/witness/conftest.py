"""A witness in a folder of its own, with a clock that the test holds."""

from pathlib import Path

import pytest

from compliance.witness import home
from compliance.witness.cosign import Witness
from tests.witness.logs import AnyLog


class Clock:
    """Posix time that moves when the test says so."""

    def __init__(self) -> None:
        self.time = 1_800_000_000.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A witness that trusts the log of `AnyLog`."""
    home.make(tmp_path / "witness", "witness.example.test/w1")
    home.add_log(tmp_path / "witness", AnyLog().signer.vkey)
    return tmp_path / "witness"


@pytest.fixture
def witness(folder: Path, clock: Clock) -> Witness:
    return Witness(home.load_signer(folder), home.load_store(folder), folder / home.EVIDENCE, read_clock=clock)
