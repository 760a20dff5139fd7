"""`manage.py person add|list`: accounts of people, for the command line."""

import os
import secrets
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from compliance.accounts import actions, selectors
from compliance.accounts.policy import SYSTEM
from compliance.accounts.roles import MembershipRole
from compliance.ledger.errors import LedgerError, Refused

PASSWORD_VARIABLE = "METERPROOF_PERSON_PASSWORD"  # noqa: S105 (a name, not a password)


class Command(BaseCommand):
    """Open an account for a person in an organisation, or list who is what where."""

    help = (
        f"Open an account in an organisation. The password is read from {PASSWORD_VARIABLE} or made and printed once."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Two words: add and list."""
        words = parser.add_subparsers(dest="word", required=True)
        add = words.add_parser("add", help="open an account")
        add.add_argument("--username", required=True)
        add.add_argument("--name", required=True)
        add.add_argument("--email", default="")
        add.add_argument("--organisation", required=True, metavar="ID")
        add.add_argument("--role", required=True, choices=MembershipRole.values)
        words.add_parser("list", help="list accounts with their roles")

    def handle(self, *args: Any, **options: Any) -> None:
        """Do it, and say what was done."""
        if options["word"] == "list":
            for membership in selectors.memberships_visible_to(SYSTEM).filter(ended_at=None):
                line = f"{membership.person.username:<32}{membership.role:<16}{membership.organisation_id}"
                self.stdout.write(line)
            return
        organisation = selectors.organisation(options["organisation"])
        if organisation is None:
            raise CommandError(f"no organisation is called {options['organisation']}")
        given = os.environ.get(PASSWORD_VARIABLE)
        password = given or secrets.token_urlsafe(12)
        try:
            person = actions.create_person(
                by=SYSTEM,
                username=options["username"],
                name=options["name"],
                email=options["email"],
                password=password,
                organisation=organisation,
                role=options["role"],
            )
        except (Refused, LedgerError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"{person.username} is {options['role']} in {organisation.pk}.")
        if not given:
            self.stdout.write(f"Password, shown this once: {password}")
