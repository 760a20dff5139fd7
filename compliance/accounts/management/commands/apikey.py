"""`manage.py apikey create|revoke|list`: credentials of machines, for the command line."""

import os
from argparse import ArgumentParser
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from compliance.accounts import actions, policy, selectors
from compliance.accounts.policy import SYSTEM
from compliance.jobs import clock
from compliance.ledger.errors import Refused


class Command(BaseCommand):
    """Make, revoke or list API keys."""

    help = "Make an API key (its secret is printed once), revoke one, or list them."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Three words: create, revoke and list."""
        words = parser.add_subparsers(dest="word", required=True)
        create = words.add_parser("create", help="make a key; only the secret goes to standard output")
        create.add_argument("--organisation", required=True, metavar="ID")
        create.add_argument(
            "--scope",
            action="append",
            choices=sorted(policy.ALL_SCOPES),
            help=f"may be repeated; default: {' '.join(policy.SENDER_SCOPES)}",
        )
        create.add_argument("--days", type=int, default=actions.DEFAULT_KEY_LIFE.days)
        create.add_argument("--name", default="", help="where it is used, for people")
        create.add_argument("--to", type=Path, metavar="FILE", help="write the secret into this new file, mode 0600")
        revoke = words.add_parser("revoke", help="end a key at once")
        revoke.add_argument("id", help="the public part, mp_live_ and eight characters")
        words.add_parser("list", help="list keys")

    def handle(self, *args: Any, **options: Any) -> None:
        """Do it, and say what was done."""
        match options["word"]:
            case "create":
                self._create(options)
            case "revoke":
                self._revoke(options["id"])
            case "list":
                self._list()

    def _create(self, options: dict[str, Any]) -> None:
        organisation = selectors.organisation(options["organisation"])
        if organisation is None:
            raise CommandError(f"no organisation is called {options['organisation']}")
        expires = clock.now() + timedelta(days=options["days"])
        scopes = options["scope"] or list(policy.SENDER_SCOPES)
        path: Path | None = options["to"]
        try:
            with transaction.atomic():
                key, secret = actions.create_api_key(
                    by=SYSTEM, organisation=organisation, scopes=scopes, expires=expires, name=options["name"]
                )
                if path is not None:
                    _write_new(path, f"{secret}\n")
        except Refused as error:
            raise CommandError(str(error)) from error
        except OSError as error:
            raise CommandError(f"{path}: {error.strerror}; no key was made.") from error
        made = f"{key.public_id} for {organisation.pk}, until {key.expires_at:%Y-%m-%d}."
        if path is not None:
            self.stdout.write(f"{made} The secret is in {path}.")
            return
        self.stderr.write(f"{made} The secret, shown this once:")
        self.stdout.write(secret)

    def _revoke(self, public_id: str) -> None:
        key = selectors.api_keys_visible_to(SYSTEM).filter(identifier=public_id.removeprefix("mp_live_")).first()
        if key is None:
            raise CommandError(f"no API key is called {public_id}")
        actions.revoke_api_key(by=SYSTEM, key=key)
        self.stdout.write(f"{public_id} is revoked.")

    def _list(self) -> None:
        now = clock.now()
        for key in selectors.api_keys_visible_to(SYSTEM):
            state = "alive" if key.is_alive(now) else "ended"
            scopes = ", ".join(key.scopes)
            self.stdout.write(f"{key.public_id}  {state}  {key.organisation_id:<20}{scopes}  {key.name}")


def _write_new(path: Path, text: str) -> None:
    """Write a secret for its owner alone. A file that is there already may be a key in use, and stays."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
