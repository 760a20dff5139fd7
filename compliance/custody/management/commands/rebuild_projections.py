"""`manage.py rebuild_projections`: make all projections of custody and provisioning again from the log."""

import sys
from typing import Any

from django.core.management.base import BaseCommand

from compliance.custody import rebuild


class Command(BaseCommand):
    """See the module."""

    help = "Makes all projections of custody and provisioning again from the log alone, in one transaction."

    def handle(self, *_args: Any, **_options: Any) -> None:
        """Replay the log and say what was made."""
        made = rebuild.rebuild(progress=self._tell if sys.stderr.isatty() else None)
        self.stdout.write(f"{made.entries} entries of {made.batches} batches replayed")
        for table, rows in made.rows.items():
            self.stdout.write(f"  {table}: {rows} rows")

    def _tell(self, done: int, total: int) -> None:
        end = "\n" if done == total else "\r"
        self.stderr.write(f"{done} of {total} batches", ending=end)
