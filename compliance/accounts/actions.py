"""Writes about people, organisations and keys: permission, change and log entry in one transaction each.

Organisations and signing keys change through log entries alone (`projection` follows them). Role changes are entries
too, on the chain `person_role:<organisation>:<pseudonym>`: a role that stands in the table without one is a finding of
fsck.
"""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import transaction

from compliance.accounts import api_keys, policy
from compliance.accounts.models import ApiKey, Membership, Organisation, Person, SignaturePolicy, SigningKey
from compliance.accounts.policy import Actor
from compliance.accounts.roles import NEEDS_MARKET_ROLE, PLATFORM, MarketRole, MembershipRole
from compliance.jobs import clock, row_scope
from compliance.ledger import setup
from compliance.ledger.errors import Conflict, Refused
from compliance.ledger.platform_log import platform_batch
from compliance.ledger.transactions import unit_of_work
from compliance.proof.identifiers import SCHEMES
from compliance.proof.times import format_time

DEFAULT_KEY_LIFE = timedelta(days=90)
LONGEST_KEY_LIFE = timedelta(days=365)  # a credential nobody renews for a year is one nobody misses
ROTATION_OVERLAP = timedelta(days=7)  # how long the old key of a rotation still works: a maintenance window at a plant
MAX_NAME = 200  # the column's width
_ORGANISATION_ID = re.compile(r"[a-z][a-z0-9_]{1,30}")
_KEYID = re.compile(r"sha256:[0-9a-f]{64}")
_RESERVED_IDS = frozenset({"org", "sha256", "origin", PLATFORM, *SCHEMES})


@unit_of_work()
def register_organisation(
    *,
    by: Actor,
    id: str,  # noqa: A002
    name: str,
    roles: Sequence[str],
    first_key: str,
    signature_policy: str = SignaturePolicy.REQUIRED,
) -> Organisation:
    """Record that the platform knows an organisation, its market roles and the first of its keys.

    Raises NotAllowed, or Refused for an id, role or key id that cannot be.
    """
    policy.require(by, "organisation.register")
    if not _ORGANISATION_ID.fullmatch(id) or id in _RESERVED_IDS:
        raise Refused("organisation.id", f"{id} cannot be an organisation's id", pointer="/id")
    _check_organisation(name=name, roles=roles, first_key=first_key, signature_policy=signature_policy)
    if Organisation.objects.filter(pk=id).exists():
        raise Conflict("organisation.exists", f"{id} is taken", pointer="/id")
    _record_organisation(by=by, id=id, name=name, roles=roles, first_key=first_key)
    Organisation.objects.filter(pk=id).update(signature_policy=signature_policy)
    return Organisation.objects.get(pk=id)


@unit_of_work()
def change_organisation(
    *, by: Actor, organisation: Organisation, name: str, roles: Sequence[str], first_key: str, signature_policy: str
) -> Organisation:
    """Replace name and roles; another `first_key` starts a new line of keys, which pins of the old one do not cover."""
    policy.require(by, "organisation.change", organisation)
    _check_organisation(name=name, roles=roles, first_key=first_key, signature_policy=signature_policy)
    if (name, sorted(roles), first_key) != (organisation.name, organisation.roles, organisation.first_key):
        _record_organisation(by=by, id=organisation.pk, name=name, roles=roles, first_key=first_key)
    Organisation.objects.filter(pk=organisation.pk).update(signature_policy=signature_policy)
    return Organisation.objects.get(pk=organisation.pk)


@unit_of_work()
def revoke_signing_key(
    *, by: Actor, key: SigningKey, effective_at: datetime, reason_code: str, reason: str
) -> SigningKey:
    """Revoke a key in the platform's name, for an organisation that cannot sign for itself any more."""
    policy.require(by, "signing_key.revoke", key)
    with platform_batch(actor=by.actor) as log:
        log.record(
            key.subject,
            "org.key_revoked",
            {"effective_at": format_time(effective_at), "reason_code": reason_code, "reason": reason},
        )
    key.refresh_from_db()
    return key


@unit_of_work()
def create_person(
    *, by: Actor, username: str, name: str, email: str, password: str, organisation: Organisation, role: str
) -> Person:
    """Open an account for somebody in `organisation`. Raises NotAllowed or Refused."""
    policy.require(by, "person.add", organisation)
    if Person.objects.filter(username=username).exists():
        raise Conflict("person.exists", f"{username} is taken", pointer="/username")
    person = Person(username=username, name=name, email=email)
    try:
        validate_password(password, person)
    except ValidationError as error:
        raise Refused("person.password", " ".join(error.messages), pointer="/password") from None
    person.set_password(password)
    person.save()
    grant_role(by=by, person=person, organisation=organisation, role=role)
    return person


@unit_of_work()
def grant_role(*, by: Actor, person: Person, organisation: Organisation, role: str) -> Membership:
    """Make `person` a `role` in `organisation`, under a new pseudonym. An earlier role there ends."""
    policy.require(by, "membership.change", organisation)
    _check_role_fits(by=by, organisation=organisation, role=role)
    with row_scope.everything():  # roles exclude each other also where `by` may not look
        held = list(Membership.objects.in_force().filter(person=person))
    if role == MembershipRole.ADMINISTRATOR and any(each.role == MembershipRole.AUDITOR for each in held):
        raise Refused("person.role", "an auditor cannot administer the platform", pointer="/role")
    if role == MembershipRole.AUDITOR and any(each.role == MembershipRole.ADMINISTRATOR for each in held):
        raise Refused("person.role", "a platform administrator cannot audit", pointer="/role")
    for earlier in [each for each in held if each.organisation_id == organisation.pk]:
        end_role(by=by, membership=earlier, reason=f"replaced by {role}")
    membership = Membership.objects.create(person=person, organisation=organisation, role=role)
    with platform_batch(actor=_actor_of(by)) as log:
        data = {
            "person": membership.actor_id,
            "role": MembershipRole(role).value,
            "scope": organisation.pk,
            "until": None,
        }
        log.record(membership.subject, "role.granted", data)
    person.forget_memberships()
    return membership


@unit_of_work()
def end_role(*, by: Actor, membership: Membership, reason: str) -> None:
    """End a membership. What the person did before stays as it is."""
    policy.require(by, "membership.change", membership)
    membership.ended_at = clock.now()
    membership.save(update_fields=["ended_at"])
    with platform_batch(actor=_actor_of(by)) as log:
        log.record(membership.subject, "role.revoked", {"reason": reason})
    membership.person.forget_memberships()


@transaction.atomic
def create_api_key(
    *,
    by: Actor,
    organisation: Organisation,
    scopes: Sequence[str],
    expires: datetime | None = None,
    name: str = "",
    replaces: ApiKey | None = None,
) -> tuple[ApiKey, str]:
    """Make a credential for a machine of `organisation`. The second value is the secret: it exists nowhere else."""
    policy.require(by, "api_key.create", organisation)
    if policy.sees_beyond_itself(organisation) and policy.reach(by, "api_key.create") < policy.Reach.ALL:
        raise policy.NotAllowed("api_key.create")  # its key would reach further than the manager who makes it
    now = clock.now()
    expires = expires or now + DEFAULT_KEY_LIFE
    if not now < expires <= now + LONGEST_KEY_LIFE:
        raise Refused("api_key.lifetime", "an API key lives from 1 to 365 days", pointer="/days")
    impossible = set(scopes) - policy.ALL_SCOPES
    if not organisation.is_platform:
        impossible |= set(scopes) & policy.PLATFORM_SCOPES
    if impossible or not scopes:
        named = ", ".join(sorted(impossible)) or "none"
        raise Refused("api_key.scope", f"not possible for {organisation.pk}: {named}", pointer="/scopes")
    secret = api_keys.generate()
    key = ApiKey.objects.create(
        identifier=secret.identifier,
        organisation=organisation,
        name=name,
        secret_sha256=secret.sha256,
        scopes=sorted(set(scopes)),
        created_at=now,
        created_by=by if isinstance(by, Person) else None,
        expires_at=expires,
        replaces=replaces,
    )
    return key, secret.text


@transaction.atomic
def rotate_api_key(*, by: Actor, key: ApiKey, expires: datetime | None = None) -> tuple[ApiKey, str]:
    """Make a successor with the same scopes. Both live for a while, then the old one ends by itself."""
    key = ApiKey.objects.select_for_update().select_related("organisation").get(pk=key.pk)
    policy.require(by, "api_key.create", key)
    now = clock.now()
    if not key.is_alive(now) or ApiKey.objects.filter(replaces=key).exists():
        raise Conflict("api_key.rotation", f"{key.public_id} has ended or was rotated before")
    if key.replaces is not None and key.replaces.is_alive(now):
        raise Conflict("api_key.rotation", f"{key.replaces.public_id}, which this key replaces, is still alive")
    made = create_api_key(
        by=by, organisation=key.organisation, scopes=key.scopes, expires=expires, name=key.name, replaces=key
    )
    key.expires_at = min(key.expires_at, now + ROTATION_OVERLAP)
    key.save(update_fields=["expires_at"])
    return made


@transaction.atomic
def revoke_api_key(*, by: Actor, key: ApiKey) -> ApiKey:
    """End a credential at once. It waits for appends under the key that began before; none begins after."""
    key = ApiKey.objects.select_for_update().select_related("organisation").get(pk=key.pk)
    policy.require(by, "api_key.revoke", key)
    if key.revoked_at is None:
        key.revoked_at = clock.now()
        key.save(update_fields=["revoked_at"])
    return key


def _check_organisation(*, name: str, roles: Sequence[str], first_key: str, signature_policy: str) -> None:
    if not name.strip() or len(name) > MAX_NAME:
        raise Refused("request.value", "a name has 1 to 200 characters", pointer="/name")
    unknown = sorted(set(roles) - set(MarketRole.values))
    if unknown or not roles:
        raise Refused("organisation.role", f"not a market role: {', '.join(unknown) or 'none'}", pointer="/roles")
    if not _KEYID.fullmatch(first_key):
        raise Refused("key.form", "a key id is sha256: and 64 hex digits", pointer="/first_key")
    if signature_policy not in SignaturePolicy.values:
        raise Refused("request.value", "the policy is required or accepted", pointer="/signature_policy")


def _record_organisation(*, by: Actor, id: str, name: str, roles: Sequence[str], first_key: str) -> None:  # noqa: A002
    data = {"name": name, "roles": sorted(set(roles)), "first_key": first_key}
    with platform_batch(actor=_actor_of(by)) as log:
        log.record(f"organisation:org:{id}", "org.registered", data)
    transaction.on_commit(setup.write_trust_folder)


def _check_role_fits(*, by: Actor, organisation: Organisation, role: str) -> None:
    if role not in MembershipRole.values:
        raise Refused("person.role", f"no role is called {role}", pointer="/role")
    if (role == MembershipRole.ADMINISTRATOR) != organisation.is_platform:
        raise Refused("person.role", "administrators, and they alone, belong to the platform", pointer="/role")
    needed = NEEDS_MARKET_ROLE.get(MembershipRole(role))
    if needed and needed not in organisation.roles:
        raise Refused("person.role", f"{organisation.pk} is no {needed.label.lower()}", pointer="/role")
    if needed and policy.reach(by, "membership.change") != policy.Reach.ALL:
        raise policy.NotAllowed("membership.change")


def _actor_of(by: Actor) -> dict[str, str]:
    return dict(by.actor)
