"""`python -m tests.faults.soak --rounds N`: kill -9 under load, again and again, and count what was lost or doubled.

Each round sends batches from two writers while a publisher integrates and publishes, and kills a writer, the publisher,
all of them, or the PostgreSQL server with all its processes, at a random moment or at a named step. The clients then
send again whatever they got no answer for. Everything acknowledged must be there once, as acknowledged (G1, G2).
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from base64 import b64decode
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.services.postgresql import Cluster, cluster

SQLITE, POSTGRESQL = "sqlite", "postgresql"
ENGINES = (SQLITE, POSTGRESQL)
BATCHES = 8  # of each writer in a round: some tenths of a second
EVENTS = 3
LONGEST_LIFE_SECONDS = 0.3  # after the first answer; a process that is to die at random is dead then
FSCK_EVERY = 20
LONG_SWEEPS = tuple(f"tests/faults/test_{name}_sweep.py" for name in ("rotation", "import"))
WRITER_STEPS = tuple(
    f"ledger.append.{step}"
    for step in ("begin", "batch", "locked", "new_heads", "event_keys", "entries", "heads", "applied", "commit")
)
PUBLISHER_STEPS = (
    *(f"ledger.integrate.{step}" for step in ("begin", "ranges", "pending", "state", "commit")),
    *(f"ledger.tiles.{step}" for step in ("hashes", "entries", "batches")),
    *(f"ledger.files.{step}" for step in ("written", "synced", "renamed")),
    *("ledger.signer.signed", "ledger.signer.stored"),
    *(f"ledger.publish.{step}" for step in ("tiles", "signed", "recorded", "shown")),
)


@dataclass(slots=True)
class Tally:
    """What came of the rounds in which one thing was killed."""

    rounds: int = 0
    acknowledged: int = 0
    sent_again: int = 0
    lost: int = 0
    double: int = 0


@dataclass(slots=True)
class Soak:
    """One installation that is killed again and again. Django is set up and the database migrated."""

    engine: str
    folder: Path
    server: Cluster | None
    chance: random.Random
    tallies: dict[str, Tally] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    _meters: int = 0
    _party: Any = None

    def begin(self) -> None:
        """Make the log and a manufacturer."""
        from compliance.ledger import setup
        from tests.custody import world

        setup.create_log()
        self._party = world.join("elster", "manufacturer")

    def round(self, number: int) -> None:
        """Send, kill, send again, count."""
        kinds = ["writer", "writer at a step", "publisher at a step", "everybody"]
        kinds += ["database server"] if self.server else []
        kind = kinds[number % len(kinds)]
        tally = self.tallies.setdefault(kind, Tally())
        batches, meters = self._sign()
        answers = self.folder / f"answers-{number}"
        self._kill(kind, batches, answers)
        tally.rounds += 1
        acknowledged = _read(answers)
        tally.acknowledged += len(acknowledged)
        tally.sent_again += self._send_again(batches, acknowledged)
        lost, double = self._count(batches, acknowledged, meters)
        tally.lost += lost
        tally.double += double
        if (number + 1) % FSCK_EVERY == 0:
            self.fsck()

    def _sign(self) -> tuple[list[Any], Counter[str]]:
        """Batches for two writers over the same meters, in opposite orders; how many events each meter gets."""
        from tests.custody import world

        shared = []
        for _ in range(EVENTS):
            self._meters += 1
            shared.append(world.title(self._meters))
            self._party.send(world.born(self._meters))
        meters = Counter(shared)
        batches = []
        for number in range(2 * BATCHES):
            order = shared if number % 2 else shared[::-1]
            batches.append(self._party.sign(*(world.event("mfg.calibrated", meter) for meter in order)))
            meters.update(order)
        return batches, meters

    def _kill(self, kind: str, batches: list[Any], answers: Path) -> None:
        from tests.faults import load

        over = answers.with_suffix(".over")
        key = self._party.api_key.pk
        deaths: list[tuple[str, int] | None] = [None, None]
        if kind == "writer at a step":
            deaths[0] = (self.chance.choice(WRITER_STEPS), self.chance.randint(1, BATCHES))
        step = (self.chance.choice(PUBLISHER_STEPS), self.chance.randint(1, 3))
        publisher = load.process(load.publish, over, die_at=step if kind == "publisher at a step" else None)
        writers = [
            load.process(load.write, [signed.ndjson for signed in batches[at::2]], key, answers, die_at=deaths[at])
            for at in range(2)
        ]
        victims = {"writer": writers[:1], "everybody": [*writers, publisher]}.get(kind, [])
        if victims or kind == "database server":
            _wait_for_an_answer(answers, writers)
            time.sleep(self.chance.uniform(0, LONGEST_LIFE_SECONDS))
        for victim in victims:
            victim.kill()
        if kind == "database server":
            assert self.server is not None
            self.server.crash()
        for writer in writers:
            writer.join(load.LONGEST_SECONDS)
        over.touch()
        publisher.join(load.LONGEST_SECONDS)
        for process in (*writers, publisher):
            if process.is_alive():
                process.kill()
                self.problems.append(f"a process was still at work after {load.LONGEST_SECONDS} s ({kind})")

    def _send_again(self, batches: list[Any], acknowledged: dict[str, bytes]) -> int:
        """As a client does that got no answer; and one batch that was answered, which must be answered alike."""
        from compliance.ledger import startup, tasks

        startup.verify_state()
        unanswered = [signed for signed in batches if signed.batch_id not in acknowledged]
        for signed in unanswered:
            appended = self._party.hand_in(signed.ndjson).appended
            acknowledged[signed.batch_id] = appended.receipt
        for signed in [signed for signed in batches if signed not in unanswered][:1]:
            appended = self._party.hand_in(signed.ndjson).appended
            if not appended.replay or appended.receipt != acknowledged[signed.batch_id]:
                self.problems.append(f"batch {signed.batch_id} was answered in two ways")
        tasks.integrate_and_publish()
        return len(unanswered)

    def _count(self, batches: list[Any], acknowledged: dict[str, bytes], meters: Counter[str]) -> tuple[int, int]:
        """Batches acknowledged that are not there as acknowledged; events that are there more than once."""
        from compliance.ledger import selectors
        from compliance.ledger.models import Entry
        from compliance.proof import receipt

        lost = 0
        for signed in batches:
            said = receipt.read(acknowledged[signed.batch_id]).payload["entries"]
            stored = Entry.objects.filter(batch=bytes.fromhex(signed.batch_id)).values_list("index", "hash")
            same = {index: hash_.hex() for index, hash_ in stored} == {item["index"]: item["hash"] for item in said}
            lost += not (same and len(said) == EVENTS and selectors.receipt(signed.batch_id))
        double = 0
        for meter, events in meters.items():
            entries = len(selectors.chain(meter))
            lost += entries < events
            double += max(0, entries - events)
        return lost, double

    def fsck(self) -> None:
        """Read everything, all rooms included."""
        from compliance.ledger import fsck

        self.problems += [f"{problem.code}: {problem.place}: {problem.detail}" for problem in fsck.run().problems]


def _wait_for_an_answer(answers: Path, writers: list[Any]) -> None:
    while not (answers.exists() and answers.stat().st_size) and any(writer.is_alive() for writer in writers):
        time.sleep(0.005)


def _read(answers: Path) -> dict[str, bytes]:
    if not answers.exists():
        return {}
    lines = [line.split() for line in answers.read_text().splitlines()]
    return {batch: b64decode(receipt) for batch, receipt in lines}


@contextmanager
def _database(engine: str) -> Iterator[Cluster | None]:
    if engine == SQLITE:
        os.environ.pop("DATABASE_URL", None)
        yield None
        return
    with cluster(survives_power_loss=True) as server:
        os.environ["DATABASE_URL"] = server.create("soak")
        yield server


def run(engine: str, rounds: int, seed: int) -> Soak:
    """All rounds on one engine, in this process: Django can be set up once only."""
    import django

    with tempfile.TemporaryDirectory(prefix="meterproof-soak-") as folder, _database(engine) as server:
        os.environ["DJANGO_SETTINGS_MODULE"] = "compliance.config.settings.test"
        django.setup()
        from django.core.management import call_command
        from django.db import connections

        call_command("migrate", verbosity=0)
        soak = Soak(engine, Path(folder), server, random.Random(seed))  # noqa: S311 (to be repeated, not secret)
        soak.begin()
        for number in range(rounds):
            soak.round(number)
            if sys.stderr.isatty():
                sys.stderr.write(f"\r{engine}: {number + 1} of {rounds}")
        soak.fsck()
        connections.close_all()
    return soak


def say(soak: Soak) -> None:
    """The rows of the table for one engine."""
    for kind, tally in soak.tallies.items():
        print(
            f"{soak.engine:<11} {kind:<20} {tally.rounds:>7} {tally.acknowledged:>13} {tally.sent_again:>11} "
            f"{tally.lost:>5} {tally.double:>7}"
        )
    for problem in soak.problems:
        print(f"{soak.engine:<11} PROBLEM {problem}")


HEADING = (
    f"{'engine':<11} {'killed':<20} {'rounds':>7} {'acknowledged':>13} {'sent again':>11} {'lost':>5} {'double':>7}"
)


def fail_every_call() -> int:
    """The sweeps of which the test run takes a part only, whole, on both engines."""
    pytest = [sys.executable, "-m", "pytest", "-q", "--timeout", "0", *LONG_SWEEPS]
    environment = os.environ | {"SWEEP": "all"}
    postgresql = [sys.executable, "-m", "tests.services.postgresql", *pytest]
    return max(subprocess.run(command, check=False, env=environment).returncode for command in (pytest, postgresql))


def main() -> int:
    """Rounds on both engines in turn, each in a process of its own; 0 if nothing was lost, doubled or wrong."""
    parser = argparse.ArgumentParser(
        prog="./run soak", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=100, help="how often something is killed (default: %(default)s)")
    parser.add_argument("--engine", choices=ENGINES, help="default: half of the rounds on each")
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "big"), help="to repeat a soak")
    parser.add_argument(
        "--calls", action="store_true", help="instead: let every single call of the long scenarios fail (tests/faults)"
    )
    options = parser.parse_args()
    if options.calls:
        return fail_every_call()
    if options.engine is not None:
        soak = run(options.engine, options.rounds, options.seed)
        print(f"seed {options.seed}, batches are counted\n{HEADING}")
        say(soak)
        lost = sum(tally.lost for tally in soak.tallies.values())
        double = sum(tally.double for tally in soak.tallies.values())
        print(f"lost {lost}, double {double} in {options.rounds} rounds")
        return int(bool(lost or double or soak.problems))
    lost = double = failed = 0
    for engine, rounds in zip(ENGINES, (-(-options.rounds // 2), options.rounds // 2), strict=True):
        command = [sys.executable, "-m", __spec__.name, "--engine", engine, "--rounds", str(rounds)]
        done = subprocess.run([*command, "--seed", str(options.seed)], check=False, stdout=subprocess.PIPE, text=True)
        lines = done.stdout.splitlines()
        if not lines:
            return 1
        print("\n".join(lines[:-1] if engine == SQLITE else lines[2:-1]), flush=True)
        words = lines[-1].replace(",", "").split()
        lost, double, failed = lost + int(words[1]), double + int(words[3]), failed | done.returncode
    print(f"lost {lost}, double {double} in {options.rounds} rounds")
    return failed


if __name__ == "__main__":
    sys.exit(main())
