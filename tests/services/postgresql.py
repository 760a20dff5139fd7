"""A PostgreSQL cluster of our own. `python -m tests.services.postgresql [--durable] COMMAND...` runs a command with
it.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg

from tests.services.process import END_SECONDS, find_program, folder, free_port, running, unprivileged_user

DURABLE = "--durable"
_MEGABYTE = 1024 * 1024


@dataclass(slots=True)
class Cluster:
    """A running cluster."""

    port: int
    data: Path
    programs: Path
    start: Callable[[], "subprocess.Popen[bytes]"]
    process: "subprocess.Popen[bytes]"

    @property
    def pid(self) -> int:
        """The postmaster."""
        return self.process.pid

    def crash(self) -> None:
        """F8: kill -9 the server and all its processes, as they stand, and start it again on what is on disk."""
        os.kill(self.pid, signal.SIGSTOP)  # no further child while they are counted
        processes = [self.pid, *_children(self.pid)]
        for pid in processes:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(END_SECONDS)
        ends_at = time.monotonic() + END_SECONDS
        while any(_runs(pid) for pid in processes) and time.monotonic() < ends_at:  # each holds the shared memory
            time.sleep(0.01)
        self.process = self.start()

    def url(self, database: str = "postgres") -> str:
        """DATABASE_URL of `database`."""
        return f"postgres://meterproof@127.0.0.1:{self.port}/{database}"

    def create(self, database: str) -> str:
        """Make an empty `database` and return its URL."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{database}"')
        return self.url(database)


def programs() -> Path:
    """Folder of the newest PostgreSQL server on this machine."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
    return find_program("postgres", *reversed(versions)).parent


@contextmanager
def cluster(*, survives_power_loss: bool = True, settings: Mapping[str, str] | None = None) -> Iterator[Cluster]:
    """Make, start and at the end remove a cluster on loopback, with `settings` beside PostgreSQL's own.

    With PostgreSQL's default durability, or without waiting for the disk: what was committed then still survives any
    end of its processes, kill -9 included, as the operating system holds it.
    """
    binaries, port = programs(), free_port()
    user = unprivileged_user("postgres")
    with folder("meterproof-postgresql-", owner=user) as home:
        data = home / "data"
        subprocess.run(
            [binaries / "initdb", "-D", data, "-A", "trust", "-U", "meterproof", "-E", "UTF8", "--no-instructions"],
            check=True,
            stdout=subprocess.DEVNULL,
            user=user,
            cwd=home,
        )
        command = [binaries / "postgres", "-D", data, "-k", home, "-p", str(port)]
        command += ["-c", "listen_addresses=127.0.0.1", "-c", "max_connections=200"]
        for name, value in (settings or {}).items():
            command += ["-c", f"{name}={value}"]
        if not survives_power_loss:
            command += ["-c", "fsync=off", "-c", "full_page_writes=off"]
        with ExitStack() as servers:

            def start() -> "subprocess.Popen[bytes]":
                server = running(
                    command,
                    answers=lambda: _answers(port),
                    log=home / "log",
                    user=user,
                    end_signal=signal.SIGINT,  # "fast": ends sessions, keeps the data sound
                )
                return servers.enter_context(server)

            yield Cluster(port, data, binaries, start, start())


def _children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _runs(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _answers(port: int) -> bool:
    try:
        psycopg.connect(host="127.0.0.1", port=port, user="meterproof", dbname="postgres", connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def for_a_big_log() -> dict[str, str]:
    """The settings that docs/operators/README.md advises, for this machine."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // _MEGABYTE
    return {"shared_buffers": f"{memory // 4}MB", "max_wal_size": "16GB", "checkpoint_timeout": "15min"}


def main(command: list[str]) -> int:
    """Run `command` with DATABASE_URL set to a fresh database. Ended from outside, it ends the cluster too.

    No test can end the power, and hundreds empty all tables: waiting for the disk was half of their time. What is
    measured waits for it, and has the memory that operators are told to give: `--durable`.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    is_durable = command[:1] == [DURABLE]
    with cluster(survives_power_loss=is_durable, settings=for_a_big_log() if is_durable else None) as running_cluster:
        environment = {**os.environ, "DATABASE_URL": running_cluster.create("meterproof")}
        return subprocess.run(command[is_durable:], check=False, env=environment).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
