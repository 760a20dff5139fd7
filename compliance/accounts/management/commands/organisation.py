"""`manage.py organisation register|list`: what an administrator does in the pages, for the command line."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from compliance.accounts import actions, selectors
from compliance.accounts.models import SignaturePolicy
from compliance.accounts.policy import SYSTEM
from compliance.accounts.registration import register_with_file
from compliance.accounts.roles import MarketRole
from compliance.ledger.errors import LedgerError, Refused
from compliance.proof.errors import ProofError


class Command(BaseCommand):
    """Register an organisation with its first key, or list those that are registered."""

    help = "Register an organisation with its first signing key, or list the registered ones."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Two words: register and list."""
        words = parser.add_subparsers(dest="word", required=True)
        register = words.add_parser("register", help="record an organisation and its first key in the log")
        register.add_argument("--id", required=True, help="lower-case letters, digits and _; given once, for ever")
        register.add_argument("--name", required=True)
        register.add_argument(
            "--role", action="append", required=True, choices=MarketRole.values, help="may be repeated"
        )
        register.add_argument(
            "--signature-policy", choices=SignaturePolicy.values, default=SignaturePolicy.REQUIRED.value
        )
        key = register.add_mutually_exclusive_group(required=True)
        key.add_argument(
            "--registration", type=Path, metavar="FILE", help="registration.ndjson, made by the client's keygen"
        )
        key.add_argument(
            "--first-key", metavar="KEYID", help="key id, if the organisation sends the registration itself"
        )
        words.add_parser("list", help="list the organisations")

    def handle(self, *args: Any, **options: Any) -> None:
        """Do it, and say what was done."""
        if options["word"] == "list":
            for organisation in selectors.organisations_visible_to(SYSTEM):
                self.stdout.write(f"{organisation.pk:<32}{', '.join(organisation.roles):<40}{organisation.name}")
            return
        try:
            self._register(options)
        except OSError as error:
            raise CommandError(f"{options['registration']}: {error.strerror}") from error
        except (Refused, ProofError, LedgerError) as error:
            raise CommandError(str(error)) from error

    def _register(self, options: dict[str, Any]) -> None:
        wanted = {
            "id": options["id"],
            "name": options["name"],
            "roles": options["role"],
            "signature_policy": options["signature_policy"],
        }
        path: Path | None = options["registration"]
        if path is None:
            organisation = actions.register_organisation(by=SYSTEM, first_key=options["first_key"], **wanted)
        else:
            organisation = register_with_file(by=SYSTEM, registration=path.read_bytes(), **wanted)
        self.stdout.write(f"{organisation.pk} is registered; its first key is {organisation.first_key}.")
        if path is not None:
            self.stdout.write(f"The key registered itself. {organisation.pk} can send signed batches.")
