"""A real server with a log, and a manufacturer called acme as its administrator and its own keygen leave it."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.core.management import call_command

from compliance.accounts import actions
from compliance.accounts.models import Organisation
from compliance.accounts.policy import SYSTEM
from compliance.client import Home, Session, SigningKey, example
from compliance.client.cli import main
from compliance.ledger import setup
from compliance.ledger.models import Entry

SCOPES = ["events:write", "evidence:write", "events:read", "reports:read"]


@dataclass(frozen=True, slots=True)
class Sender:
    """A manufacturer at the keyboard."""

    server: str
    home: Home
    folder: Path

    def run(self, *arguments: object) -> int:
        """One command, as typed."""
        return main([str(one) for one in (*arguments, "--server", self.server, "--home", self.home.path)])

    def file(self, content: str, name: str = "events.ndjson") -> Path:
        """A file of events in the sender's working folder."""
        path = self.folder / name
        path.write_text(content)
        return path

    def session(self, **options: Any) -> Session:
        """The same through the library."""
        key = (self.home.path / "api-key").read_text().strip()
        return Session(self.server, key, home=self.home, **options)

    def key(self, name: str = "alice") -> SigningKey:
        """A signing key of the home folder."""
        return SigningKey.load(self.home, name)


@pytest.fixture
def server(transactional_db: None, folders: Path, live_server: Any) -> str:
    """A running server with a new log."""
    setup.create_log()
    return str(live_server.url)


@pytest.fixture
def sender(server: str, tmp_path: Path) -> Sender:
    """acme: key made by keygen, registered by command, API key in the home folder."""
    made = Sender(server, Home.at(tmp_path / "home"), tmp_path)
    assert made.run("keygen", "--organisation", "acme", "--person", "alice") == 0
    registration = made.home.keys / "alice" / "registration.ndjson"
    words = ["--id", "acme", "--name", "Acme Meters", "--role", "manufacturer", "--registration", str(registration)]
    call_command("organisation", "register", *words)
    _, secret = actions.create_api_key(
        by=SYSTEM, organisation=Organisation.objects.get(pk="acme"), scopes=SCOPES, name="test"
    )
    path = made.home.path / "api-key"
    path.write_text(secret)
    path.chmod(0o600)
    return made


@pytest.fixture
def events_of_acme() -> str:
    """The example file, eight events."""
    return example.events("acme", "ACM")


@pytest.fixture
def recorded() -> Callable[[], int]:
    """How many entries acme's own statements have made, its key aside."""

    def count() -> int:
        bodies = [bytes(body) for body in Entry.objects.values_list("body", flat=True)]
        return sum(b'"mfg.' in body or b'"design.' in body for body in bodies)

    return count


@pytest.fixture
def subprocess_environment() -> dict[str, str]:
    """What a client of its own process needs: nothing of Django."""
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(django_settings.BASE_DIR)}
