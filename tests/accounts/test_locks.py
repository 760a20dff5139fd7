"""A revocation takes effect at once, for what is under way too (threat T18, fault F48)."""

import threading

import pytest
from django.db import connection, transaction

from compliance.accounts import actions, locks, registration
from compliance.accounts.models import ApiKey, SigningKey
from compliance.accounts.policy import SYSTEM
from compliance.jobs import clock
from compliance.proof import batch
from tests.accounts import world

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.both_engines,
    pytest.mark.usefixtures("log"),
]


class Alongside(threading.Thread):
    """Does `work` on a connection of its own; `check` hands its failure on."""

    def __init__(self, work) -> None:
        super().__init__()
        self.work, self.failure = work, None

    def run(self) -> None:
        try:
            self.work()
        except BaseException as failure:
            self.failure = failure
        finally:
            connection.close()

    def check(self) -> None:
        self.join(30)
        assert not self.is_alive()
        if self.failure:
            raise self.failure


def test_a_signing_key_is_revoked_after_appends_that_began_before(log):
    """F48: no entry under the key lies later than its revocation."""
    acme = world.join("acme", "manufacturer")
    received = batch.read(acme.sign(world.event("record.noted", "meter:acme:1", {})).ndjson)
    registration.verify(received, at=clock.now())
    key = SigningKey.objects.get(organisation="acme")

    def revoke():
        actions.revoke_signing_key(by=SYSTEM, key=key, effective_at=clock.now(), reason_code="lost", reason="gone")

    with transaction.atomic():
        locks.hold_signing_keys(registration.incoming(received), True, {})
        revoking = Alongside(revoke)
        revoking.start()
        revoking.join(0.5)
        assert revoking.is_alive(), "the revocation did not wait for the append"
        appended = registration.append(received)
    revoking.check()
    assert SigningKey.objects.get(pk=key.pk).revoked_at > appended.entries[0].recorded_at
    late = batch.read(acme.sign(world.event("record.noted", "meter:acme:1", {})).ndjson)
    with world.refused("key.revoked"):
        registration.append(late)


def test_an_api_key_is_revoked_after_appends_that_began_before(log):
    """T18: a batch that was checked before the revocation and would be recorded after it is not."""
    key, _ = world.api_key(world.join("acme", "manufacturer").organisation, "events:write")
    with transaction.atomic():
        locks.hold_api_key(key)
        revoking = Alongside(lambda: actions.revoke_api_key(by=SYSTEM, key=key))
        revoking.start()
        revoking.join(0.5)
        assert revoking.is_alive(), "the revocation did not wait for the append"
    revoking.check()
    assert ApiKey.objects.get(pk=key.pk).revoked_at is not None
    with transaction.atomic(), world.refused("credential.revoked"):
        locks.hold_api_key(key)


def test_two_batches_under_one_key_do_not_wait_for_each_other(log):
    """Share mode: a factory's stations send at the same time. SQLite has one writer at a time in any case."""
    key, _ = world.api_key(world.join("acme", "manufacturer").organisation, "events:write")
    held = threading.Event()

    def hold_too():
        with transaction.atomic():
            locks.hold_api_key(key)
            held.set()

    with transaction.atomic():
        locks.hold_api_key(key)
        second = Alongside(hold_too)
        second.start()
        arrived = held.wait(0.5)
    second.check()
    assert arrived is (connection.vendor == "postgresql")
