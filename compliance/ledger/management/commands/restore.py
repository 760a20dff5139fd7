"""`manage.py restore FOLDER`: an empty installation becomes what a backup holds, and everything is read again."""

import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from compliance.ledger import fsck, restore
from compliance.ledger.errors import LedgerError


class Command(BaseCommand):
    """Refuses, before it changes anything, whatever could end in two histories. Ends with an fsck: exit code 1 if that
    finds something.
    """

    help = "Restore a backup into an empty database, then check everything. Web server and worker must be off."
    requires_system_checks: list[str] = []  # there is no database yet

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("folder", type=Path, help="what manage.py backup wrote")
        parser.add_argument(
            "--replay",
            type=Path,
            metavar="LOG",
            help="the backup is older than what was signed: read the entries between from this published log",
        )
        parser.add_argument(
            "--adopt-signer",
            action="store_true",
            help="the signer's memory is lost, and nobody can hold a later checkpoint than the backup's",
        )

    def handle(self, *_args: Any, folder: Path, replay: Path | None, adopt_signer: bool, **_options: Any) -> None:
        try:
            restored = restore.restore(folder, replay_from=replay, adopt_signer=adopt_signer)
            result = fsck.run()
        except LedgerError as error:
            raise CommandError(str(error)) from None
        self.stdout.write(f"Restored the backup of {restored.created}: {restored.size} entries.")
        if restored.replayed:
            self.stdout.write(f"Read {restored.replayed} entries again from {replay}; the root is the one signed last.")
        for problem in result.problems:
            self.stdout.write(f"{problem.code}: {problem.place}: {problem.detail}")
        if not result.sound:
            self.stdout.write(self.style.ERROR(f"NOT SOUND: {result.problem_count} problems."))
            sys.exit(1)
        self.stdout.write(self.style.SUCCESS(f"Sound up to size {result.size}."))
