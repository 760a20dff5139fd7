"""`manage.py doctor`: what this installation has, what it lacks, and the remedy, a line each."""

import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.core import checks
from django.core.management.base import BaseCommand
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor

from compliance.jobs import selectors
from compliance.jobs.models import JobState, PeriodicRun

LOW_DISK_BYTES = 1 << 30  # below a GiB a day's uploads of a factory may not fit


@dataclass(frozen=True, slots=True)
class Line:
    """One thing looked at. Without a remedy it is in order."""

    what: str
    remedy: str = ""


class Command(BaseCommand):
    """Prints a line for each thing; exits 1 when something is missing."""

    help = "Say what is there and what is missing, with the remedy."
    requires_system_checks: list[str] = []  # they are among what is looked at

    def handle(self, *args: object, **options: object) -> None:
        """Look at everything, whatever fails on the way."""
        missing = 0
        at_database = (system_checks, database, background) if database_is_there() else (no_database,)
        for look in (python, *at_database, files):
            for line in _safely(look):
                missing += bool(line.remedy)
                mark = self.style.ERROR("missing") if line.remedy else self.style.SUCCESS("ok     ")
                self.stdout.write(f"{mark}  {line.what}{': ' + line.remedy if line.remedy else ''}")
        sys.exit(1 if missing else 0)


def _safely(look: Callable[[], Iterator[Line]]) -> Iterator[Line]:
    try:
        yield from look()
    except (DatabaseError, OSError) as error:
        yield Line(look.__name__, f"{error}".strip() or type(error).__name__)


def database_is_there() -> bool:
    """False when the file of SQLite is still to be made: connecting would make it."""
    return connection.vendor != "sqlite" or Path(connection.settings_dict["NAME"]).exists()


def no_database() -> Iterator[Line]:
    """Nothing was set up here."""
    yield Line("the database", "not made yet: ./run, or manage.py migrate")


def python() -> Iterator[Line]:
    """The interpreter, and the library that draws the PDFs."""
    yield Line(f"Python {sys.version.split()[0]}")
    try:
        import weasyprint
    except OSError as error:
        yield Line("PDF reports", f"{str(error).splitlines()[0]}; ./run installs Pango")
    else:
        yield Line(f"WeasyPrint {weasyprint.__version__}")


def system_checks() -> Iterator[Line]:
    """What the rooms check about themselves."""
    problems = [message for message in checks.run_checks(databases=["default"]) if message.is_serious()]
    for message in problems:
        yield Line(str(message.id), f"{message.msg} {message.hint or ''}".strip())
    if not problems:
        yield Line("guards, signer and database agree")


def database() -> Iterator[Line]:
    """The database, its engine and its migrations."""
    connection.ensure_connection()
    yield Line(f"database: {connection.vendor} {'.'.join(map(str, connection.get_database_version()))}")
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    yield Line("migrations", f"{len(plan)} to apply: manage.py migrate" if plan else "")


def files() -> Iterator[Line]:
    """Keys, the trust folder, and room on the disks."""
    ours = settings.METERPROOF
    key = ours["TRUST_DIR"] / "log.vkey"
    yield Line("the log and its trust folder", "" if key.exists() else "not made yet: manage.py bootstrap")
    if ours["SECRETS_DIR"].exists():
        open_files = [path.name for path in ours["SECRETS_DIR"].iterdir() if path.stat().st_mode & 0o077]
        yield Line("secrets readable by their owner only", f"chmod 600 {' '.join(open_files)}" if open_files else "")
    for name in ("LOG_DIR", "BLOB_DIR"):
        folder = next(path for path in (ours[name], *ours[name].parents) if path.exists())
        free = shutil.disk_usage(folder).free
        remedy = "" if free > LOW_DISK_BYTES else "make room: a batch that does not fit is refused"
        yield Line(f"{name.lower()} has {free >> 20:,} MiB free", remedy)


def background() -> Iterator[Line]:
    """The worker's work."""
    counts = selectors.counts()
    failed = counts.get(JobState.FAILED, 0)
    yield Line(f"jobs: {counts or 'none'}", f"{failed} failed; see their reason in the job table" if failed else "")
    for run in PeriodicRun.objects.exclude(last_failure=""):
        yield Line(run.name, run.last_failure)
