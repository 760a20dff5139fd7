"""Transcripts of the verifier. `python -m tests.proof.recording` writes those of `tests/proof/transcripts` anew."""

import io
import json
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from compliance.proof.__main__ import main
from tests.proof import revocations, scenarios
from tests.proof.scenarios import Words
from tests.proof.vectors import CASES, METERPROOF

MADE = (*scenarios.MADE, *revocations.MADE)
TRANSCRIPTS = Path(__file__).with_name("transcripts")
ALIKE = ("event", "entry", "batch", "receipt")  # of these kinds one case that verifies is enough
OF_THEM = ("event-012", "entry-012", "batch-s", "receipt-chunk")

_SIZE = re.compile(r" of [0-9,]+ bytes")  # that of a signature by ECDSA is another each time


def of_vectors() -> dict[str, Words]:
    """The command for each of our own cases; files are named as seen from their folder."""
    chosen = {}
    for case in CASES:
        if case["kind"] not in ALIKE or case["expect"] != "ok" or case["id"] in OF_THEM:
            keys = ["--keys", case["keys"]] if "keys" in case else []
            chosen[case["id"]] = [case["file"], "--policy", case["trust"], *keys]
    return chosen


@contextmanager
def inside(folder: Path) -> Iterator[None]:
    """Paths are said as they were given: relative to `folder`."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def transcript(folder: Path, words: Words) -> str:
    """What the verifier says in words, its exit status, and what it says more as JSON."""
    asked = ["verify", *words]
    if "--policy" not in asked:
        asked += ["--policy", "trust"]
    with inside(folder):
        said, structured = io.StringIO(), io.StringIO()
        status = main(asked, said)
        assert main([*asked, "--json"], structured) == status
    value = json.loads(structured.getvalue())
    steps = value.pop("steps")
    lines = said.getvalue().splitlines()
    for step in steps:
        for line in step.pop("lines"):
            assert f"          {line}" in lines, "JSON says what the words say"
    value["steps"] = [" ".join(f"{name}={said}" for name, said in step.items()) for step in steps]
    text = f"{said.getvalue()}\nexit {status}\n{json.dumps(value, indent=1, ensure_ascii=False)}\n"
    return text if folder == METERPROOF else _SIZE.sub(" of N bytes", text)


def record() -> None:
    """Write every transcript anew."""
    for old in TRANSCRIPTS.glob("*.txt"):
        old.unlink()
    for name, words in of_vectors().items():
        (TRANSCRIPTS / f"{name}.txt").write_text(transcript(METERPROOF, words))
    for make in MADE:
        with tempfile.TemporaryDirectory() as folder:
            (TRANSCRIPTS / f"{make.__name__}.txt").write_text(transcript(Path(folder), make(Path(folder))))


if __name__ == "__main__":
    record()
