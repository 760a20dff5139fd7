"""`python -m tests.benchmarks`: print one run's figures, from a database of its own on the server of DATABASE_URL."""

import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import django
import psycopg
from psycopg import sql

from tests.benchmarks import batch_api
from tests.services.process import folder


@contextmanager
def own_database(url: str) -> Iterator[str]:
    """The URL of a new, empty database beside the one of `url`, dropped at the end."""
    name = f"bench_{secrets.token_hex(4)}"
    with psycopg.connect(url, autocommit=True) as server:
        server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    try:
        yield urlunsplit(urlsplit(url)._replace(path=f"/{name}"))
    finally:
        with psycopg.connect(url, autocommit=True) as server:
            server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def measure(url: str, home: Path) -> list[str]:
    """Send batches over HTTP, then read what came of them; the lines to print."""
    sent = batch_api.measure(url, home)
    os.environ.update(
        DATABASE_URL=url, METERPROOF_VAR=str(home / "var"), DJANGO_SETTINGS_MODULE="tests.benchmarks.settings"
    )
    django.setup()
    from django.core.management import call_command
    from django.db import connection

    from tests.benchmarks import reading
    from tests.benchmarks.history.saves import saves_per_second

    call_command("migrate", verbosity=0, run_syncdb=True)  # the benchmark's own table refers to people
    saves = saves_per_second(batch_api.an_event())
    read = reading.measure()
    connection.close()
    return [
        f"batch ingest: {sent.api_per_second:,.0f} events/s, "
        f"ratio to raw COPY {sent.api_per_second / sent.copy_per_second:.3f}",
        f"  {sent.events:,} events of {sent.event_bytes:.0f} bytes, {batch_api.EVENTS_A_BATCH:,} a signed batch, over "
        f"HTTP with {batch_api.WEB_WORKERS} web workers; "
        f"raw COPY of the entries alone {sent.copy_per_second:,.0f} rows/s",
        f"  django-simple-history: {saves:,.0f} saves/s; batch ingest is {sent.api_per_second / saves:.1f} times that",
        f"fsck: {read.fsck_per_second:,.0f} entries/s, "
        f"ratio to bare SHA-256 {read.fsck_per_second / read.sha256_per_second:.3f}",
        f"  {read.entries:,} entries, one process, the ledger's own rows and files without other rooms' comparisons; "
        f"bare SHA-256 {read.sha256_per_second:,.0f} entries/s; with two processes, their start included, "
        f"{read.two_processes_per_second:,.0f} entries/s",
    ]


def main() -> int:
    """Run everything on PostgreSQL; the figures say nothing on another engine."""
    url = os.environ.get("DATABASE_URL", "")
    if not url.startswith("postgres"):
        print("Run ./run bench, or set DATABASE_URL to a PostgreSQL server that may get a database of its own.")
        return 2
    with own_database(url) as own, folder("meterproof-bench-") as home:
        print("\n".join(measure(own, home)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
