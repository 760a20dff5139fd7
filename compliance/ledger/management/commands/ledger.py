"""`manage.py ledger`: create the log, integrate, publish, look at it, and mend what can be mended."""

from argparse import ArgumentParser
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from compliance.ledger import (
    anchors,
    clock_guard,
    guards,
    integrate,
    publish,
    roles,
    selectors,
    setup,
    signer,
    startup,
    witnesses,
)
from compliance.ledger.errors import LedgerError
from compliance.ledger.models import Pending
from compliance.proof.times import format_posix


class Command(BaseCommand):
    """One word says what to do. Errors say what is wrong and how to go on; nothing is half done."""

    help = "Create, integrate, publish or inspect the log."

    def add_arguments(self, parser: ArgumentParser) -> None:
        words = parser.add_subparsers(dest="word", required=True)
        words.add_parser(
            "init", help="make the keys, the first entries and the trust folder; does nothing the second time"
        )
        words.add_parser("integrate", help="give committed batches their place in the log")
        publishing = words.add_parser("publish", help="integrate, then sign and publish a checkpoint over everything")
        publishing.add_argument(
            "--rebuild", action="store_true", help="first derive every published file from the rows again"
        )
        words.add_parser(
            "status", help="say how far the log is, and whether database, signer and files belong together"
        )
        words.add_parser("guards", help="put up all guards of the database again, naming those that were missing")
        naming = words.add_parser(
            "roles",
            help="print the SQL for a role that neither changes recorded rows nor gets past row-level security",
        )
        naming.add_argument("--application", default="meterproof_app", help="name of the role (default: %(default)s)")
        words.add_parser(
            "witnesses", help="say what each witness answered last, and write the trust folder with their policy"
        )
        going = words.add_parser("go-on", help="publish again after a witness's alarm; the reason is kept")
        going.add_argument("reason", help="what was found out, in a sentence")
        words.add_parser("accept-clock", help="say that the clock is right although it is far ahead of the last entry")

    def handle(self, *_args: Any, word: str, **options: Any) -> None:
        work: dict[str, Callable[[], None]] = {
            "init": self._init,
            "integrate": self._integrate,
            "publish": lambda: self._publish(rebuild=options["rebuild"]),
            "status": self._status,
            "guards": self._guards,
            "roles": lambda: self._roles(options["application"]),
            "witnesses": self._witnesses,
            "go-on": lambda: self._go_on(options["reason"]),
            "accept-clock": self._accept_clock,
        }
        try:
            work[word]()
        except LedgerError as error:
            raise CommandError(str(error)) from None

    def _init(self) -> None:
        made = setup.create_log()
        self.stdout.write(
            "The log is created." if made else "There is a log already; the trust folder is written again."
        )
        self.stdout.write(f"Trust folder: {setup.write_trust_folder()}")

    def _integrate(self) -> None:
        self.stdout.write(f"{integrate.integrate()} entries integrated; the log has {selectors.log_size()}.")

    def _publish(self, *, rebuild: bool) -> None:
        integrate.integrate()
        before = selectors.latest_checkpoint()
        publish.rebuild() if rebuild else publish.publish(hurry=True)
        shown = selectors.latest_checkpoint()
        if shown is None or (before is not None and before.size == shown.size):
            self.stdout.write("Nothing new to publish.")
            self._say_what_waits()
        else:
            self.stdout.write(f"Published a checkpoint over {shown.size} entries, root {shown.root.hex()}.")

    def _status(self) -> None:
        signed = signer.last_signed()
        self.stdout.write(f"entries in the log   {selectors.log_size()}")
        self.stdout.write(f"batches waiting      {Pending.objects.count()}")
        self.stdout.write(f"last signed          {signed.checkpoint.size if signed else 'nothing yet'}")
        for name in guards.missing():
            self.stdout.write(self.style.ERROR(f"guard missing        {name}"))
        self._say_time_stamps()
        self._say_witnesses()
        startup.compare_with_signer()
        witnesses.require_no_alarm()
        self.stdout.write(self.style.SUCCESS("Database, signer and published files belong together."))

    def _roles(self, application: str) -> None:
        for statement in roles.statements(application):
            self.stdout.write(f"{statement};")

    def _say_time_stamps(self) -> None:
        standing = anchors.standing()
        stamped = (
            f"{standing.size} at {standing.stamped_at:%Y-%m-%d %H:%M:%S} UTC" if standing.stamped_at else "none yet"
        )
        self.stdout.write(f"last time stamp      {stamped}")
        if standing.pending_since is not None:
            style = self.style.ERROR if standing.is_alarm else self.style.WARNING
            since = f"{standing.pending_since:%Y-%m-%d %H:%M:%S} UTC"
            waiting = f"{standing.waiting} checkpoints"
            self.stdout.write(style(f"anchor pending       since {since}, {waiting}: {standing.failure}"))

    def _guards(self) -> None:
        missing = guards.missing()
        for name in missing:
            self.stdout.write(self.style.WARNING(f"was missing: {name}"))
        guards.install()
        self.stdout.write(
            "All guards are up. Look what happened meanwhile with: manage.py fsck" if missing else "All guards are up."
        )

    def _witnesses(self) -> None:
        self._say_witnesses()
        self.stdout.write(f"Trust folder: {setup.write_trust_folder()}")
        witnesses.require_no_alarm()

    def _say_witnesses(self) -> None:
        for name, url, known in witnesses.standing():
            at = f"size {known.size}" + (f", cosigned at {format_posix(known.time)}" if known.time else "")
            self.stdout.write(f"witness {name:<12} {url or 'without address'}: {known.outcome}; {at}")
        self._say_what_waits()

    def _say_what_waits(self) -> None:
        signed = signer.last_signed()
        if signed is not None and not witnesses.collected(signed.note).may_be_shown:
            self.stdout.write(self.style.ERROR(f"The checkpoint over {signed.checkpoint.size} waits for witnesses."))

    def _go_on(self, reason: str) -> None:
        raised = witnesses.go_on(reason)
        self.stdout.write(f"Publishing goes on. Witness {raised.witness} said: {raised.why}")
        self.stdout.write(f"It is asked again: take it out of {settings.METERPROOF['WITNESS_POLICY']} if it is wrong.")

    def _accept_clock(self) -> None:
        clock_guard.accept(however_long=True)
        self.stdout.write(f"The log goes on from {clock_guard.latest_seen():%Y-%m-%d %H:%M:%S} UTC.")
