"""`python -m tests.benchmarks`: print one run's figures, from a database of its own on the server of DATABASE_URL."""

import argparse
import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

from tests.benchmarks import batch_api, growth, reading, single_events
from tests.benchmarks.installed import start_django
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


def measure(url: str, home: Path, *, batches: int, singles: int) -> list[str]:
    """Send batches over HTTP, then read what came of them; the lines to print."""
    sent = batch_api.measure(url, home, batches=batches, singles=singles)
    start_django(url, home)
    from django.core.management import call_command
    from django.db import connection

    from compliance.accounts.models import ApiKey
    from compliance.ledger import integrate, publish
    from tests.benchmarks import scoping, shares
    from tests.benchmarks.history.saves import saves_per_second

    call_command("migrate", verbosity=0, run_syncdb=True)  # the benchmark's own table refers to people
    further = batch_api.further_batches(sent.installation, 6)
    sender = ApiKey.objects.get(organisation=batch_api.ORGANISATION)
    shares.measure(further[:2], sender)  # warms caches and plans
    parts = shares.measure(further[2:], sender)
    saves = saves_per_second(batch_api.an_event())
    with_scope, without = scoping.measure(batch_api.ORGANISATION)
    integrate.integrate()
    publish.publish()
    connection.close()
    each = 1_000_000 / sent.events
    return [
        f"batch ingest: {sent.api_per_second:,.0f} events/s, "
        f"ratio to raw COPY {sent.api_per_second / sent.copy_per_second:.3f}",
        f"  {sent.events:,} events of {sent.event_bytes:.0f} bytes, {batch_api.EVENTS_A_BATCH:,} a signed batch, over "
        f"HTTP with {batch_api.WEB_WORKERS} web workers; "
        f"raw COPY of the entries alone {sent.copy_per_second:,.0f} rows/s",
        f"  processor time an event: web {sent.spent.web * each:.0f} us, "
        f"PostgreSQL {sent.spent.database * each:.0f} us",
        "  where a worker's time goes: " + ", ".join(f"{kind} {share:.0%}" for kind, share in parts.items()),
        f"  django-simple-history: {saves:,.0f} saves/s; batch ingest is {sent.api_per_second / saves:.1f} times that",
        f"single events: {single_events.REQUESTS_A_SECOND} requests/s, {sent.answers}; "
        f"a commit of the database alone: {sent.commits}",
        f"row scope: a lookup by primary key takes {with_scope:.0f} us with it, {without:.0f} us without",
        *reading.lines(url, home),
    ]


def server(url: str) -> str:
    """Which PostgreSQL it is, and the settings that matter here."""
    names = ("server_version", "shared_buffers", "max_wal_size", "checkpoint_timeout", "fsync", "synchronous_commit")
    with psycopg.connect(url) as connection:
        version, *values = [connection.execute(f"SHOW {name}").fetchone()[0] for name in names]  # type: ignore[index]
    told = ", ".join(f"{name} {value}" for name, value in zip(names[1:], values, strict=True))
    return f"PostgreSQL {version} with {told}"


def arguments() -> argparse.Namespace:
    """What to measure."""
    parser = argparse.ArgumentParser(prog="./run bench", description="Measurements; nothing is compared or asserted.")
    parser.add_argument("what", nargs="?", choices=["all", "growth", "fsck"], default="all")
    quick = "a quarter of the batches; growth to 100,000 entries, fsck to 200,000"
    full = "growth to 10,000,000 entries: hours, and 30 GB of disk; fsck to 1,000,000"
    parser.add_argument("--quick", action="store_true", help=quick)
    parser.add_argument("--full", action="store_true", help=full)
    return parser.parse_args()


def main() -> int:
    """Run on PostgreSQL; the figures say nothing on another engine."""
    asked = arguments()
    url = os.environ.get("DATABASE_URL", "")
    if not url.startswith("postgres"):
        print("Run ./run bench, or set DATABASE_URL to a PostgreSQL server that may get a database of its own.")
        return 2
    with own_database(url) as own, folder("meterproof-bench-") as home:
        print(server(own), flush=True)
        if asked.what == "growth":
            for line in growth.measure(own, home, sizes=growth.sizes(quick=asked.quick, full=asked.full)):
                print(line, flush=True)
            return 0
        if asked.what == "fsck":
            for line in reading.measure(own, home, sizes=reading.sizes(quick=asked.quick, full=asked.full)):
                print(line, flush=True)
            return 0
        few = asked.quick
        print("\n".join(measure(own, home, batches=12 if few else 40, singles=250 if few else 500)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
