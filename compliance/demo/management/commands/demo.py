"""`manage.py demo`: the main job on a simulated factory, over real HTTP, and an account of what was verified."""

import io
import json
from argparse import ArgumentParser
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connections

from compliance.client import ClientError
from compliance.demo.account import Account
from compliance.demo.journey import Journey, NotVerified, administrator
from compliance.demo.parameters import Parameters
from compliance.demo.review import ReviewFailed
from compliance.demo.scenario import generate
from compliance.demo.servers import Running, ServerFailed, serving, wait_until_answering

METERS, SEED = 300, 7
AUDITOR = "auditor"


class Command(BaseCommand):
    """Runs the demo. Exit status 0 only if everything it made was verified."""

    help = (
        "Let a simulated factory, a carrier, two utilities, an installer and a recycler send the life of some meters "
        "through the API, issue reports about it and verify them. Starts a server of its own unless --server is given."
    )
    requires_migrations_checks = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        """How many meters, which ones, and where."""
        parser.add_argument("--meters", type=int, default=METERS)
        parser.add_argument("--seed", type=int, default=SEED)
        parser.add_argument("--server", metavar="URL", help="use this running server instead of starting one")
        parser.add_argument("--folder", type=Path, help="where the results go (default: var/demo)")

    def handle(self, *args: Any, **options: Any) -> None:
        """Prepare, serve, run, end."""
        folder = options["folder"] or settings.VAR_DIR / "demo"
        folder.mkdir(parents=True, exist_ok=True)
        account = Account(self.stdout.write)
        logs = folder / "logs"
        server: AbstractContextManager[Running] = nullcontext(Running(str(options["server"]), ()))
        if options["server"] is None:
            self._prepare(account)
            server = serving(project=settings.BASE_DIR, logs=logs, broker=settings.CELERY_BROKER_URL)
        try:
            with server as running:
                self._run(account, running, logs, folder, options)
        except (NotVerified, ServerFailed, ReviewFailed, ClientError, ValueError) as error:
            raise CommandError(f"The demo failed: {error}") from error
        if options["server"] is None:
            self._open_accounts()
        account.say()
        account.say(f"Everything was verified, in {account.total_seconds} s. The results are in {folder}")

    def _prepare(self, account: Account) -> None:
        """Database, catalogues, log, accounts. By the names of commands: the demo knows no room of the product."""
        with account.step("prepare the database") as step:
            call_command("migrate", verbosity=0, stdout=io.StringIO())
            step.says = settings.DATABASES["default"]["ENGINE"].rsplit(".", 1)[1]
        with account.step("load the catalogues"):
            call_command("load_catalogues", verbosity=0, stdout=io.StringIO())
        said = io.StringIO()  # the first administrator's password, shown this once
        with account.step("create the log and its keys"):
            call_command("bootstrap", stdout=said)
            call_command("bootstrap", demo_people=True, stdout=io.StringIO())
        for line in said.getvalue().splitlines():
            account.say(f"    {line}")
        connections.close_all()

    def _run(self, account: Account, running: Running, logs: Path, folder: Path, options: dict[str, Any]) -> None:
        secrets, trust = Path(settings.METERPROOF["SECRETS_DIR"]), Path(settings.METERPROOF["TRUST_DIR"])
        with account.step("imagine factory and field") as step:  # while the server starts
            scenario = generate(Parameters.load(), meters=options["meters"], seed=options["seed"])
            step.says = f"{options['meters']} meters, {len(scenario.statements):,} events, seed {options['seed']}"
        with account.step("start server and worker") as step:
            if running.processes:
                wait_until_answering(running, logs)
            step.says = running.address
        api_key = (secrets / "admin-api-key").read_text().strip()
        with administrator(running.address, api_key, home=folder / "clients" / "administrator", trust=trust) as admin:
            journey = Journey(admin, _auditor(secrets), scenario, folder, trust, account)
            journey.run()

    def _open_accounts(self) -> None:
        """Now that the organisations exist, their people can look around too."""
        call_command("bootstrap", demo_people=True, stdout=io.StringIO())


def _auditor(secrets: Path) -> tuple[str, str]:
    accounts = json.loads((secrets / "demo-accounts.json").read_text())
    found = next(account for account in accounts if account["username"] == AUDITOR)
    return found["username"], found["password"]
