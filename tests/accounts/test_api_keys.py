"""API keys: form, checksum, recognition, rotation, revocation."""

import hmac
import zlib
from datetime import timedelta

import pytest

from compliance.accounts import actions, api_keys, policy
from compliance.accounts.models import ApiKey
from compliance.accounts.policy import SYSTEM, NotAllowed
from compliance.jobs import clock
from compliance.ledger.errors import Conflict
from tests.accounts import world

BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def test_form_of_a_key():
    """mp_live_, eight characters to find it by, 32 random ones, six of checksum."""
    secret = api_keys.generate()
    prefix, environment, identifier, rest = secret.text.split("_")
    assert (prefix, environment, identifier) == ("mp", "live", secret.identifier)
    assert (len(identifier), len(rest)) == (8, 38)
    assert set(identifier + rest) <= set(BASE62)
    number = 0
    for digit in rest[-6:]:
        number = number * 62 + BASE62.index(digit)
    assert number == zlib.crc32(secret.text[:-6].encode())
    assert api_keys.is_well_formed(secret.text)


def test_every_single_wrong_character_is_seen_without_a_database():
    text = api_keys.generate().text
    for position, right in enumerate(text):
        wrong = "a" if right != "a" else "b"
        assert not api_keys.is_well_formed(text[:position] + wrong + text[position + 1 :]), position
    for changed in (text[:-1], text + "a", text.replace("live", "test"), text.swapcase(), f" {text}", f"{text}\n", ""):
        assert not api_keys.is_well_formed(changed)


def test_no_two_keys_are_alike():
    assert len({api_keys.generate().text for _ in range(1000)}) == 1000


@pytest.mark.django_db
@pytest.mark.usefixtures("log")
class TestRecognition:
    """A presented key is known, alive and exactly the one, or nothing."""

    @pytest.fixture
    def acme(self):
        return world.join("acme", "manufacturer")

    def test_only_the_digest_is_stored(self, acme):
        """G21: no row holds the secret."""
        key, secret = world.api_key(acme.organisation, "events:write")
        row = ApiKey.objects.values().get(pk=key.pk)
        random_part = secret.rpartition("_")[2]
        assert random_part[:32] not in repr(row)
        assert bytes(row["secret_sha256"]) == api_keys.digest(secret)

    def test_right_wrong_ended_revoked(self, acme):
        key, secret = world.api_key(acme.organisation, "events:write", days=1)
        now = clock.now()
        assert api_keys.recognise(secret, at=now) == key
        twin = api_keys.generate()
        body = f"mp_live_{key.identifier}_{twin.text.rpartition('_')[2][:32]}"
        assert api_keys.recognise(body + api_keys.checksum(body), at=now) is None
        assert api_keys.recognise(twin.text, at=now) is None
        assert api_keys.recognise("mp_live_nonsense", at=now) is None
        assert api_keys.recognise(secret, at=now + timedelta(days=1, seconds=1)) is None
        actions.revoke_api_key(by=SYSTEM, key=key)
        assert api_keys.recognise(secret, at=now) is None

    def test_the_comparison_takes_the_same_time_for_every_wrong_key(self, acme, monkeypatch):
        """T1: known and unknown ids go the same way, to a comparison that does not stop at the first difference."""
        key, _ = world.api_key(acme.organisation, "events:write")
        compared = []
        real = hmac.compare_digest

        def noting(stored, presented):
            compared.append((len(stored), len(presented)))
            return real(stored, presented)

        monkeypatch.setattr(hmac, "compare_digest", noting)
        for identifier in (key.identifier, "00000000"):
            body = f"mp_live_{identifier}_{'0' * 32}"
            assert api_keys.recognise(body + api_keys.checksum(body), at=clock.now()) is None
        assert compared == [(32, 32), (32, 32)]

    def test_use_is_noted_once_a_minute(self, acme):
        key, secret = world.api_key(acme.organisation, "events:write")
        now = clock.now()
        for seconds, noted in ((0, 0), (30, 0), (61, 61)):
            api_keys.recognise(secret, at=now + timedelta(seconds=seconds))
            key.refresh_from_db()
            assert key.last_used_at == now + timedelta(seconds=noted)

    def test_two_of_a_line_live_during_a_rotation_and_no_third(self, acme):
        old, _ = world.api_key(acme.organisation, "events:write", days=300)
        new, secret = actions.rotate_api_key(by=SYSTEM, key=old)
        old.refresh_from_db()
        assert new.scopes == old.scopes
        assert new.replaces == old
        assert clock.now() < old.expires_at <= clock.now() + actions.ROTATION_OVERLAP
        with world.refused("api_key.rotation", Conflict):
            actions.rotate_api_key(by=SYSTEM, key=old)
        with world.refused("api_key.rotation", Conflict):
            actions.rotate_api_key(by=SYSTEM, key=new)
        actions.revoke_api_key(by=SYSTEM, key=old)
        third, _ = actions.rotate_api_key(by=SYSTEM, key=new)
        assert third.replaces == new
        assert api_keys.recognise(secret, at=clock.now()) == new

    @pytest.mark.parametrize("scope", sorted(policy.PLATFORM_SCOPES))
    def test_only_the_platform_gets_its_scopes(self, acme, scope):
        """T18: no manufacturer's key can register organisations or make keys."""
        with world.refused("api_key.scope"):
            world.api_key(acme.organisation, scope)

    @pytest.mark.parametrize(("scopes", "days"), [([], 30), (["events:forge"], 30)])
    def test_a_key_has_known_scopes(self, acme, scopes, days):
        with world.refused("api_key.scope"):
            world.api_key(acme.organisation, *scopes, days=days)

    @pytest.mark.parametrize("days", [-1, 0, 366, 10_000])
    def test_a_key_lives_at_most_a_year(self, acme, days):
        with world.refused("api_key.lifetime"):
            world.api_key(acme.organisation, "events:read", days=days)

    def test_a_manager_makes_keys_for_his_own_organisation_only(self, acme):
        other = world.join("other", "utility")
        manager = world.person("mei", acme.organisation, "manager")
        expires = clock.now() + timedelta(days=1)
        arguments = {"by": manager, "scopes": ["events:read"], "expires": expires}
        assert actions.create_api_key(organisation=acme.organisation, **arguments)[0].created_by == manager
        with pytest.raises(NotAllowed):
            actions.create_api_key(organisation=other.organisation, **arguments)
        member = world.person("li", acme.organisation, "member")
        with pytest.raises(NotAllowed):
            actions.create_api_key(organisation=acme.organisation, **{**arguments, "by": member})

    @pytest.mark.parametrize("role", ["auditor", "regulator"])
    def test_who_reaches_only_his_own_makes_no_key_that_reaches_all(self, role):
        """T18: a key of an auditor or regulator sees what belongs to others; its manager does not."""
        office = world.join("office", role)
        manager = world.person("ida", office.organisation, "manager")
        with pytest.raises(NotAllowed):
            actions.create_api_key(by=manager, organisation=office.organisation, scopes=["events:read"])
        key, _ = actions.create_api_key(by=SYSTEM, organisation=office.organisation, scopes=["events:read"])
        with pytest.raises(NotAllowed):
            actions.rotate_api_key(by=manager, key=key)
