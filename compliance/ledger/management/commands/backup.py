"""`manage.py backup FOLDER`: database, published log, evidence, reports and trust folder as they are together."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from compliance.ledger import backup
from compliance.ledger.errors import LedgerError


class Command(BaseCommand):
    """Nobody is kept waiting: senders and publisher go on. The folder must not exist."""

    help = "Write a backup into a new folder, with a manifest of digests. The product may go on meanwhile."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("folder", type=Path, help="a new folder, for its owner's eyes alone")
        parser.add_argument(
            "--with-secrets", action="store_true", help="private keys too: keep such a backup as you keep the keys"
        )

    def handle(self, *_args: Any, folder: Path, with_secrets: bool, **_options: Any) -> None:
        try:
            manifest = backup.make(folder.absolute(), with_secrets=with_secrets)
        except (LedgerError, OSError) as error:
            raise CommandError(f"No backup was made. {error}") from None
        size = sum(size for size, _ in manifest.files.values())
        self.stdout.write(
            f"Backed up {len(manifest.files)} files, {size} bytes, into {folder}. "
            f"Last signed checkpoint: {manifest.signed} entries."
        )
        if not with_secrets:
            self.stdout.write("Private keys are not in it. Keep a copy of METERPROOF_SECRETS_DIR offline.")
