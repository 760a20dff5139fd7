"""`manage.py log`: what an operator does with the log as a whole: change its keys, take it away, bring it in."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from compliance.ledger import export, importing, keys, mirror, post_quantum_key, rotation, setup
from compliance.ledger.errors import LedgerError
from compliance.proof.errors import ProofError
from compliance.proof.times import parse_time


class Command(BaseCommand):
    """One word says what to do. Every step can be repeated after an interruption."""

    help = "Change the keys of the log, write it all out, or read it into an empty installation."

    def add_arguments(self, parser: ArgumentParser) -> None:
        words = parser.add_subparsers(dest="word", required=True)
        rotate = words.add_parser("rotate-key", help="begin to change a key; with --finish, revoke the old one")
        rotate.add_argument("use", nargs="?", choices=keys.USES, default=keys.LOG, help="which key (default: log)")
        rotate.add_argument("--token", default="", metavar="URI", help="keep the new log key in a token (PKCS #11 URI)")
        rotate.add_argument("--finish", action="store_true", help="revoke the old key; the new one signs alone")
        rotate.add_argument("--effective-at", default="", metavar="TIME", help="with --finish: lost since, in UTC")
        rotate.add_argument("--reason", choices=rotation.REASONS, default=rotation.SUPERSEDED, help="with --finish")
        rotate.add_argument("--text", default="", help="with --finish: what happened, for the log")
        words.add_parser("keys", help="name the keys that sign now, oldest first")
        writing = words.add_parser("export", help="write the whole published log into an empty folder, and verify it")
        writing.add_argument("folder", type=Path)
        writing.add_argument("--with-evidence", action="store_true", help="the evidence files too")
        reading = words.add_parser("import", help="read an export into this empty installation, as a mirror")
        reading.add_argument("folder", type=Path)
        reading.add_argument("--trust", type=Path, help="a trust folder you got otherwise (default: the export's own)")
        words.add_parser("post-quantum-key", help="make the key for a second signature with ML-DSA-44, and print it")

    def handle(self, *_args: Any, word: str, **options: Any) -> None:
        try:
            match word:
                case "keys":
                    self._keys()
                case "export":
                    self._export(options["folder"], with_evidence=options["with_evidence"])
                case "import":
                    self._import(options["folder"], options["trust"])
                case "post-quantum-key":
                    self._post_quantum_key()
                case _:
                    self._rotate(**options)
        except LedgerError as error:
            raise CommandError(str(error)) from None

    def _export(self, folder: Path, *, with_evidence: bool) -> None:
        made = export.export_log(folder, with_evidence=with_evidence)
        self.stdout.write(
            f"{made.size} entries in {made.batches} batches, {made.receipts} receipts, {made.checkpoints} checkpoints, "
            f"{made.time_stamps} time stamps and {made.evidence} evidence files are in {folder}; it verifies."
        )
        self._say_left_out()

    def _import(self, folder: Path, trust: Path | None) -> None:
        read = importing.import_log(folder, trust)
        self.stdout.write(
            f"{read.size} entries in {read.batches} batches, {read.checkpoints} checkpoints, {read.time_stamps} time "
            f"stamps and {read.evidence} evidence files are here, and fsck finds nothing."
        )
        self._say_left_out()
        if trust is None:
            self.stdout.write("Checked with the trust folder in the export: whoever made it could have made both.")

    def _say_left_out(self) -> None:
        self.stdout.write("Not in an export:")
        for what in mirror.LEFT_OUT:
            self.stdout.write(f"    {what}")

    def _rotate(self, *, use: str, token: str, finish: bool, **options: Any) -> None:
        if not finish:
            change = rotation.begin(use, uri=token)
            self.stdout.write(f"The {use} key {change.new} is in the log, beside {change.old}.")
            self.stdout.write("Give the trust folder to those who verify, and when they have it:")
            self.stdout.write(f"    manage.py log rotate-key {use} --finish")
            return
        effective_at = None
        if options["effective_at"]:
            try:
                effective_at = parse_time(options["effective_at"])
            except ProofError as error:
                raise CommandError(error.detail) from None
        change = rotation.finish(use, effective_at=effective_at, reason=options["reason"], text=options["text"])
        self.stdout.write(f"The {use} key {change.old} is revoked; {change.new} signs alone.")
        self.stdout.write("Give the trust folder to those who verify, then destroy the old private key.")

    def _post_quantum_key(self) -> None:
        signer = post_quantum_key.make()
        setup.write_trust_folder()
        self.stdout.write(signer.vkey)
        if not settings.METERPROOF["POST_QUANTUM"]:
            self.stdout.write(
                "Give the trust folder to those who verify. It signs once METERPROOF_POST_QUANTUM=1 is set."
            )

    def _keys(self) -> None:
        for key in rotation.standing():
            since = "waits for its place" if key.added is None else f"since entry {key.added}"
            self.stdout.write(f"{key.use:<8} {key.id}  {since}, recorded {key.recorded_at}")
