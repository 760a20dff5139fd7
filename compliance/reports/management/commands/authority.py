"""`manage.py authority`: the keys that seal reports and stamp the time."""

from argparse import ArgumentParser

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from compliance.reports import authority
from compliance.reports.authority.development import DevelopmentAuthority


class Command(BaseCommand):
    """Make the development authority, show what is there, or revoke its seal."""

    help = "Seal and time stamp authority of reports: init, status, revoke-seal."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Which of the three."""
        parser.add_argument("step", choices=["init", "status", "revoke-seal"])

    def handle(self, *, step: str, **_options: object) -> None:
        """Do it, then say what is there now."""
        try:
            if step == "revoke-seal":
                self._revoke_seal()
            if step != "status":
                authority.publish_roots()
            for line in authority.status():
                self.stdout.write(line)
        except authority.AuthorityMissing as error:
            raise CommandError(str(error)) from error

    def _revoke_seal(self) -> None:
        if not authority.seal_material().is_development:
            raise CommandError("This seal was issued outside: ask its issuer to revoke it.")
        DevelopmentAuthority(settings.METERPROOF["AUTHORITY_DIR"]).revoke_seal()
