"""A Redis of our own on loopback."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import redis

from tests.services.process import find_program, folder, free_port, running


@dataclass(frozen=True, slots=True)
class Broker:
    """A running Redis."""

    url: str
    pid: int


@contextmanager
def broker() -> Iterator[Broker]:
    """Start Redis on a free port with nothing kept on disk, and end it with the block."""
    program, port = find_program("redis-server"), free_port()
    url = f"redis://127.0.0.1:{port}/0"

    def answers() -> bool:
        try:
            with redis.Redis.from_url(url) as client:
                return bool(client.ping())
        except redis.ConnectionError:
            return False

    with folder("meterproof-redis-") as home:
        command = [
            program,
            "--port",
            str(port),
            "--bind",
            "127.0.0.1",
            "--dir",
            home,
            "--save",
            "",
            "--appendonly",
            "no",
        ]
        with running(command, answers=answers, log=home / "log") as process:
            yield Broker(url, process.pid)
