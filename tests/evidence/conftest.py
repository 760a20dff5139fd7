"""A log, a maker with a person and an API key, and auditors of two houses."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from compliance.accounts.models import ApiKey, Organisation, Person
from compliance.evidence import actions
from compliance.evidence.intake import IncomingFile
from compliance.evidence.models import Evidence
from tests.accounts import world

SPRING = (datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 5, 31, tzinfo=UTC))


@dataclass(frozen=True)
class People:
    """Who takes part."""

    maker: Organisation
    alice: Person
    machine: ApiKey
    other_maker: Organisation
    other: Person
    auditor: Person
    second_auditor: Person
    administrator: Person


@pytest.fixture
def people(log: Path) -> People:
    maker = world.join("acme", "manufacturer").organisation
    other_maker = world.join("rival", "manufacturer").organisation
    auditors = world.join("auditors", "auditor").organisation
    machine, _ = world.api_key(maker, "evidence:write", "events:write")
    return People(
        maker=maker,
        alice=world.person("alice", maker, "member"),
        machine=machine,
        other_maker=other_maker,
        other=world.person("rita", other_maker, "member"),
        auditor=world.person("hanna", auditors, "auditor"),
        second_auditor=world.person("jonas", auditors, "auditor"),
        administrator=world.person("root", Organisation.objects.get(pk="platform"), "administrator"),
    )


@pytest.fixture
def submit(people: People) -> Callable[..., Evidence]:
    """Hand in evidence; every part can be replaced."""

    def submit(*contents: bytes, **parts: Any) -> Evidence:
        files = [
            IncomingFile(f"record-{number}.txt", "text/plain", io.BytesIO(content))
            for number, content in enumerate(contents or (b"ceremony record",))
        ]
        statement = {
            "by": people.alice,
            "organisation": people.maker,
            "title": "HSM key ceremony record",
            "kind": "record",
            "files": files,
            "covers_from": SPRING[0],
            "covers_to": SPRING[1],
            "produced_at": SPRING[1],
            "links": [("requirement", "iso27001-2022:A.8.24")],
        }
        return actions.submit_evidence(**statement | parts)

    return submit
