"""Processor time of web workers and database, from /proc: what a rate costs, also while others share the cores."""

import os
from dataclasses import dataclass
from pathlib import Path

import psycopg

_TICKS = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Spent:
    """Processor seconds, user and system, since the processes began."""

    web: float
    database: float

    def since(self, before: "Spent") -> "Spent":
        """What was spent between two looks."""
        return Spent(self.web - before.web, self.database - before.database)


def look(server_pid: int, database_url: str) -> Spent:
    """Of the web server `server_pid` with its workers, and of all connections to the database but ours."""
    with psycopg.connect(database_url) as connection:
        backends = connection.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        ).fetchall()
    workers = (_PROC / str(server_pid) / "task" / str(server_pid) / "children").read_text().split()
    return Spent(sum(seconds(int(pid)) for pid in workers), sum(seconds(pid) for (pid,) in backends))


def seconds(pid: int) -> float:
    """User and system time of a process since it began."""
    fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS  # utime and stime: proc(5), fields 14 and 15


def server_seconds(backend_pid: int) -> float:
    """Of the whole PostgreSQL server that a backend belongs to, processes that have ended included."""
    fields = (_PROC / str(backend_pid) / "stat").read_text().rpartition(")")[2].split()
    postmaster = int(fields[1])
    ended = (_PROC / str(postmaster) / "stat").read_text().rpartition(")")[2].split()
    children = (_PROC / str(postmaster) / "task" / str(postmaster) / "children").read_text().split()
    return (int(ended[13]) + int(ended[14])) / _TICKS + sum(_nanoseconds(int(pid)) for pid in children) / 1e9


def _nanoseconds(pid: int) -> int:
    try:
        return int((_PROC / str(pid) / "schedstat").read_text().split()[0])
    except FileNotFoundError:  # it has just ended
        return 0
