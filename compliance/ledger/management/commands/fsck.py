"""`manage.py fsck`: read every stored byte of the ledger again."""

import json
import sys
from argparse import ArgumentParser
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from tqdm import tqdm

from compliance.ledger import fsck
from compliance.ledger.errors import LedgerError
from compliance.ledger.fsck import processes
from compliance.ledger.fsck.run import Readers

NOT_SOUND = 1
NOT_CHECKED = 2
MAX_JOBS = 256  # each has a connection to the database


class Command(BaseCommand):
    """Exit code 0: all fits together. 1: something does not, and the output names the places. 2: it could not be
    checked.
    """

    help = "Read every stored byte of the ledger again and compare everything that was derived from it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="the result as one JSON object on standard output")
        who = parser.add_mutually_exclusive_group()
        who.add_argument("--jobs", type=int, default=1, metavar="N", help="read with N processes of this machine")
        who.add_argument(
            "--workers",
            action="store_true",
            help="let the workers of the installation read, on all their hosts; they need the log folder too",
        )

    def handle(self, *_args: Any, json: bool, jobs: int, workers: bool, **_options: Any) -> None:
        if not 1 <= jobs <= MAX_JOBS:
            raise CommandError(f"--jobs is 1 to {MAX_JOBS}; about as many as the machine has cores")
        try:
            with _readers(jobs, workers=workers) as readers:
                result = self._run(readers, quiet=json or not sys.stderr.isatty())
        except LedgerError as error:
            self.stderr.write(str(error))
            sys.exit(NOT_CHECKED)
        if json:
            self.stdout.write(_as_json(result))
        else:
            self._say(result)
        if not result.sound:
            sys.exit(NOT_SOUND)

    def _run(self, readers: Readers | None, *, quiet: bool) -> fsck.FsckResult:
        with tqdm(unit=" entries", disable=quiet, file=sys.stderr) as bar:

            def progress(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)

            return fsck.run(progress=progress, readers=readers)

    def _say(self, result: fsck.FsckResult) -> None:
        for problem in result.problems:
            self.stdout.write(f"{problem.code}: {problem.place}: {problem.detail}")
        if result.problem_count > len(result.problems):
            self.stdout.write(f"… and {result.problem_count - len(result.problems)} more")
        rate = result.entries / result.seconds if result.seconds else 0
        self.stdout.write(
            f"Read {result.entries} entries of {result.batches} batches, {result.checkpoints} checkpoints and "
            f"{result.files} published files in {result.seconds:.1f} s ({rate:,.0f} entries/s)."
        )
        if result.redacted:
            self.stdout.write(f"{result.redacted} entries are redacted: their bytes are gone, their hashes stand.")
        if result.sound:
            self.stdout.write(self.style.SUCCESS(f"Sound up to size {result.size}."))
        else:
            self.stdout.write(self.style.ERROR(f"NOT SOUND: {result.problem_count} problems."))


def _readers(jobs: int, *, workers: bool) -> AbstractContextManager[Readers | None]:
    if workers:
        return nullcontext(processes.workers())
    return processes.processes(jobs) if jobs > 1 else nullcontext()


def _as_json(result: fsck.FsckResult) -> str:
    return json.dumps(result.to_object(), indent=1)
