"""`manage.py witness`: be a witness for other people's logs. A thin door to `compliance.witness`, which needs no
database.
"""

import sys
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from compliance.witness import cli
from compliance.witness.home import HomeError


class Command(BaseCommand):
    """Keys and memory lie in a folder of their own, by default `witness` in METERPROOF_VAR."""

    help = "Be a witness: cosign checkpoints of other logs that continue what was cosigned before."
    requires_system_checks: list[str] = []  # nothing of the product is used

    def add_arguments(self, parser: ArgumentParser) -> None:
        cli.add_arguments(parser, folder=settings.METERPROOF["WITNESS_DIR"])

    def handle(self, *_args: Any, **options: Any) -> None:
        try:
            status = cli.run(options, sys.stdout)
        except HomeError as error:
            raise CommandError(str(error)) from None
        if status:
            sys.exit(status)
