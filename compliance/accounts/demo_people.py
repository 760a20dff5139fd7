"""People to look around as: one for each point of view, with passwords in a file that only the owner reads.

An auditor and a regulator get organisations of their own. The manufacturer and the utility belong to organisations that
the demonstration registers through the API; until those exist their accounts are left out, and made by the next call.
"""

import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

from compliance.accounts import actions
from compliance.accounts.models import Organisation, Person
from compliance.accounts.policy import SYSTEM
from compliance.accounts.roles import PLATFORM, MarketRole, MembershipRole
from compliance.ledger import files
from compliance.proof.keys import PrivateKey

FILE = "demo-accounts.json"
KEY_FOLDER = "demo-keys"


@dataclass(frozen=True, slots=True)
class DemoAccount:
    """What somebody needs to sign in and look around."""

    username: str
    password: str
    role: str
    organisation: str


@dataclass(frozen=True, slots=True)
class _Wanted:
    username: str
    name: str
    role: MembershipRole
    market_role: MarketRole | None
    makes: tuple[str, str] | None = None  # id and name of the organisation to register when there is none


_WANTED = (
    _Wanted("administrator", "Robin Adler", MembershipRole.ADMINISTRATOR, None),
    _Wanted(
        "auditor",
        "Amara Osei",
        MembershipRole.AUDITOR,
        MarketRole.AUDITOR,
        ("audit_office", "Audit Office (demonstration)"),
    ),
    _Wanted(
        "regulator",
        "Jonas Lindqvist",
        MembershipRole.REGULATOR,
        MarketRole.REGULATOR,
        ("energy_regulator", "Energy Regulator (demonstration)"),
    ),
    _Wanted("manufacturer", "Mei Tanaka", MembershipRole.MANAGER, MarketRole.MANUFACTURER),
    _Wanted("utility", "Luis Ferreira", MembershipRole.MANAGER, MarketRole.UTILITY),
)


def ensure(path: Path) -> list[DemoAccount]:
    """Open the accounts that are missing, keep the file at `path`, and return all of them."""
    known = {account.username: account for account in read(path)}
    for wanted in _WANTED:
        if wanted.username in known and Person.objects.filter(username=wanted.username).exists():
            continue
        organisation = _organisation(wanted, path.parent / KEY_FOLDER)
        if organisation is None:
            continue
        known[wanted.username] = _open(wanted, organisation)
        text = orjson.dumps([asdict(account) for account in known.values()], option=orjson.OPT_INDENT_2)
        files.replace(path, text, mode=0o600)
    return list(known.values())


def read(path: Path) -> list[DemoAccount]:
    """The accounts in the file at `path`; none when it is not there."""
    if not path.exists():
        return []
    return [DemoAccount(**account) for account in orjson.loads(path.read_bytes())]


def _open(wanted: _Wanted, organisation: Organisation) -> DemoAccount:
    password = secrets.token_urlsafe(12)
    if person := Person.objects.filter(username=wanted.username).first():  # its password is known to nobody any more
        person.set_password(password)
        person.save(update_fields=["password"])
    else:
        actions.create_person(
            by=SYSTEM,
            username=wanted.username,
            name=wanted.name,
            email=f"{wanted.username}@example.org",
            password=password,
            organisation=organisation,
            role=wanted.role,
        )
    return DemoAccount(wanted.username, password, wanted.role.value, organisation.pk)


def _organisation(wanted: _Wanted, keys: Path) -> Organisation | None:
    if wanted.market_role is None:
        return Organisation.objects.get(pk=PLATFORM)
    for organisation in Organisation.objects.exclude(pk=PLATFORM):
        if wanted.market_role in organisation.roles:
            return organisation
    if wanted.makes is None:
        return None
    id_, name = wanted.makes
    key = PrivateKey.generate()
    organisation = actions.register_organisation(
        by=SYSTEM, id=id_, name=name, roles=[wanted.market_role.value], first_key=key.public.keyid
    )
    files.make_secret(keys / f"{id_}.pem", key.to_pem())
    return organisation
