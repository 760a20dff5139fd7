"""Reads of people, organisations and keys, already cut to what the asking actor may see."""

from collections.abc import Iterable
from datetime import datetime

from django.db.models import Q, QuerySet

from compliance.accounts import policy
from compliance.accounts.models import ApiKey, Membership, Organisation, Person, SigningKey
from compliance.accounts.policy import Actor, Reach


def organisation(id: str) -> Organisation | None:  # noqa: A002
    """The organisation with that id, or None. For code that has already decided who may ask."""
    return Organisation.objects.filter(pk=id).first()


def organisations(ids: Iterable[str]) -> dict[str, Organisation]:
    """Organisations by id; those that do not exist are missing."""
    return Organisation.objects.in_bulk(list(ids))


def organisations_visible_to(actor: Actor) -> QuerySet[Organisation]:
    """Organisations `actor` may look at."""
    match policy.reach(actor, "organisation.read"):
        case Reach.ALL:
            return Organisation.objects.all()
        case Reach.OWN:
            return Organisation.objects.filter(pk__in=policy.organisations_within(actor, "organisation.read"))
    return Organisation.objects.none()


def organisations_of(person: Person) -> list[Organisation]:
    """The organisations `person` acts for, the first joined first."""
    return person.organisations


def signing_keys(keyids: Iterable[str]) -> dict[str, SigningKey]:
    """Registered keys by key id; unknown ones are missing. Validity is `SigningKey.why_not_valid`.

    Asked several times in every append, so the statement is not composed anew each time.
    """
    wanted = list(keyids)
    if not wanted:
        return {}
    marks = ",".join(["%s"] * len(wanted))
    return {
        key.keyid: key
        for key in SigningKey.objects.raw(f"SELECT * FROM accounts_signingkey WHERE keyid IN ({marks})", wanted)  # noqa: S608
    }


def signing_keys_of(organisation: str, *, valid_at: datetime | None = None) -> QuerySet[SigningKey]:
    """Keys of an organisation, oldest first; with `valid_at`, only those that may sign at that moment."""
    keys = SigningKey.objects.filter(organisation=organisation)
    if valid_at is None:
        return keys
    return keys.filter(
        Q(revoked_at=None) | Q(revoked_at__gt=valid_at),
        Q(valid_until=None) | Q(valid_until__gt=valid_at),
        registered_at__lte=valid_at,
        valid_from__lte=valid_at,
    )


def signing_keys_visible_to(actor: Actor) -> QuerySet[SigningKey]:
    """Signing keys `actor` may look at."""
    match policy.reach(actor, "signing_key.read"):
        case Reach.ALL:
            return SigningKey.objects.all()
        case Reach.OWN:
            own = policy.organisations_within(actor, "signing_key.read")
            return SigningKey.objects.filter(organisation__in=own)
    return SigningKey.objects.none()


def api_keys_visible_to(actor: Actor) -> QuerySet[ApiKey]:
    """API keys `actor` may look at; the secrets are nowhere."""
    keys = ApiKey.objects.select_related("organisation", "created_by")
    match policy.reach(actor, "api_key.read"):
        case Reach.ALL:
            return keys
        case Reach.OWN:
            return keys.filter(organisation__in=policy.organisations_within(actor, "api_key.read"))
    return keys.none()


def memberships_visible_to(actor: Actor) -> QuerySet[Membership]:
    """Who is what in which organisation, as far as `actor` may know."""
    memberships = Membership.objects.select_related("person", "organisation").order_by("organisation", "pk")
    match policy.reach(actor, "person.read"):
        case Reach.ALL:
            return memberships
        case Reach.OWN:
            return memberships.filter(organisation__in=policy.organisations_within(actor, "person.read"))
    return memberships.none()


def person_behind(actor_id: str) -> Person | None:
    """The account behind a pseudonym of the log, for those who may see names at all."""
    membership = Membership.objects.select_related("person").filter(actor_id=actor_id).first()
    return membership.person if membership else None


def pins() -> dict[str, list[str]]:
    """The first keys of every organisation, for the trust folder: who pins them trusts no later word of the
    platform."""
    return {organisation.pk: list(organisation.first_keys) for organisation in Organisation.objects.all()}
