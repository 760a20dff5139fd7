"""Key lines: which keys may enter the log, which may sign, and what a revocation does."""

from datetime import timedelta

import pytest

from compliance.accounts import actions, key_lines, registration, selectors
from compliance.accounts.models import Organisation, SigningKey
from compliance.accounts.policy import SYSTEM
from compliance.jobs import clock
from compliance.ledger.errors import Refused
from compliance.proof import batch
from compliance.proof.errors import ProofError
from compliance.proof.keys import PrivateKey
from compliance.proof.times import format_time
from tests.accounts import world

pytestmark = [pytest.mark.django_db, pytest.mark.both_engines, pytest.mark.usefixtures("log")]


@pytest.fixture
def acme():
    return world.join("acme", "manufacturer")


def take_in(signed):
    """What intake does with a batch that concerns keys: verify, then append."""
    received = batch.read(signed.ndjson)
    for _, _, problem in received.problems:
        raise problem
    registration.verify(received, at=clock.now())
    return registration.append(received)


def revocation(keyid: str, **data):
    return world.event(
        "org.key_revoked",
        f"signing_key:{keyid}",
        {"effective_at": format_time(clock.now()), "reason_code": "lost", "reason": "left in a train", **data},
    )


@pytest.mark.parametrize("algorithm", ["ed25519", "ecdsa_p256_sha256"])
def test_an_organisation_joins_with_its_first_key(algorithm):
    member = world.join("acme", "utility", "operator", algorithm=algorithm)
    key = SigningKey.objects.get(organisation="acme")
    assert member.organisation.roles == ["operator", "utility"]
    assert (key.keyid, key.algorithm, key.is_first) == (member.keys[0].public.keyid, algorithm, True)
    assert selectors.pins()["acme"] == [key.keyid]
    assert key.why_not_valid(clock.now()) is None


def test_the_platform_registered_itself_with_the_log():
    platform = Organisation.objects.get(pk="platform")
    key = platform.signing_keys.get()
    assert platform.first_keys == [key.keyid]
    assert key.is_first


def test_a_second_key_is_signed_by_itself_and_by_the_first(acme):
    second = PrivateKey.generate("ecdsa_p256_sha256")
    take_in(acme.sign(world.key_event("acme", second), keys=[acme.keys[0], second]))
    key = SigningKey.objects.get(pk=second.public.keyid)
    assert not key.is_first
    third = PrivateKey.generate()
    take_in(acme.sign(world.key_event("acme", third), keys=[second, third]))
    assert SigningKey.objects.filter(organisation="acme").count() == 3


def test_several_keys_may_be_registered_in_one_batch(acme):
    new = [PrivateKey.generate() for _ in range(3)]
    events = [world.key_event("acme", key) for key in new]
    take_in(acme.sign(*events, keys=[acme.keys[0], *new]))
    assert SigningKey.objects.filter(organisation="acme").count() == 4


def test_key_line_without_possession(acme):
    """The new key itself must have signed."""
    second = PrivateKey.generate()
    with world.refused("key.line"):
        take_in(acme.sign(world.key_event("acme", second), keys=acme.keys))


def test_key_line_without_a_way_to_the_first_key(acme):
    """Two keys that only sign for each other lead nowhere; nor does a key of another organisation lead home."""
    other = world.join("other", "utility")
    second, third = PrivateKey.generate(), PrivateKey.generate()
    events = [world.key_event("acme", second), world.key_event("acme", third)]
    with world.refused("key.line"):
        take_in(acme.sign(*events, keys=[second, third]))
    with world.refused("key.line"):
        take_in(acme.sign(world.key_event("acme", second), keys=[second, other.keys[0]]))
    assert SigningKey.objects.filter(organisation="acme").count() == 1


def test_key_line_of_an_organisation_nobody_registered():
    key = PrivateKey.generate()
    with world.refused("key.line"):
        take_in(world.sign("ghost", [world.key_event("ghost", key)], [key]))


def test_key_line_registered_twice(acme):
    again = world.key_event("acme", acme.keys[0])
    with world.refused("key.line"):
        take_in(acme.sign(again))


def test_nobody_registers_a_key_for_somebody_else(acme):
    """T9, T16: neither another organisation nor the platform can slip a key under an organisation's name."""
    other = world.join("other", "utility")
    key = PrivateKey.generate()
    for issuer, keys in (("other", [other.keys[0], key]), ("acme", [other.keys[0], key])):
        signed = world.sign(issuer, [world.key_event("acme", key)], keys)
        with pytest.raises((Refused, ProofError)) as refusal:
            take_in(signed)
        assert refusal.value.code in {"event.authority", "key.line"}
    assert not SigningKey.objects.filter(pk=key.public.keyid).exists()


def test_a_new_first_key_starts_a_new_line(acme):
    new = PrivateKey.generate()
    changed = actions.change_organisation(
        by=SYSTEM,
        organisation=acme.organisation,
        name="Acme Metering",
        roles=["manufacturer", "utility"],
        first_key=new.public.keyid,
        signature_policy="accepted",
    )
    assert (changed.name, changed.signature_policy) == ("Acme Metering", "accepted")
    take_in(acme.sign(world.key_event("acme", new), keys=[new]))
    assert selectors.pins()["acme"] == [acme.keys[0].public.keyid, new.public.keyid]


def test_validity_is_looked_at_when_the_batch_comes(acme):
    now = clock.now()
    late, over = PrivateKey.generate(), PrivateKey.generate()
    with world.refused("key.not_valid"):
        event = world.key_event("acme", late, valid_from=now + timedelta(days=1))
        take_in(acme.sign(event, keys=[acme.keys[0], late]))
    with world.refused("key.not_valid"):
        event = world.key_event("acme", over, valid_until=now - timedelta(days=1))
        take_in(acme.sign(event, keys=[acme.keys[0], over]))
    short = PrivateKey.generate()
    event = world.key_event("acme", short, valid_until=now + timedelta(days=1))
    take_in(acme.sign(event, keys=[acme.keys[0], short]))
    events = [world.event("mfg.noted", "meter:acme:1", {})]
    keyids = [short.public.keyid]
    assert key_lines.signer_keys(keyids=keyids, events=events, at=clock.now())[keyids[0]][0] == "acme"
    with pytest.raises(ProofError) as refusal:
        key_lines.signer_keys(keyids=keyids, events=events, at=now + timedelta(days=2))
    assert refusal.value.code == "key.not_valid"


def test_a_key_that_ends_between_check_and_record_records_nothing(acme):
    """The time that counts is the one in the entry."""
    soon = clock.now() + timedelta(seconds=30)
    key = PrivateKey.generate()
    take_in(acme.sign(world.key_event("acme", key, valid_until=soon), keys=[acme.keys[0], key]))
    received = batch.read(acme.sign(world.event("record.noted", "meter:acme:1", {}), keys=[key]).ndjson)
    registration.verify(received, at=clock.now())
    with clock.use(lambda: soon), world.refused("key.not_valid"):
        registration.append(received)


def test_an_unregistered_key_signs_nothing(acme):
    stranger = PrivateKey.generate()
    signed = acme.sign(world.event("record.noted", "meter:acme:1", {}), keys=[stranger])
    with pytest.raises(ProofError) as refusal:
        take_in(signed)
    assert refusal.value.code == "key.unknown"
    with world.refused("key.unknown"):
        registration.append(batch.read(signed.ndjson))


def test_a_batch_needs_a_signature_of_its_issuer(acme):
    other = world.join("other", "utility")
    signed = acme.sign(world.event("record.noted", "meter:acme:1", {}), keys=other.keys)
    with pytest.raises(ProofError) as refusal:
        take_in(signed)
    assert refusal.value.code == "key.issuer"


class TestRevocation:
    """A revoked key is revoked at once, for good, and by those who may."""

    @pytest.fixture
    def two(self, acme):
        second = PrivateKey.generate()
        take_in(acme.sign(world.key_event("acme", second), keys=[acme.keys[0], second]))
        acme.keys.append(second)
        return acme

    def test_by_another_key_of_the_organisation(self, two):
        first, second = two.keys
        take_in(two.sign(revocation(first.public.keyid), keys=[second]))
        key = SigningKey.objects.get(pk=first.public.keyid)
        assert (key.reason_code, key.reason) == ("lost", "left in a train")
        assert key.why_not_valid(clock.now()) == "key.revoked"
        with pytest.raises(ProofError) as refusal:
            take_in(two.sign(world.event("record.noted", "meter:acme:1", {}), keys=[first]))
        assert refusal.value.code == "key.revoked"

    def test_by_itself(self, two):
        first = two.keys[0]
        take_in(two.sign(revocation(first.public.keyid), keys=[first]))
        assert SigningKey.objects.get(pk=first.public.keyid).revoked_at is not None

    def test_by_itself_it_is_its_last_word(self, two):
        """Other entries of the same moment would lie at its revocation, not before it."""
        first = two.keys[0]
        events = [revocation(first.public.keyid), world.event("record.noted", "meter:acme:1", {})]
        with world.refused("key.revoked"):
            take_in(two.sign(*events, keys=[first]))

    def test_by_the_platform(self, two):
        key = SigningKey.objects.get(pk=two.keys[0].public.keyid)
        effective = clock.now() - timedelta(days=3)
        revoked = actions.revoke_signing_key(
            by=SYSTEM, key=key, effective_at=effective, reason_code="compromised", reason="found on a forum"
        )
        assert revoked.effective_at == effective
        assert revoked.revoked_at > effective

    def test_not_by_another_organisation(self, two):
        other = world.join("other", "utility")
        with world.refused("event.authority"):
            take_in(other.sign(revocation(two.keys[0].public.keyid)))

    def test_once(self, two):
        first, second = two.keys
        take_in(two.sign(revocation(first.public.keyid), keys=[second]))
        with world.refused("chain.closed"):
            take_in(two.sign(revocation(first.public.keyid), keys=[second]))

    def test_of_a_key_nobody_registered(self, two):
        with world.refused("key.unknown"):
            take_in(two.sign(revocation(PrivateKey.generate().public.keyid)))

    def test_a_revoked_key_brings_in_no_other(self, two):
        first, second = two.keys
        take_in(two.sign(revocation(second.public.keyid), keys=[first]))
        third = PrivateKey.generate()
        with pytest.raises(ProofError) as refusal:
            take_in(two.sign(world.key_event("acme", third), keys=[second, third]))
        assert refusal.value.code == "key.revoked"


class TestRegistrationFile:
    """The file that keygen writes is taken as it is, or refused with the reason, and then nothing is registered."""

    def register(self, data: bytes, id="acme"):  # noqa: A002
        return registration.register_with_file(by=SYSTEM, id=id, name="Acme", roles=["manufacturer"], registration=data)

    def test_for_another_log(self):
        key = PrivateKey.generate()
        signed = world.sign("acme", [world.key_event("acme", key)], [key], log="other.example/log")
        with world.refused("batch.log"):
            self.register(signed.ndjson)
        assert not Organisation.objects.filter(pk="acme").exists()

    def test_by_another_organisation(self):
        key = PrivateKey.generate()
        with world.refused("batch.issuer"):
            self.register(world.sign("other", [world.key_event("other", key)], [key]).ndjson)

    def test_with_other_events(self):
        key = PrivateKey.generate()
        events = [world.key_event("acme", key), world.event("mfg.assembled", "meter:acme:1", {})]
        with world.refused("event.authority"):
            self.register(world.sign("acme", events, [key]).ndjson)

    def test_all_or_nothing(self):
        """A registration that is refused in the append leaves no organisation behind."""
        key = PrivateKey.generate()
        event = world.key_event("acme", key, valid_from=clock.now() + timedelta(days=1))
        with world.refused("key.not_valid"):
            self.register(world.sign("acme", [event], [key]).ndjson)
        assert not Organisation.objects.filter(pk="acme").exists()

    def test_flipped_signature(self):
        key = PrivateKey.generate()
        signed = world.sign("acme", [world.key_event("acme", key)], [key])
        other = world.sign("acme", [world.key_event("acme", key)], [key])
        envelope = signed.ndjson.split(b"\n")[0]
        signature = other.ndjson.split(b'"sig":"')[1][:88]
        broken = envelope.replace(envelope.split(b'"sig":"')[1][:88], signature)
        with pytest.raises(ProofError) as refusal:
            self.register(signed.ndjson.replace(envelope, broken))
        assert refusal.value.code == "envelope.signature"

    @pytest.mark.parametrize("data", [b"", b"{}", b"\xff\xfe", b"[" * 10_000, b"x" * (registration.MAX_BYTES + 1)])
    def test_rubbish(self, data):
        with pytest.raises((ProofError, Refused)):
            self.register(data)
