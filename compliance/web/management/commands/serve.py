"""`manage.py serve`: the web server and a worker, ended together."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from compliance.jobs import registry

FIRST_PORT = 8000
PORTS_TRIED = 50
START_SECONDS = 60
THREADS_A_WORKER = 4  # while one waits for the disk, another one reads the next batch
END_SECONDS = 45  # longer than the worker's longest step between two looks at its stop sign


class Command(BaseCommand):
    """Starts gunicorn and the job worker as children and waits for them."""

    help = "Serve the pages and the API, with a worker beside, until Ctrl-C or SIGTERM."

    def add_arguments(self, parser: CommandParser) -> None:
        """Where to listen, and with how many processes."""
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--port", type=int, default=0, help=f"default: the first free one from {FIRST_PORT}")
        parser.add_argument("--web-workers", type=int, default=2)
        parser.add_argument("--welcome", action="store_true", help="print the accounts and the log's verifier key too")
        parser.add_argument("--port-file", type=Path, help="write the port here once the server answers")

    def handle(self, *args: object, **options: object) -> None:
        """Start both, say where, wait, end both."""
        host, port = str(options["host"]), int(str(options["port"])) or free_port(str(options["host"]))
        address = f"http://{host}:{port}"
        environment = {**os.environ, "METERPROOF_BASE_URL": os.environ.get("METERPROOF_BASE_URL") or address}
        web = [sys.executable, "-m", "gunicorn", "compliance.config.wsgi:application", "--bind", f"{host}:{port}"]
        web += ["--workers", str(options["web_workers"]), "--threads", str(THREADS_A_WORKER), "--timeout", "120"]
        web += ["--log-level", "warning"]
        worker = [sys.executable, str(settings.BASE_DIR / "manage.py"), "worker"]
        children: list[subprocess.Popen[bytes]] = []
        ending = False

        def end(_signal: int, _frame: FrameType | None) -> None:
            nonlocal ending
            ending = True
            for child in children:
                if child.poll() is None:
                    child.terminate()

        executor = MigrationExecutor(connection)
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            raise CommandError("The database is not up to date. Run: manage.py migrate")
        try:
            registry.start()
        except registry.StartRefused as refusal:
            raise CommandError(str(refusal)) from None
        signal.signal(signal.SIGINT, end)
        signal.signal(signal.SIGTERM, end)
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup means to stay
            signal.signal(signal.SIGHUP, end)  # the terminal was closed
        try:
            children.append(start(web, environment))
            children.append(start(worker, environment))
            wait_until_answering(host, port, children[0])
            if isinstance(path := options["port_file"], Path):
                path.write_text(str(port))
            if options["welcome"]:
                self.welcome()
            self.stdout.write(f"Meterproof is at {address}/  (Ctrl-C ends it)")
            self.stdout.flush()
            while not ending and all(child.poll() is None for child in children):
                time.sleep(0.2)
        finally:
            stop(children)
        if not ending:
            raise CommandError("The web server or the worker ended by itself; its message stands above.")

    def welcome(self) -> None:
        """Print the demo's accounts, if there are any, and the key with which anyone checks the log."""
        accounts = settings.METERPROOF["SECRETS_DIR"] / "demo-accounts.json"
        if accounts.exists():
            self.stdout.write("Demo accounts (for trying out, never for real data):")
            for account in json.loads(accounts.read_text()):
                self.stdout.write(f"  {account['username']:<16} {account['password']:<28} {account['role']}")
        verifier_key = settings.METERPROOF["TRUST_DIR"] / "log.vkey"
        if verifier_key.exists():
            self.stdout.write(f"The log's verifier key: {verifier_key.read_text().strip()}")


def free_port(host: str) -> int:
    """The first port from FIRST_PORT on which nobody listens. Raises CommandError."""
    for port in range(FIRST_PORT, FIRST_PORT + PORTS_TRIED):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return port
    raise CommandError(f"No free port between {FIRST_PORT} and {FIRST_PORT + PORTS_TRIED}; name one with --port.")


def start(command: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start `command` in a session of its own: Ctrl-C reaches this process alone, which then ends its children."""
    return subprocess.Popen(command, env=environment, cwd=settings.BASE_DIR, start_new_session=True)


def wait_until_answering(host: str, port: int, server: subprocess.Popen[bytes]) -> None:
    """Return once somebody listens. Raises CommandError when `server` ends or takes too long."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if server.poll() is not None:
            break
        try:
            socket.create_connection((host, port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise CommandError(f"The web server did not start at {host}:{port}; its message stands above.")


def stop(children: list[subprocess.Popen[bytes]]) -> None:
    """End all `children`, by force if they do not listen."""
    for child in children:
        if child.poll() is None:
            child.terminate()
    for child in children:
        try:
            child.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
