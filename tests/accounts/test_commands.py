"""The commands an operator starts with."""

import io
import json
import stat
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from compliance.accounts import api_keys
from compliance.accounts.models import ApiKey, Membership, Organisation, Person
from compliance.jobs import clock
from compliance.ledger import setup
from compliance.proof.keys import PrivateKey
from tests.accounts import world

pytestmark = [pytest.mark.django_db, pytest.mark.both_engines]


def run(*words: str) -> str:
    out = io.StringIO()
    call_command(*words, stdout=out, stderr=out)
    return out.getvalue()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


class TestBootstrap:
    """`manage.py bootstrap` makes what is missing, and only that."""

    def test_everything_from_nothing(self, folders):
        said = run("bootstrap")
        assert setup.is_created()
        admin = Person.objects.get(username="admin")
        assert admin.is_administrator
        password = said.split("shown this once: ")[1].split()[0]
        assert admin.check_password(password)
        key_file = folders / "secrets_dir" / "admin-api-key"
        assert mode(key_file) == 0o600
        key = api_keys.recognise(key_file.read_text().strip(), at=clock.now())
        assert key.organisation_id == "platform"
        assert {"organisations:write", "api-keys:write", "checks:run", "reports:write"} <= set(key.scopes)
        assert {"reports:read", "events:read"} <= set(key.scopes)

    def test_again_changes_nothing(self, folders):
        run("bootstrap", "--demo-people")
        before = (Person.objects.count(), ApiKey.objects.count(), Organisation.objects.count())
        accounts = (folders / "secrets_dir" / "demo-accounts.json").read_bytes()
        said = run("bootstrap", "--demo-people")
        assert (Person.objects.count(), ApiKey.objects.count(), Organisation.objects.count()) == before
        assert (folders / "secrets_dir" / "demo-accounts.json").read_bytes() == accounts
        assert "shown this once" not in said

    def test_the_password_may_come_from_the_environment(self, folders, monkeypatch):
        monkeypatch.setenv("METERPROOF_ADMIN_PASSWORD", world.PASSWORD)
        assert world.PASSWORD not in run("bootstrap")
        assert Person.objects.get(username="admin").check_password(world.PASSWORD)

    def test_a_lost_or_ended_key_file_is_replaced(self, folders):
        run("bootstrap")
        key_file = folders / "secrets_dir" / "admin-api-key"
        first = key_file.read_text()
        ApiKey.objects.update(revoked_at=clock.now())
        run("bootstrap")
        assert key_file.read_text() != first
        assert mode(key_file) == 0o600

    def test_people_to_look_around_as(self, folders):
        """Without the demonstration's organisations two are left out; with them, the next call adds them."""
        run("bootstrap", "--demo-people")
        path = folders / "secrets_dir" / "demo-accounts.json"
        assert mode(path) == 0o600
        assert {account["username"] for account in json.loads(path.read_bytes())} == {
            "administrator",
            "auditor",
            "regulator",
        }
        world.join("aurel", "manufacturer")
        world.join("northgrid", "utility", "operator")
        said = run("bootstrap", "--demo-people")
        accounts = {account["username"]: account for account in json.loads(path.read_bytes())}
        assert set(accounts) == {"administrator", "auditor", "regulator", "manufacturer", "utility"}
        assert accounts["utility"]["organisation"] == "northgrid"
        for name, account in accounts.items():
            person = Person.objects.get(username=name)
            assert person.check_password(account["password"])
            assert account["password"] in said
        assert Person.objects.get(username="auditor").is_auditor
        assert Person.objects.get(username="regulator").is_regulator


@pytest.mark.usefixtures("log")
class TestOrganisation:
    """`manage.py organisation`, as the README shows it."""

    WORDS = ("organisation", "register", "--id", "acme", "--name", "Acme Meters", "--role", "manufacturer")

    def file(self, folder: Path, **options) -> Path:
        key = PrivateKey.generate()
        path = folder / "registration.ndjson"
        path.write_bytes(world.sign("acme", [world.key_event("acme", key)], [key], **options).ndjson)
        return path

    def test_with_a_registration_file(self, tmp_path):
        said = run(*self.WORDS, "--role", "utility", "--registration", str(self.file(tmp_path)))
        organisation = Organisation.objects.get(pk="acme")
        assert organisation.roles == ["manufacturer", "utility"]
        assert organisation.signing_keys.get().keyid in said
        assert "acme" in run("organisation", "list")

    def test_with_a_key_id_alone(self):
        run(*self.WORDS, "--first-key", f"sha256:{'1' * 64}", "--signature-policy", "accepted")
        organisation = Organisation.objects.get(pk="acme")
        assert organisation.signature_policy == "accepted"
        assert not organisation.signing_keys.exists()

    @pytest.mark.parametrize("wrong", ["missing", "rubbish", "other log"])
    def test_what_is_wrong_is_said_without_a_stack(self, tmp_path, wrong):
        path = tmp_path / "registration.ndjson"
        if wrong == "rubbish":
            path.write_bytes(b"not a batch")
        elif wrong == "other log":
            path = self.file(tmp_path, log="other.example/log")
        with pytest.raises(CommandError):
            run(*self.WORDS, "--registration", str(path))
        assert not Organisation.objects.filter(pk="acme").exists()


@pytest.mark.usefixtures("log")
def test_person_and_api_key_commands(monkeypatch):
    world.join("acme", "manufacturer")
    said = run("person", "add", "--username", "mei", "--name", "Mei", "--organisation", "acme", "--role", "manager")
    password = said.split("shown this once: ")[1].strip()
    assert Person.objects.get(username="mei").check_password(password)
    assert Membership.objects.get(person__username="mei").role == "manager"
    assert "mei" in run("person", "list")
    with pytest.raises(CommandError, match=r"person\.exists"):
        run("person", "add", "--username", "mei", "--name", "Mei", "--organisation", "acme", "--role", "member")
    with pytest.raises(CommandError, match="no organisation"):
        run("person", "add", "--username", "x", "--name", "X", "--organisation", "ghost", "--role", "member")
    made = run("apikey", "create", "--organisation", "acme", "--scope", "events:write", "--days", "7")
    secret = made.strip().splitlines()[-1]
    key = api_keys.recognise(secret, at=clock.now())
    assert key.scopes == ["events:write"]
    assert key.public_id in run("apikey", "list")
    run("apikey", "revoke", key.public_id)
    assert api_keys.recognise(secret, at=clock.now()) is None
    with pytest.raises(CommandError, match=r"api_key\.scope"):
        run("apikey", "create", "--organisation", "acme", "--scope", "organisations:write")
    with pytest.raises(CommandError, match="no API key"):
        run("apikey", "revoke", "mp_live_00000000")


def test_the_secret_of_a_key_goes_into_a_new_file_for_its_owner(log, tmp_path):
    """With the scopes of a sender; a file that is there may be a key in use, and is not replaced."""
    world.join("acme", "manufacturer")
    path = tmp_path / "home" / "api-key"
    said = run("apikey", "create", "--organisation", "acme", "--to", str(path))
    secret = path.read_text().strip()
    assert secret not in said
    assert mode(path) == 0o600
    key = api_keys.recognise(secret, at=clock.now())
    assert set(key.scopes) == {"events:write", "evidence:write", "events:read", "reports:read"}
    before = ApiKey.objects.count()
    with pytest.raises(CommandError, match="no key was made"):
        run("apikey", "create", "--organisation", "acme", "--to", str(path))
    assert ApiKey.objects.count() == before
    assert path.read_text().strip() == secret
