"""Run all checks over the log now, and say what they saw."""

from typing import Any

from django.core.management.base import BaseCommand

from compliance.checks import actions
from compliance.ledger import integrate


class Command(BaseCommand):
    help = "Run every check over the whole log, open findings for what deviates, and print one line a check."

    def handle(self, *args: Any, **options: Any) -> None:
        integrate.integrate()
        run = actions.run()
        while actions.tell():
            pass
        self.stdout.write(f"{run.log_size} entries read, run {run.public_id}")
        for result in run.results.all():
            line = f"{result.detector} {result.name}: {result.population} looked at"
            self.stdout.write(f"{line}, {result.deviations} deviate, {result.not_evaluable} not evaluable")
