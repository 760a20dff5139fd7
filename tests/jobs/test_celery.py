"""Celery on a real Redis: the doorbell, and what happens when it is silent."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from tests.services.process import folder, running
from tests.services.redis import Broker, broker

PROJECT = Path(__file__).resolve().parents[2]
WAIT_SECONDS = 60

pytestmark = pytest.mark.slow


class Installation:
    """An installation of its own, driven through `manage.py`, whose jobs run on Celery."""

    def __init__(self, home: Path, redis_url: str) -> None:
        self.home = home
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "VIRTUAL_ENV") if name in os.environ}
        self.environment = {
            **kept,
            "METERPROOF_VAR": str(home / "var"),
            "DJANGO_SETTINGS_MODULE": "tests.jobs.celery_settings",
            "CELERY_BROKER_URL": redis_url,
            "PYTHONPATH": str(PROJECT),
        }

    def run(self, *arguments: str) -> str:
        """Output of `manage.py arguments`."""
        command = [sys.executable, str(PROJECT / "manage.py"), *arguments]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def enqueue(self) -> str:
        """Queue one counting job and return its id."""
        code = "from compliance.jobs.actions import enqueue; print(enqueue('tests.note', {}).id)"
        return self.run("shell", "--no-imports", "-c", code).splitlines()[-1]

    def state(self, job_id: str) -> str:
        """State of the job `job_id`."""
        code = f"from compliance.jobs.selectors import get; print(get('{job_id}').state)"
        return self.run("shell", "--no-imports", "-c", code).splitlines()[-1]

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


@pytest.fixture
def server() -> Iterator[Broker]:
    with broker() as started:
        yield started


@pytest.fixture
def installation(server: Broker) -> Iterator[Installation]:
    with folder("meterproof-celery-") as home:
        made = Installation(home, server.url)
        made.run("migrate", "--verbosity", "0")
        yield made


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.2)


def test_a_message_runs_its_job_and_a_lost_one_is_rung_again(installation: Installation, server: Broker) -> None:
    """F33: the broker is emptied before anybody listened; the sweeper rings for what the job table holds."""
    lost = installation.enqueue()
    with redis.Redis.from_url(server.url) as client:
        client.flushall()
    with installation.worker():
        heard = installation.enqueue()
        wait_until(lambda: heard in installation.runs())
        assert lost not in installation.runs(), "nobody rang for it yet"
        wait_until(lambda: lost in installation.runs())
        assert sorted(installation.runs()) == sorted([lost, heard])
        wait_until(lambda: installation.state(lost) == installation.state(heard) == "done")
