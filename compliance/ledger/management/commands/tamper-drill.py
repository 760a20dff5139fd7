"""`manage.py tamper-drill`: do to a copy whatever an administrator of database and disk can do, and see it found."""

import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from compliance.ledger.drill import copy, rows
from compliance.ledger.errors import LedgerError

NOT_FOUND = 1
NOT_TRIED = 2


class Command(BaseCommand):
    """Exit code 0: everything that can be found was found. 1: something was not. 2: it could not be tried."""

    help = "Damage a copy of the ledger in every way and see that fsck finds it. The ledger itself is only read."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--only",
            action="append",
            default=[],
            choices=[model._meta.db_table for model in rows.TABLES],
            help="rows of this table, and no files and histories; may be given more than once",
        )

    def handle(self, *_args: Any, only: list[str], **_options: Any) -> None:
        try:
            report = copy.drill(only)
        except LedgerError as error:
            self.stderr.write(str(error))
            sys.exit(NOT_TRIED)
        for line in report.lines():
            self.stdout.write(line)
        if not report.passed:
            sys.exit(NOT_FOUND)
