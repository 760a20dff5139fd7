"""Who may do what: one table, one function.

Every action of the product stands in `TABLE` with the reach each role has: nothing, what belongs to its own
organisation, or everything. Three refinements follow, each a table too: states in which an action is open, scopes that
an API key needs, and duties that one person must not combine. Views, API and actions ask `allows` or `require`; list
selectors ask `reach`. Nobody else decides by a role's name.

Which meters belong to an organisation, and for which part of their chain, is custody's projection `visibility`: a meter
is shared by several organisations, so its selectors cut it and only ask here how far the reader's reach goes. An
auditor's reach is everything until engagements bound it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Any, Final

from compliance.accounts.models import ApiKey, Organisation, Person
from compliance.accounts.roles import PLATFORM, MarketRole
from compliance.jobs import row_scope
from compliance.ledger import row_security


class Role(StrEnum):
    """In which capacity somebody acts."""

    SYSTEM = "system"
    ADMINISTRATOR = "administrator"
    AUDITOR = "auditor"
    REGULATOR = "regulator"
    MANAGER = "manager"
    MEMBER = "member"


class Reach(IntEnum):
    """How far a permission goes."""

    NONE = 0
    OWN = 1
    ALL = 2


class NotAllowed(Exception):
    """The actor may not do this. The message names the action, never the target: it may be somebody else's."""

    def __init__(self, action: str) -> None:
        super().__init__(f"not allowed: {action}")
        self.action = action


class System:
    """The product itself, acting in jobs and commands."""

    is_authenticated = True
    is_active = True
    actor: Final = {"service": "meterproof"}

    def __str__(self) -> str:
        return "system"


SYSTEM: Final = System()
Actor = Person | ApiKey | System

_, OWN, ALL = Reach.NONE, Reach.OWN, Reach.ALL
_COLUMNS = (Role.SYSTEM, Role.ADMINISTRATOR, Role.AUDITOR, Role.REGULATOR, Role.MANAGER, Role.MEMBER)
_ROWS: dict[str, tuple[Reach, ...]] = {
    # action                   system  admin  auditor  regulator  manager  member
    "organisation.register": (ALL, ALL, _, _, _, _),
    "organisation.read": (ALL, ALL, ALL, OWN, OWN, OWN),
    "organisation.change": (ALL, ALL, _, _, _, _),
    "person.read": (ALL, ALL, OWN, OWN, OWN, OWN),
    "person.add": (ALL, ALL, _, _, OWN, _),
    "membership.change": (ALL, ALL, _, _, OWN, _),
    "api_key.read": (ALL, ALL, _, _, OWN, OWN),
    "api_key.create": (ALL, ALL, _, _, OWN, _),
    "api_key.revoke": (ALL, ALL, _, _, OWN, _),
    "signing_key.read": (ALL, ALL, ALL, OWN, OWN, OWN),
    "signing_key.revoke": (ALL, ALL, _, _, OWN, _),
    "entry.redact": (_, ALL, _, _, _, _),
    "batch.submit": (_, _, OWN, OWN, OWN, OWN),
    "batch.read": (ALL, ALL, ALL, OWN, OWN, OWN),
    "meter.read": (ALL, ALL, ALL, OWN, OWN, OWN),
    "evidence.submit": (_, _, OWN, _, OWN, OWN),
    "evidence.read": (ALL, ALL, ALL, _, OWN, OWN),
    "evidence.accept": (_, _, ALL, _, _, _),
    "evidence.return": (_, _, ALL, _, _, _),
    "framework.read": (ALL, ALL, ALL, ALL, ALL, ALL),
    "coverage.read": (ALL, ALL, ALL, ALL, _, _),
    "check.run": (ALL, ALL, ALL, _, _, _),
    "finding.read": (ALL, ALL, ALL, _, OWN, OWN),
    "finding.open": (ALL, _, ALL, _, _, _),
    "finding.grade": (_, _, ALL, _, _, _),
    "finding.close": (_, _, ALL, _, _, _),
    "report.request": (ALL, ALL, ALL, _, _, _),
    "report.read": (ALL, ALL, ALL, ALL, OWN, OWN),
    "report.sign": (_, _, ALL, _, _, _),
    "job.read": (ALL, ALL, ALL, _, _, _),
}
TABLE: Final[dict[str, dict[Role, Reach]]] = {
    action: dict(zip(_COLUMNS, row, strict=True)) for action, row in _ROWS.items()
}

# States in which an action is open. Keyed by (action, role) where only one role is bound, else by (action, None).
STATES: Final[dict[tuple[str, Role | None], frozenset[str]]] = {
    ("evidence.accept", None): frozenset({"received", "submitted"}),
    ("evidence.return", None): frozenset({"received", "submitted"}),
    ("finding.close", None): frozenset({"open"}),
    ("report.read", Role.REGULATOR): frozenset({"issued"}),
    ("report.read", Role.MANAGER): frozenset({"issued"}),
    ("report.read", Role.MEMBER): frozenset({"issued"}),
}

# The scope an API key needs. An action that is not here is a person's alone: no key accepts, grades or signs.
SCOPES: Final[dict[str, str]] = {
    "organisation.register": "organisations:write",
    "organisation.read": "organisations:write",
    "api_key.create": "api-keys:write",
    "api_key.read": "api-keys:write",
    "api_key.revoke": "api-keys:write",
    "batch.submit": "events:write",
    "batch.read": "events:read",
    "meter.read": "events:read",
    "evidence.submit": "evidence:write",
    "evidence.read": "evidence:write",
    "framework.read": "reports:read",
    "coverage.read": "reports:read",
    "check.run": "checks:run",
    "finding.read": "events:read",
    "report.request": "reports:write",
    "report.read": "reports:read",
    "job.read": "reports:read",
}
# Scopes that make sense only in the operator's hands; nobody else's key can have them.
PLATFORM_SCOPES: Final = frozenset({"organisations:write", "api-keys:write", "checks:run", "reports:write"})
ALL_SCOPES: Final = frozenset(SCOPES.values())
SENDER_SCOPES: Final = (
    "events:write",
    "evidence:write",
    "events:read",
    "reports:read",
)  # for who hands in and reads back

# What no platform administrator may do, whatever else the person is: whoever runs the machine judges nothing on it.
JUDGEMENTS: Final = frozenset({"evidence.accept", "evidence.return", "finding.grade", "finding.close", "report.sign"})
# What nobody may do to a target that he or she submitted.
NOT_BY_SUBMITTER: Final = frozenset({"evidence.accept", "evidence.return"})


@dataclass(frozen=True, slots=True)
class Capacity:
    """One hat of an actor: a role, and the organisation it is held in."""

    role: Role
    organisation: str


def allows(actor: Actor | Any, action: str, target: object | None = None) -> bool:
    """Whether `actor` may do `action`, to `target` if one is given.

    A target says what the table asks for by attributes: `organisation_id` (whose it is), `state`, `submitter_id`.
    Without a target the question is whether the action is open at all, as for showing a button or an empty list.
    """
    if action not in TABLE:
        raise LookupError(f"{action} is not in the policy table")
    if not _may_at_all(actor, action):
        return False
    if action in NOT_BY_SUBMITTER and _is_own_work(actor, target):
        return False
    return any(
        _reaches(capacity, action, target) and _is_open(capacity.role, action, target) for capacity in capacities(actor)
    )


def require(actor: Actor | Any, action: str, target: object | None = None) -> None:
    """Raise NotAllowed unless `allows`."""
    if not allows(actor, action, target):
        raise NotAllowed(action)


def reach(actor: Actor | Any, action: str) -> Reach:
    """How far the permission goes, for selectors that filter lists."""
    if action not in TABLE:
        raise LookupError(f"{action} is not in the policy table")
    if not _may_at_all(actor, action):
        return Reach.NONE
    return max((TABLE[action][capacity.role] for capacity in capacities(actor)), default=Reach.NONE)


def organisations_within(actor: Actor | Any, action: str) -> list[str]:
    """Ids of the organisations whose things `actor` may do `action` to, where `reach` is OWN."""
    if not _may_at_all(actor, action):
        return []
    return sorted({each.organisation for each in capacities(actor) if TABLE[action][each.role] >= Reach.OWN})


def states_open(actor: Actor | Any, action: str) -> frozenset[str] | None:
    """The states in which `action` is open to `actor`, or None when it is open in any."""
    bounds = [_states(each.role, action) for each in capacities(actor) if TABLE[action][each.role] > Reach.NONE]
    if not bounds:
        return frozenset()
    if any(bound is None for bound in bounds):
        return None
    return frozenset().union(*(bound for bound in bounds if bound is not None))


def row_scope_of(actor: Actor | Any) -> str:
    """The row scope of statements for `actor`: its organisations, and the actions by which it reads everybody's rows.

    Roles alone count, not an API key's scopes: whoever may only write a thing must find what is there of it.
    """
    if isinstance(actor, System):
        return row_scope.EVERYTHING
    hats = list(capacities(actor))
    everywhere = [
        action for action in row_security.actions_everywhere() if any(TABLE[action][hat.role] == ALL for hat in hats)
    ]
    return row_scope.of({hat.organisation for hat in hats}, everywhere)


def capacities(actor: Actor | Any) -> Iterator[Capacity]:
    """The hats of `actor`. Somebody unknown or switched off has none."""
    if isinstance(actor, System):
        yield Capacity(Role.SYSTEM, PLATFORM)
    elif isinstance(actor, ApiKey):
        yield Capacity(_role_of_key(actor), actor.organisation_id)
    elif isinstance(actor, Person) and actor.is_active:
        for membership in actor.active_memberships:
            yield Capacity(Role(membership.role), membership.organisation_id)


def _role_of_key(key: ApiKey) -> Role:
    if key.organisation_id == PLATFORM:
        return Role.ADMINISTRATOR
    if MarketRole.AUDITOR in key.organisation.roles:
        return Role.AUDITOR
    if MarketRole.REGULATOR in key.organisation.roles:
        return Role.REGULATOR
    return Role.MEMBER


def sees_beyond_itself(organisation: Organisation) -> bool:
    """Whether a key of `organisation` reaches what belongs to others: auditors, regulators and the platform."""
    roles = {MarketRole.AUDITOR.value, MarketRole.REGULATOR.value}
    return organisation.is_platform or not roles.isdisjoint(organisation.roles)


def _may_at_all(actor: Actor | Any, action: str) -> bool:
    if isinstance(actor, ApiKey):
        return SCOPES.get(action) in actor.scopes
    if isinstance(actor, Person) and action in JUDGEMENTS:
        return not actor.is_administrator
    return isinstance(actor, Person | System)


def _is_own_work(actor: Actor | Any, target: object | None) -> bool:
    submitter = getattr(target, "submitter_id", None)
    return isinstance(actor, Person) and submitter is not None and submitter == actor.pk


def _reaches(capacity: Capacity, action: str, target: object | None) -> bool:
    granted = TABLE[action][capacity.role]
    if granted == Reach.OWN and target is not None:
        return getattr(target, "organisation_id", None) == capacity.organisation
    return granted > Reach.NONE


def _is_open(role: Role, action: str, target: object | None) -> bool:
    states = _states(role, action)
    return target is None or states is None or getattr(target, "state", None) in states


def _states(role: Role, action: str) -> frozenset[str] | None:
    return STATES.get((action, role), STATES.get((action, None)))
