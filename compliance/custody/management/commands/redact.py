"""`manage.py redact`: by order of law, remove the text of one entry and say so in the log for ever."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from compliance.accounts.models import Person
from compliance.accounts.policy import NotAllowed
from compliance.custody import redaction
from compliance.ledger.errors import LedgerError, Refused


class Command(BaseCommand):
    """Run it as the owner of the tables, like migrate. It may be run again after an interruption."""

    help = "Remove the text of one entry by order of law. Its hash stays, and the log says who ordered it and why."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("subject", help="such as meter:dlms_system_title:454C560000000001")
        parser.add_argument("seq", type=int, help="number of the entry in the chain of the subject")
        parser.add_argument("--by", required=True, metavar="USERNAME", help="the administrator who does it")
        parser.add_argument("--authority", required=True, help="who ordered it, without personal data: it stays")
        parser.add_argument("--reason", required=True, help="why, without personal data: it stays")

    def handle(
        self, *_args: Any, subject: str, seq: int, by: str, authority: str, reason: str, **_options: Any
    ) -> None:
        person = Person.objects.filter(username=by).first()
        if person is None:
            raise CommandError(f"nobody is called {by}")
        try:
            done = redaction.redact(by=person, subject=subject, seq=seq, authority=authority, reason=reason)
        except (NotAllowed, Refused, LedgerError) as error:
            raise CommandError(str(error)) from None
        self.stdout.write(
            f"Entry {done.seq} of {done.subject}, leaf {done.leaf}, is redacted; its hash {done.hash} stays."
        )
        self.stdout.write("Its bytes may still be in free pages of the database (VACUUM), in backups, in exports, with")
        self.stdout.write("mirrors, and in bundles and reports that were given away.")
