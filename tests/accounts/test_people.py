"""People, roles and organisations: the actions, what lands in the log, and what fsck says of rows that did not."""

import pytest
from django.contrib.auth import authenticate
from django.contrib.auth.hashers import MD5PasswordHasher
from django.contrib.sessions.backends.signed_cookies import SessionStore
from django.db import IntegrityError, connection, transaction
from django.test import RequestFactory
from rest_framework.settings import api_settings

from compliance.accounts import actions, fsck, selectors
from compliance.accounts.models import ApiKey, Membership, Organisation, Person, SigningKey
from compliance.accounts.policy import SYSTEM, NotAllowed
from compliance.jobs import clock
from compliance.ledger import selectors as ledger
from compliance.ledger.errors import Conflict
from tests.accounts import world

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("log")]


@pytest.fixture
def acme(log):
    return world.join("acme", "manufacturer").organisation


@pytest.fixture
def office(log):
    return world.join("office", "auditor").organisation


@pytest.fixture
def platform(log):
    return Organisation.objects.get(pk="platform")


class TestOrganisations:
    """An id is given once; what the platform says of an organisation is an entry."""

    KEYID = f"sha256:{'ab' * 32}"

    def register(self, **changes):
        wanted = {"by": SYSTEM, "id": "nova", "name": "Nova", "roles": ["utility"], "first_key": self.KEYID}
        return actions.register_organisation(**{**wanted, **changes})

    def test_is_recorded_with_sorted_roles(self):
        made = self.register(roles=["utility", "operator", "utility"])
        entry = ledger.chain("organisation:org:nova")[0]
        assert entry.event["data"] == {"name": "Nova", "roles": ["operator", "utility"], "first_key": self.KEYID}
        assert made.registered_at == entry.recorded_at

    @pytest.mark.parametrize(
        "wrong",
        [
            "",
            "a",
            "Acme",
            "1acme",
            "ac-me",
            "a" * 32,
            "org",
            "sha256",
            "origin",
            "platform",
            "sscc",
            "dlms_system_title",
        ],
    )
    def test_impossible_ids(self, wrong):
        with world.refused("organisation.id"):
            self.register(id=wrong)

    @pytest.mark.parametrize(
        ("changes", "code"),
        [
            ({"roles": []}, "organisation.role"),
            ({"roles": ["emperor"]}, "organisation.role"),
            ({"name": "  "}, "request.value"),
            ({"name": "x" * 201}, "request.value"),
            ({"first_key": "sha256:short"}, "key.form"),
            ({"signature_policy": "maybe"}, "request.value"),
        ],
    )
    def test_impossible_values(self, changes, code):
        with world.refused(code):
            self.register(**changes)
        assert not ledger.chain("organisation:org:nova")

    def test_an_id_is_given_once(self, acme):
        with world.refused("organisation.exists", Conflict):
            self.register(id="acme")

    def test_by_an_administrator_only(self, acme, platform, office):
        admin = world.person("ada", platform, "administrator")
        for who in (world.person("mei", acme, "manager"), world.person("amara", office, "auditor")):
            with pytest.raises(NotAllowed):
                self.register(by=who)
        assert self.register(by=admin).pk == "nova"
        assert ledger.chain("organisation:org:nova")[0].event["actor"] == {"person": admin.actor_id}

    @pytest.mark.django_db(transaction=True)
    def test_the_trust_folder_follows(self, folders):
        """Whoever takes the folder tomorrow pins today's first keys."""
        member = world.join("nova", "utility")
        trust = (folders / "trust_dir" / "trust.json").read_text()
        assert member.keys[0].public.keyid in trust


class TestPeople:
    """Accounts and roles."""

    def test_a_person_acts_under_a_pseudonym_per_organisation(self, acme, office):
        person = world.person("mei", acme, "member")
        other = actions.grant_role(by=SYSTEM, person=person, organisation=office, role="member")
        pseudonyms = {membership.actor_id for membership in person.active_memberships}
        assert len(pseudonyms) == 2
        assert person.actor_id != other.actor_id
        assert not any(person.username in pseudonym or person.public_id in pseudonym for pseudonym in pseudonyms)
        assert selectors.person_behind(other.actor_id) == person
        assert selectors.organisations_of(person) == [acme, office]

    def test_roles_are_granted_and_revoked_in_the_log(self, acme):
        person = world.person("mei", acme, "member")
        membership = person.active_memberships[0]
        actions.end_role(by=SYSTEM, membership=membership, reason="left the company")
        told = [entry.event for entry in ledger.chain(membership.subject)]
        assert [event["type"] for event in told] == ["role.granted", "role.revoked"]
        assert told[0]["data"] == {"person": membership.actor_id, "role": "member", "scope": "acme", "until": None}
        person = Person.objects.get(pk=person.pk)
        assert person.active_memberships == []
        assert person.actor_id == ""

    def test_a_new_role_ends_the_old_one_and_starts_a_new_pseudonym(self, acme):
        person = world.person("mei", acme, "member")
        old = person.actor_id
        actions.grant_role(by=SYSTEM, person=person, organisation=acme, role="manager")
        assert [membership.role for membership in person.active_memberships] == ["manager"]
        assert person.actor_id != old

    def test_no_name_reaches_the_log(self, acme):
        """Personal data never enters a hashed leaf."""
        person = world.person("unmistakable", acme, "member")
        for entry in ledger.chain(person.active_memberships[0].subject):
            assert b"nmistakable" not in entry.body

    @pytest.mark.parametrize(
        ("place", "role"),
        [
            ("acme", "auditor"),
            ("acme", "regulator"),
            ("acme", "administrator"),
            ("platform", "member"),
            ("platform", "auditor"),
            ("office", "regulator"),
            ("acme", "king"),
        ],
    )
    def test_a_role_fits_its_organisation(self, acme, office, place, role):
        with world.refused("person.role"):
            world.person("mei", Organisation.objects.get(pk=place), role)
        assert not Person.objects.filter(username="mei").exists()

    def test_auditor_and_administrator_exclude_each_other(self, office, platform):
        """Separation of duties: not even one after the other while the first still holds."""
        auditor = world.person("amara", office, "auditor")
        with world.refused("person.role"):
            actions.grant_role(by=SYSTEM, person=auditor, organisation=platform, role="administrator")
        admin = world.person("ada", platform, "administrator")
        with world.refused("person.role"):
            actions.grant_role(by=SYSTEM, person=admin, organisation=office, role="auditor")

    def test_a_manager_of_an_audit_office_makes_no_auditors(self, office):
        """T23: who becomes auditor is not for the office's own manager to say."""
        manager = world.person("boss", office, "manager")
        person = world.person("amara", office, "member")
        with pytest.raises(NotAllowed):
            actions.grant_role(by=manager, person=person, organisation=office, role="auditor")
        assert actions.grant_role(by=manager, person=person, organisation=office, role="manager").role == "manager"

    @pytest.mark.parametrize("password", ["", "short", "elevenchars", "qwerty123456", "1q2w3e4r5t6y"])
    def test_weak_passwords(self, acme, password):
        with world.refused("person.password"):
            actions.create_person(
                by=SYSTEM, username="x", name="X", email="", password=password, organisation=acme, role="member"
            )

    def test_a_user_name_is_taken_once(self, acme):
        world.person("mei", acme, "member")
        with world.refused("person.exists", Conflict):
            world.person("mei", acme, "member")

    def test_the_table_itself_keeps_administrators_at_the_platform(self, acme):
        person = world.person("mei", acme, "member")
        with pytest.raises(IntegrityError), transaction.atomic():
            Membership.objects.filter(person=person).update(role="administrator")


class TestSelectors:
    """T5, T19: each sees its own."""

    def test_organisations_keys_and_people(self, acme, office, platform):
        other = world.join("other", "utility").organisation
        world.api_key(acme, "events:read")
        world.api_key(other, "events:read")
        mei = world.person("mei", acme, "manager")
        auditor = world.person("amara", office, "auditor")
        admin = world.person("ada", platform, "administrator")
        seen = {
            who.username: (
                {each.pk for each in selectors.organisations_visible_to(who)},
                {each.organisation_id for each in selectors.signing_keys_visible_to(who)},
                {each.organisation_id for each in selectors.api_keys_visible_to(who)},
                {each.organisation_id for each in selectors.memberships_visible_to(who)},
            )
            for who in (mei, auditor, admin)
        }
        everyone = {"acme", "office", "other", "platform"}
        assert seen["mei"] == ({"acme"}, {"acme"}, {"acme"}, {"acme"})
        assert seen["amara"] == (everyone, everyone, set(), {"office"})
        assert seen["ada"] == (everyone, everyone, {"acme", "other"}, {"acme", "office", "platform"})
        nobody = Person(username="nobody")
        nobody.__dict__["active_memberships"] = []
        for selector in (
            selectors.organisations_visible_to,
            selectors.signing_keys_visible_to,
            selectors.api_keys_visible_to,
            selectors.memberships_visible_to,
        ):
            assert not selector(nobody).exists()


@pytest.mark.both_engines
class TestFsck:
    """T12, T14: a row that no entry explains is found, whoever wrote it."""

    @pytest.fixture(autouse=True)
    def settled(self, acme, office):
        world.person("mei", acme, "member")
        assert list(fsck.compare()) == []

    def found(self) -> list[str]:
        return [problem.place for problem in fsck.compare()]

    def test_a_role_granted_by_sql(self, office):
        person = Person.objects.get(username="mei")
        Membership.objects.create(person=person, organisation=office, role="auditor", actor_id="p-forged")
        assert self.found() == ["role person_role:office:p-forged"]

    def test_a_role_raised_by_sql(self):
        Membership.objects.update(role="manager")
        assert len(self.found()) == 1

    def test_a_role_revived_or_ended_by_sql(self):
        membership = Membership.objects.get()
        Membership.objects.update(ended_at=clock.now())
        assert self.found() == [f"role {membership.subject}"]

    def test_a_key_slipped_in(self, acme):
        key = SigningKey.objects.filter(organisation=acme).get()
        forged = f"sha256:{'0' * 64}"
        key.keyid = forged
        key.save(force_insert=True)
        assert self.found() == [f"signing key {forged}"]

    @pytest.mark.parametrize(
        ("column", "value"),
        [
            ("organisation_id", "office"),
            ("holder_id", "p-other"),
            ("public_key", {}),
            ("valid_until", world.LONG_AGO),
            ("registered_at", world.LONG_AGO),
            ("revoked_at", world.LONG_AGO),
        ],
    )
    def test_a_key_edited(self, acme, column, value):
        SigningKey.objects.filter(organisation=acme).update(**{column: value})
        assert len(self.found()) == 1

    def test_a_revocation_undone(self, acme):
        key = SigningKey.objects.filter(organisation=acme).get()
        actions.revoke_signing_key(
            by=SYSTEM, key=key, effective_at=clock.now(), reason_code="lost", reason="in a train"
        )
        assert self.found() == []
        SigningKey.objects.filter(pk=key.pk).update(revoked_at=None)
        assert self.found() == [f"signing key {key.pk}"]

    def test_a_key_deleted(self, acme):
        keyid = SigningKey.objects.get(organisation=acme).pk
        SigningKey.objects.filter(pk=keyid).delete()
        assert self.found() == [f"signing key {keyid}"]

    @pytest.mark.parametrize(
        ("column", "value"), [("name", "Other"), ("roles", ["auditor"]), ("first_keys", []), ("first_key", "x")]
    )
    def test_an_organisation_edited(self, column, value):
        Organisation.objects.filter(pk="acme").update(**{column: value})
        assert self.found() == ["organisation acme"]


class TestBruteForce:
    """T1: guessing passwords is stopped, and tells nothing."""

    @pytest.fixture(autouse=True)
    def axes(self, settings):
        settings.AXES_ENABLED = True

    def attempt(
        self, username: str, password: str, address: str = "192.0.2.7", forwarded_for: str | None = None
    ) -> Person | None:
        headers = {} if forwarded_for is None else {"HTTP_X_FORWARDED_FOR": forwarded_for}
        request = RequestFactory().post("/login", REMOTE_ADDR=address, **headers)
        request.session = SessionStore()
        return authenticate(request, username=username, password=password)

    def test_locked_after_ten_wrong_passwords_from_one_place(self, acme, settings):
        world.person("mei", acme, "member")
        for _ in range(settings.AXES_FAILURE_LIMIT):
            assert self.attempt("mei", "wrong") is None
        assert self.attempt("mei", world.PASSWORD) is None
        assert self.attempt("mei", world.PASSWORD, address="198.51.100.9") is not None

    def test_behind_a_proxy_one_guesser_locks_nobody_else_out(self, acme, settings, monkeypatch):
        world.person("mei", acme, "member")
        monkeypatch.setattr(api_settings, "NUM_PROXIES", 1)
        for number in range(settings.AXES_FAILURE_LIMIT):  # what stands left of the proxy's own word is the client's
            assert self.attempt("mei", "wrong", forwarded_for=f"10.0.0.{number}, 203.0.113.5") is None
        assert self.attempt("mei", world.PASSWORD, forwarded_for="10.9.9.9, 203.0.113.5") is None
        assert self.attempt("mei", world.PASSWORD, forwarded_for="203.0.113.6") is not None

    def test_without_a_proxy_the_header_is_not_believed(self, acme, settings):
        world.person("mei", acme, "member")
        for number in range(settings.AXES_FAILURE_LIMIT):
            assert self.attempt("mei", "wrong", forwarded_for=f"203.0.113.{number}") is None
        assert self.attempt("mei", world.PASSWORD, forwarded_for="203.0.113.99") is None

    def test_a_thousand_guesses_never_get_in(self, acme):
        world.person("mei", acme, "member")
        assert not any(self.attempt("mei", f"guess-{number}") for number in range(1_000))
        assert self.attempt("mei", world.PASSWORD) is None

    def test_known_and_unknown_names_cost_a_password_hash_each(self, acme, monkeypatch):
        """Equal work, so equal time: nobody learns which accounts exist."""
        world.person("mei", acme, "member")
        hashed = []
        real = MD5PasswordHasher.encode

        def counting(self, password, salt):
            hashed.append(password)
            return real(self, password, salt)

        monkeypatch.setattr(MD5PasswordHasher, "encode", counting)
        for username in ("mei", "nobody"):
            hashed.clear()
            assert self.attempt(username, "wrong") is None
            assert hashed == ["wrong"], username


def test_api_keys_never_have_a_row_with_the_secret(acme):
    """G21: nothing in the table is the key, nor enough to make it."""
    _, secret = world.api_key(acme, "events:read")
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM accounts_apikey")
        assert secret not in repr(cursor.fetchall())
    assert ApiKey.objects.get().secret_sha256 != secret.encode()
