"""`manage.py worker`: run background jobs until told to stop."""

import signal
import threading
from types import FrameType

from django.core.management.base import BaseCommand, CommandError, CommandParser

from compliance.jobs import registry, worker


class Command(BaseCommand):
    """Polls the job table. Needs no broker; may run beside Celery workers."""

    help = "Run background jobs and periodic tasks (publishing the log, checks, reports) until SIGTERM or Ctrl-C."

    def add_arguments(self, parser: CommandParser) -> None:
        """--once for cron."""
        parser.add_argument("--once", action="store_true", help="run what is due now, then end")

    def handle(self, *args: object, **options: object) -> None:
        """Run until a signal comes."""
        try:
            registry.start()
        except registry.StartRefused as refusal:
            raise CommandError(str(refusal)) from None
        if options["once"]:
            names = worker.tick() + worker.tick(waits=True)
            self.stdout.write(f"ran {worker.run_until_idle()} jobs and {len(names)} periodic tasks")
            return
        stop = threading.Event()

        def end(_signal: int, _frame: FrameType | None) -> None:
            stop.set()

        signal.signal(signal.SIGTERM, end)
        signal.signal(signal.SIGINT, end)
        self.stdout.write("worker ready")
        self.stdout.flush()
        worker.serve(stop)
