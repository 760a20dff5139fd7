"""Starting a server and a worker of our own on a free loopback port, and ending them by their process ids."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

START_SECONDS = 60.0
END_SECONDS = 20.0
WEB_WORKERS = 2
THREADS = 4


class ServerFailed(Exception):
    """A process that should serve ended or never answered; its log says why."""


@dataclass(frozen=True, slots=True)
class Running:
    """A server that answers."""

    address: str
    processes: Sequence["subprocess.Popen[bytes]"]

    def require_alive(self) -> None:
        """Raise ServerFailed if one of the processes has ended."""
        for process in self.processes:
            if process.poll() is not None:
                raise ServerFailed(f"process {process.pid} ended with status {process.returncode}")


@contextmanager
def serving(*, project: Path, logs: Path, broker: str) -> Iterator[Running]:
    """Start the web server and a worker; end both with the block. Does not wait: see `wait_until_answering`."""
    address = f"127.0.0.1:{_free_port()}"
    logs.mkdir(parents=True, exist_ok=True)
    environment = dict(os.environ)
    processes: list[subprocess.Popen[bytes]] = []
    try:
        processes.append(_start(_web_server(address), project, logs / "server.log", environment))
        processes.append(_start(_worker(project, logs, broker), project, logs / "worker.log", environment))
        yield Running(f"http://{address}", processes)
    finally:
        _end(processes)


def wait_until_answering(running: Running, logs: Path) -> None:
    """Return as soon as the server answers; raise ServerFailed with the end of its log if it does not."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            running.require_alive()
            if httpx.get(f"{running.address}/api/v1/service", timeout=5).status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            pass
        except ServerFailed as error:
            raise ServerFailed(f"{error}\n{_end_of(logs)}") from error
        if time.monotonic() > deadline:
            raise ServerFailed(f"no answer from {running.address} within {START_SECONDS:.0f} s\n{_end_of(logs)}")
        time.sleep(0.05)


def _web_server(address: str) -> list[str]:
    command = [sys.executable, "-m", "gunicorn", "compliance.config.wsgi:application", "--bind", address]
    command += ["--workers", str(WEB_WORKERS), "--threads", str(THREADS), "--timeout", "120"]
    return [*command, "--log-level", "warning"]


def _worker(project: Path, logs: Path, broker: str) -> list[str]:
    """The embedded worker; with a broker, a Celery worker that also rings the clock."""
    if not broker:
        return [sys.executable, str(project / "manage.py"), "worker"]
    command = [sys.executable, "-m", "celery", "-A", "compliance.config", "worker", "--beat", "--concurrency", "2"]
    return [*command, "--schedule", str(logs / "beat-schedule"), "--loglevel", "WARNING"]


def _start(
    command: Sequence[str], project: Path, log: Path, environment: Mapping[str, str]
) -> "subprocess.Popen[bytes]":
    with log.open("wb") as output:
        return subprocess.Popen(
            command,
            cwd=project,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches us alone, and we end them
        )


def _end(processes: Sequence["subprocess.Popen[bytes]"]) -> None:
    for process in processes:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
    for process in processes:
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _end_of(logs: Path) -> str:
    lines: list[str] = []
    for log in sorted(logs.glob("*.log")):
        lines += [f"--- {log}", *log.read_text(errors="replace").splitlines()[-15:]]
    return "\n".join(lines)
