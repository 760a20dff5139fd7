"""`manage.py bootstrap`: the log, the first administrator and the key with which the first organisation is registered.

Running it again changes nothing that is there.
"""

import os
import secrets
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from compliance.accounts import actions, api_keys, demo_people, policy
from compliance.accounts.models import Membership, Organisation
from compliance.accounts.policy import SYSTEM
from compliance.accounts.roles import PLATFORM, MembershipRole
from compliance.jobs import clock
from compliance.ledger import files, setup

PASSWORD_VARIABLE = "METERPROOF_ADMIN_PASSWORD"  # noqa: S105 (a name, not a password)
ADMINISTRATOR = "admin"
KEY_FILE = "admin-api-key"
KEY_SCOPES = sorted({*policy.PLATFORM_SCOPES, "reports:read", "events:read"})


class Command(BaseCommand):
    """Make what a new installation needs before anybody can sign in."""

    help = (
        "Create the log, the first administrator and an API key for administration, where they are missing. The "
        f"password is read from {PASSWORD_VARIABLE} or made and printed once."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """One choice."""
        parser.add_argument(
            "--demo-people", action="store_true", help="also open accounts for looking around; never in production"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Do what is missing, and say it."""
        setup.create_log()
        self._administrator()
        self._admin_api_key()
        if options["demo_people"]:
            self._demo_people()

    def _administrator(self) -> None:
        if Membership.objects.in_force().filter(role=MembershipRole.ADMINISTRATOR).exists():
            return
        given = os.environ.get(PASSWORD_VARIABLE)
        password = given or secrets.token_urlsafe(12)
        organisation = Organisation.objects.get(pk=PLATFORM)  # the log's first batch registered it
        actions.create_person(
            by=SYSTEM,
            username=ADMINISTRATOR,
            name="Administrator",
            email="",
            password=password,
            organisation=organisation,
            role=MembershipRole.ADMINISTRATOR,
        )
        self.stdout.write(f"Administrator: {ADMINISTRATOR}")
        if not given:
            self.stdout.write(f"Password, shown this once: {password}")

    def _admin_api_key(self) -> None:
        path = Path(settings.METERPROOF["SECRETS_DIR"]) / KEY_FILE
        if path.exists() and api_keys.recognise(path.read_text().strip(), at=clock.now()):
            return
        organisation = Organisation.objects.get(pk=PLATFORM)  # the log's first batch registered it
        _, secret = actions.create_api_key(
            by=SYSTEM, organisation=organisation, scopes=KEY_SCOPES, name=f"bootstrap, {KEY_FILE}"
        )
        files.replace(path, f"{secret}\n".encode(), mode=0o600)
        self.stdout.write(f"Administrator's API key: {path}")

    def _demo_people(self) -> None:
        path = Path(settings.METERPROOF["SECRETS_DIR"]) / demo_people.FILE
        accounts = demo_people.ensure(path)
        self.stdout.write("Accounts for looking around:")
        for account in accounts:
            self.stdout.write(f"  {account.username:<16}{account.password:<20}{account.role} in {account.organisation}")
