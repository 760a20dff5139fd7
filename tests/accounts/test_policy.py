"""The policy table, written out a second time by hand: who may do what, for every role, action, target and state.

The table here is not computed from the product's. A change of either must be made twice, on purpose.
"""

import re
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import pytest
from django.conf import settings

from compliance.accounts import policy
from compliance.accounts.models import ApiKey, Membership, Organisation, Person
from compliance.accounts.policy import SYSTEM, TABLE, NotAllowed, Reach
from compliance.accounts.roles import MarketRole
from compliance.jobs import clock

OWN, FOREIGN = "own_org", "other_org"

# Letters: - nothing, o what is one's own organisation's, A everything.   system admin auditor regulator manager member
EXPECTED = {
    "organisation.register": "AA----",
    "organisation.read": "AAAooo",
    "organisation.change": "AA----",
    "person.read": "AAoooo",
    "person.add": "AA--o-",
    "membership.change": "AA--o-",
    "api_key.read": "AA--oo",
    "api_key.create": "AA--o-",
    "api_key.revoke": "AA--o-",
    "signing_key.read": "AAAooo",
    "signing_key.revoke": "AA--o-",
    "entry.redact": "-A----",
    "batch.submit": "--oooo",
    "batch.read": "AAAooo",
    "meter.read": "AAAooo",
    "evidence.submit": "--o-oo",
    "evidence.read": "AAA-oo",
    "evidence.accept": "--A---",
    "evidence.return": "--A---",
    "framework.read": "AAAAAA",
    "coverage.read": "AAAA--",
    "check.run": "AAA---",
    "finding.read": "AAA-oo",
    "finding.open": "A-A---",
    "finding.grade": "--A---",
    "finding.close": "--A---",
    "report.request": "AAA---",
    "report.read": "AAAAoo",
    "report.sign": "--A---",
    "job.read": "AAA---",
}
ROLES = ("system", "administrator", "auditor", "regulator", "manager", "member")
REVIEWABLE = {"received", "submitted"}


@dataclass
class Target:
    """Anything that belongs to an organisation."""

    organisation_id: str
    state: str = ""
    submitter_id: int | None = None


def actor(role: str) -> object:
    """Somebody with one role in `own_org`, without a database."""
    if role == "system":
        return SYSTEM
    person = Person(pk=1, username=role)
    organisation = Organisation(pk="platform" if role == "administrator" else OWN, roles=[])
    membership = Membership(person=person, organisation=organisation, role=role)
    person.__dict__["active_memberships"] = [membership]
    return person


def is_open(role: str, action: str, state: str) -> bool:
    """The states, said once more."""
    if action in {"evidence.accept", "evidence.return"}:
        return state in REVIEWABLE
    if action == "finding.close":
        return state == "open"
    if action == "report.read":
        return state == "issued" or role in {"system", "administrator", "auditor"}
    return True


def test_every_action_is_in_both_tables():
    assert set(EXPECTED) == set(TABLE)


@pytest.mark.parametrize(("action", "role"), list(product(EXPECTED, ROLES)))
def test_policy_matrix(action, role):
    """T5, T19, T23: every action x role x own or foreign target x state."""
    letter = EXPECTED[action][ROLES.index(role)]
    who = actor(role)
    assert policy.allows(who, action) is (letter != "-")
    assert policy.reach(who, action) == {"-": Reach.NONE, "o": Reach.OWN, "A": Reach.ALL}[letter]
    for owner, state in product((OWN, FOREIGN), ("", "received", "submitted", "accepted", "open", "closed", "issued")):
        expected = (letter == "A" or (letter == "o" and owner == OWN)) and is_open(role, action, state)
        assert policy.allows(who, action, Target(owner, state)) is expected, (action, role, owner, state)


@pytest.mark.parametrize("action", sorted(EXPECTED))
def test_nobody_unknown_or_switched_off_may_do_anything(action):
    switched_off = actor("auditor")
    switched_off.is_active = False
    for who in (None, object(), "system", Person(username="nobody"), switched_off):
        if isinstance(who, Person) and who is not switched_off:
            who.__dict__["active_memberships"] = []
        assert not policy.allows(who, action)
        assert policy.reach(who, action) is Reach.NONE


@pytest.mark.parametrize("action", ["evidence.accept", "evidence.return"])
def test_nobody_reviews_what_he_submitted(action):
    """Separation of duties: the submitter is not the acceptor."""
    auditor = actor("auditor")
    assert policy.allows(auditor, action, Target(FOREIGN, "submitted", submitter_id=2))
    assert not policy.allows(auditor, action, Target(FOREIGN, "submitted", submitter_id=auditor.pk))


@pytest.mark.parametrize(
    "action", ["evidence.accept", "evidence.return", "finding.grade", "finding.close", "report.sign"]
)
def test_a_platform_administrator_judges_nothing_whatever_else_he_is(action):
    """Separation of duties: whoever runs the machine cannot accept, grade or sign, even with an auditor's hat."""
    person = actor("auditor")
    platform = Organisation(pk="platform", roles=[])
    person.__dict__["active_memberships"].append(Membership(person=person, organisation=platform, role="administrator"))
    assert not policy.allows(person, action)
    assert not policy.allows(person, action, Target(FOREIGN, "submitted"))


def key_of(organisation: str, *scopes: str, market_roles: tuple[str, ...] = ()) -> ApiKey:
    """An API key without a database."""
    return ApiKey(
        identifier="abcdefgh",
        organisation=Organisation(pk=organisation, roles=list(market_roles)),
        scopes=list(scopes),
        expires_at=clock.now(),
    )


@pytest.mark.parametrize("action", sorted(EXPECTED))
def test_an_api_key_needs_the_scope_and_no_scope_judges(action):
    """T18: a key does what its scopes say, no more; accepting, grading and signing is no machine's."""
    scope = policy.SCOPES.get(action)
    others = sorted(policy.ALL_SCOPES - {scope})
    for organisation in ("platform", OWN):
        assert not policy.allows(key_of(organisation, *others), action)
    judging = {"evidence.accept", "evidence.return", "finding.grade", "finding.close", "report.sign"}
    if action in judging:
        assert not policy.allows(key_of(OWN, *policy.ALL_SCOPES, market_roles=("auditor",)), action)
    if scope:
        column = ROLES.index("administrator")
        assert policy.allows(key_of("platform", scope), action) is (EXPECTED[action][column] != "-")


@pytest.mark.parametrize(
    ("market_role", "role"), [("manufacturer", "member"), ("auditor", "auditor"), ("regulator", "regulator")]
)
@pytest.mark.parametrize("action", sorted(policy.SCOPES))
def test_an_api_key_reaches_as_far_as_its_organisation(action, market_role, role):
    key = key_of(OWN, *policy.ALL_SCOPES, market_roles=(market_role,))
    letter = EXPECTED[action][ROLES.index(role)]
    state = "submitted" if action.startswith("evidence") else "issued"
    assert policy.allows(key, action, Target(OWN, state)) is (letter in "oA")
    assert policy.allows(key, action, Target(FOREIGN, state)) is (letter == "A")


SCOPES_OF_ROWS = {
    "system": "*",
    "administrator": "platform,*api_key.read,*coverage.read,*evidence.read,*finding.read,*person.read,*report.read",
    "auditor": "own_org,*coverage.read,*evidence.read,*finding.read,*report.read",
    "regulator": "own_org,*coverage.read,*report.read",
    "manager": "own_org",
    "member": "own_org",
}


@pytest.mark.parametrize("role", ROLES)
def test_the_row_scope_reaches_as_far_as_the_table(role):
    """T19: what row-level security lets a role's requests touch, by hand."""
    assert policy.row_scope_of(actor(role)) == SCOPES_OF_ROWS[role]


def test_the_row_scope_of_a_key_is_that_of_its_role_whatever_its_scopes():
    for market_role, role in (("manufacturer", "member"), ("auditor", "auditor"), ("regulator", "regulator")):
        key = key_of(OWN, "events:write", market_roles=(market_role,))
        assert policy.row_scope_of(key) == SCOPES_OF_ROWS[role]
    assert policy.row_scope_of(key_of("platform", "events:write")) == SCOPES_OF_ROWS["administrator"]
    switched_off = actor("auditor")
    switched_off.is_active = False
    for nobody in (switched_off, None, "system"):
        assert policy.row_scope_of(nobody) == ""


def test_a_person_with_two_hats_wears_each_in_its_own_organisation():
    """Being a manager here makes nobody a manager there."""
    person = actor("manager")
    other = Organisation(pk=FOREIGN, roles=[])
    person.__dict__["active_memberships"].append(Membership(person=person, organisation=other, role="member"))
    assert policy.allows(person, "api_key.create", Target(OWN))
    assert not policy.allows(person, "api_key.create", Target(FOREIGN))
    assert policy.organisations_within(person, "api_key.create") == [OWN]
    assert policy.organisations_within(person, "meter.read") == [FOREIGN, OWN]
    assert policy.row_scope_of(person) == f"{FOREIGN},{OWN}"


def test_an_action_that_is_not_in_the_table_is_a_mistake_in_the_program():
    with pytest.raises(LookupError):
        policy.allows(SYSTEM, "evidence.forge")


def test_not_allowed_names_the_action_and_not_the_target():
    with pytest.raises(NotAllowed) as refusal:
        policy.require(actor("member"), "evidence.read", Target(FOREIGN))
    assert FOREIGN not in str(refusal.value)


def test_the_page_has_the_table():
    """docs/accounts.md shows each action with the reach of each role and the scope a key needs."""
    page = (Path(settings.BASE_DIR) / "docs" / "accounts.md").read_text("utf-8")
    words = {Reach.NONE: "", Reach.OWN: "own", Reach.ALL: "all"}
    for action, row in TABLE.items():
        shown = [words[row[policy.Role(role)]] for role in ROLES if role != "system"]
        scope = f"`{policy.SCOPES[action]}`" if action in policy.SCOPES else ""
        assert "| " + " | ".join([f"`{action}`", *shown, scope]) + " |" in page, action


def test_the_pages_list_every_market_role_and_scope():
    """`organisation.role` and `api_key.scope` of the problem catalogue send readers to these two."""
    docs = Path(settings.BASE_DIR) / "docs"
    listed = (docs / "accounts.md").read_text("utf-8").partition("The market roles: ")[2].partition(".")[0]
    assert sorted(re.findall(r"`([a-z_]+)`", listed)) == sorted(MarketRole.values)
    scopes = (docs / "api.md").read_text("utf-8").partition("| Scope |")[2].partition("\n\n")[0]
    shown = dict(re.findall(r"^\| `([a-z:-]+)` \| (.*) \|$", scopes, re.MULTILINE))
    assert set(shown) == policy.ALL_SCOPES
    assert {scope for scope, text in shown.items() if "platform only" in text} == policy.PLATFORM_SCOPES
