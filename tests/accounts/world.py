"""A small world for tests: a log, organisations with keys, people and API keys, made the way the product makes them."""

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.conf import settings

from compliance.accounts import actions, registration
from compliance.accounts.models import ApiKey, Organisation, Person
from compliance.accounts.policy import SYSTEM
from compliance.jobs import clock
from compliance.ledger.errors import Refused
from compliance.proof import batch
from compliance.proof.batch import SignedBatch
from compliance.proof.keys import PrivateKey
from compliance.proof.times import format_time

PASSWORD = "correct horse battery staple"
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class Member:
    """An organisation of the test, with the private keys that the product never has."""

    organisation: Organisation
    keys: list[PrivateKey] = field(default_factory=list)

    @property
    def id(self) -> str:
        return self.organisation.pk

    def sign(self, *events: dict[str, Any], keys: Sequence[PrivateKey] | None = None) -> SignedBatch:
        """A batch of these events, by the first key unless others are named."""
        return sign(self.id, events, keys or self.keys[:1])


def sign(issuer: str, events: Sequence[dict[str, Any]], keys: Sequence[PrivateKey], **payload: Any) -> SignedBatch:
    """A signed batch for this test's log."""
    return batch.build(
        events=events,
        log=payload.pop("log", settings.METERPROOF["ORIGIN"]),
        issuer=issuer,
        source="desk",
        sequence=None,
        created=clock.now(),
        keys=keys,
        **payload,
    )


def event(type: str, subject: str, data: dict[str, Any], **members: Any) -> dict[str, Any]:  # noqa: A002
    """An event with a random id, happening now."""
    return {
        "v": 1,
        "id": secrets.token_hex(16),
        "type": type,
        "schema": 1,
        "subject": subject,
        "occurred_at": format_time(clock.now()),
        "actor": {"person": "p-1"},
        "data": data,
        **members,
    }


def key_event(
    organisation: str,
    key: PrivateKey,
    *,
    valid_from: datetime = LONG_AGO,
    valid_until: datetime | None = None,
    person: str = "p-1",
) -> dict[str, Any]:
    """The registration of `key` for `organisation`."""
    return event(
        "org.key_registered",
        f"signing_key:{key.public.keyid}",
        {
            "organisation": organisation,
            "holder": {"person": person},
            "key": key.public.to_object(),
            "valid_from": format_time(valid_from),
            "valid_until": format_time(valid_until) if valid_until else None,
        },
    )


def join(id: str, *roles: str, algorithm: str = "ed25519", **options: Any) -> Member:  # noqa: A002
    """Register an organisation with its first key, from a registration file."""
    key = PrivateKey.generate(algorithm)
    file = sign(id, [key_event(id, key)], [key])
    organisation = registration.register_with_file(
        by=SYSTEM, id=id, name=f"{id.title()} Ltd", roles=roles, registration=file.ndjson, **options
    )
    return Member(organisation, [key])


def person(username: str, organisation: Organisation, role: str) -> Person:
    """Somebody with an account."""
    return actions.create_person(
        by=SYSTEM,
        username=username,
        name=username.title(),
        email=f"{username}@example.org",
        password=PASSWORD,
        organisation=organisation,
        role=role,
    )


def api_key(organisation: Organisation, *scopes: str, days: int = 30) -> tuple[ApiKey, str]:
    """A credential for a machine."""
    expires = clock.now() + timedelta(days=days)
    return actions.create_api_key(by=SYSTEM, organisation=organisation, scopes=scopes, expires=expires)


@contextmanager
def refused(code: str, kind: type[Refused] = Refused) -> Iterator[None]:
    """What happens inside must be refused for this reason."""
    with pytest.raises(kind) as refusal:
        yield
    assert refusal.value.code == code, refusal.value
