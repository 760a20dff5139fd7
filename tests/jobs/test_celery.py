"""Celery on a real Redis and a real RabbitMQ: the doorbell, and what happens when it is silent, or rings too often."""

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import amqp
import pytest
import redis

from tests.services.process import folder, running
from tests.services.rabbitmq import queue
from tests.services.redis import broker

PROJECT = Path(__file__).resolve().parents[2]
WAIT_SECONDS = 60
IMPORTS = (
    "from datetime import timedelta; from compliance.jobs.actions import enqueue; "
    "from compliance.jobs.clock import now; from compliance.jobs.tasks import run_job"
)

pytestmark = pytest.mark.slow


class Installation:
    """An installation of its own, driven through `manage.py`, whose jobs run on Celery."""

    def __init__(self, home: Path, url: str) -> None:
        self.home = home
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "VIRTUAL_ENV") if name in os.environ}
        self.environment = {
            **kept,
            "METERPROOF_VAR": str(home / "var"),
            "DJANGO_SETTINGS_MODULE": "tests.jobs.celery_settings",
            "CELERY_BROKER_URL": url,
            "PYTHONPATH": str(PROJECT),
        }

    def run(self, *arguments: str) -> str:
        """Output of `manage.py arguments`."""
        command = [sys.executable, str(PROJECT / "manage.py"), *arguments]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def shell(self, code: str) -> list[str]:
        """Lines that `code` prints."""
        return self.run("shell", "--no-imports", "-c", f"{IMPORTS}; {code}").splitlines()

    def states(self) -> dict[str, str]:
        """State of each job by its id, from the database: a process for each look would cost more than the jobs."""
        with closing(sqlite3.connect(self.home / "var" / "db.sqlite3")) as database:
            return dict(database.execute("SELECT id, state FROM jobs_job WHERE task LIKE 'tests.%'"))

    def runs(self) -> list[str]:
        """Ids of the jobs that ran, one for each time."""
        notes = self.home / "notes"
        return notes.read_text().split() if notes.exists() else []

    @contextmanager
    def worker(self) -> Iterator[None]:
        """A Celery worker with beat, until the block ends."""
        log = self.home / "worker.log"
        command = [sys.executable, "-m", "celery", "-A", "compliance.config", "worker", "--beat", "-c", "1"]
        command += ["-s", str(self.home / "beat"), "--loglevel", "INFO"]
        ready = lambda: log.exists() and "ready." in log.read_text(errors="replace")  # noqa: E731
        with running(
            command, answers=ready, log=log, environment=self.environment | {"NOTES": str(self.home / "notes")}
        ):
            yield


@dataclass(slots=True)
class Bell:
    """A running broker: its address, how to lose all its messages, and how to stop it."""

    url: str
    empty: Callable[[], int]
    stop: Callable[[], None]


def flush(url: str) -> int:
    """Lose everything that Redis holds, and say how many messages those were."""
    with redis.Redis.from_url(url) as client:
        waiting = int(client.llen("celery"))
        client.flushall()
    return waiting


def purge(port: int) -> int:
    """Empty the queue of RabbitMQ, which must be a quorum queue, and say how many messages there were."""
    with amqp.Connection(f"127.0.0.1:{port}") as connection:
        channel = connection.channel()
        channel.queue_declare("celery", durable=True, auto_delete=False, arguments={"x-queue-type": "quorum"})
        return int(channel.queue_purge("celery"))


@pytest.fixture(params=["redis", "rabbitmq"])
def bell(request: pytest.FixtureRequest) -> Iterator[Bell]:
    with ExitStack() as servers:
        if request.param == "redis":
            url = servers.enter_context(broker()).url
            yield Bell(url, lambda: flush(url), servers.close)
        else:
            server = servers.enter_context(queue())
            yield Bell(server.url, lambda: purge(server.port), servers.close)


@pytest.fixture
def installation(bell: Bell) -> Iterator[Installation]:
    with folder("meterproof-celery-") as home:
        made = Installation(home, bell.url)
        made.run("migrate", "--verbosity", "0")
        yield made


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.2)


def test_whatever_the_broker_does_each_job_runs_once(installation: Installation, bell: Bell) -> None:
    """F33: emptied before anybody listened; F34, F35: doubled and out of order; F36: poison; F32: gone."""
    (lost,) = installation.shell("print(enqueue('tests.note', {}, run_at=now() - timedelta(minutes=1)).id)")
    assert bell.empty() == 1
    with installation.worker():
        *notes, poison = installation.shell(
            "jobs = [enqueue(name, {}).id for name in ['tests.note'] * 3 + ['tests.poison']]; "
            "[run_job.delay(job) for job in jobs[::-1] * 4]; print(*jobs, sep=chr(10))"
        )
        wait_until(lambda: {lost, *notes} <= set(installation.runs()))
        wait_until(lambda: set(installation.states().values()) <= {"done", "failed"})
    assert sorted(installation.runs()) == sorted([lost, *notes]), "a job ran more than once"
    assert installation.states() == {**dict.fromkeys([lost, *notes], "done"), poison: "failed"}
    bell.stop()
    (late,) = installation.shell("print(enqueue('tests.note', {}).id)")
    assert installation.states()[late] == "queued"
