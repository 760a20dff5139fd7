"""Reads of custody, cut to what the asking actor may see.

A party sees a meter's entries for the time it was holder, owner or controller; of a meter that it handed on it sees
how that stood then. Auditors, administrators and the product itself see everything.
"""

import copy
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson
from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce

from compliance.accounts import policy
from compliance.accounts.policy import Actor, Reach
from compliance.custody import facts, links, meter_memory, profiles, rows, vocabulary, words
from compliance.custody.facts import Statement
from compliance.custody.lifecycle import Fact, Signer, State, advance, fold, profile_of
from compliance.custody.lifecycle import Violation as Found
from compliance.custody.models import Identifier, KeyBundle, Link, Meter, Shipment, Violation, Visibility
from compliance.custody.vocabulary import CORRECTED
from compliance.ledger.models import Entry
from compliance.proof import subject as subjects
from compliance.proof.times import parse_time

ACTION = "meter.read"
DEFAULT_LIMIT = 50
MAX_LIMIT = 500
_PUBLIC_ID = re.compile(r"mtr_([0-9a-f]{32})")


@dataclass(frozen=True, slots=True)
class MeterPage:
    """Some meters in the order of their subject, and where the next page begins (None: it was the last)."""

    meters: list[Meter]
    next: str | None


@dataclass(frozen=True, slots=True)
class ChainLink:
    """One entry of a meter's chain as a page shows it. `type` and all else are of the cause where it is a link."""

    seq: int
    hash: str
    type: str
    title: str
    summary: str
    author: str
    signers: tuple[Signer, ...]
    actor: dict[str, str]
    second_actor: dict[str, str] | None
    data: dict[str, Any]
    evidence: list[dict[str, Any]]
    occurred_at: datetime
    recorded_at: datetime
    batch_id: str
    index: int
    linked: bool
    cause: str | None
    cause_seq: int | None
    before: str
    after: str
    assured: str
    violations: list[Violation]
    voided: bool


@dataclass(frozen=True, slots=True)
class Step:
    """One entry of a meter's chain as the fold sees it, for checks."""

    statement: Statement  # the entry itself
    stated: Statement  # the event: of the cause where the entry is a link
    fact: Fact
    linked: bool
    voided: bool
    before: State
    after: State
    violations: tuple[Found, ...]

    @property
    def seq(self) -> int:
        """Place in the chain."""
        return self.statement.seq

    @property
    def type(self) -> str:
        """Type of the event."""
        return self.fact.type

    @property
    def author(self) -> str:
        """Organisation that states it."""
        return self.fact.author

    @property
    def data(self) -> dict[str, Any]:
        """Data of the event."""
        return dict(self.fact.data)

    @property
    def occurred_at(self) -> datetime:
        """When it happened, as claimed."""
        return parse_time(self.stated.event["occurred_at"])

    @property
    def recorded_at(self) -> datetime:
        """When the entry was recorded."""
        return self.statement.recorded_at


@dataclass(slots=True)
class _Interval:
    from_seq: int
    to_seq: int | None = field(default=None)

    def holds(self, seq: int) -> bool:
        return self.from_seq <= seq and (self.to_seq is None or seq <= self.to_seq)


def meters_visible_to(actor: Actor) -> QuerySet[Meter]:
    """Meters whose custody the actor's organisations share or shared. Cut each with `as_seen_by` before it is shown."""
    match policy.reach(actor, ACTION):
        case Reach.ALL:
            return Meter.objects.with_heads()
        case Reach.OWN:
            return Meter.objects.with_heads().filter(Exists(_intervals(_organisations(actor))))
    return Meter.objects.none()


def as_seen_by(actor: Actor, found: QuerySet[Meter]) -> list[Meter]:
    """The meters of `found`, a part of `meters_visible_to`, each as `actor` may see it."""
    if policy.reach(actor, ACTION) == Reach.OWN:
        found = _with_last_seen(found, _organisations(actor))
    return _cut(list(found), actor)


def meters_shared_now(actor: Actor) -> QuerySet[Meter]:
    """Meters that `actor` is a party to now, with `shown_violations`: those that stand at entries it may see.

    Lists may filter and sort by any column of these: none says more than the actor may know. What it handed on is in
    `meters_visible_to`.
    """
    found = meters_visible_to(actor)
    if policy.reach(actor, ACTION) == Reach.ALL:
        return found.annotate(shown_violations=F("violation_count"))
    shown = _violations_of(actor, OuterRef("subject_key")).order_by().values("subject_key")
    return found.filter(Exists(_intervals(_organisations(actor)).filter(to_seq=None))).annotate(
        shown_violations=Coalesce(Subquery(shown.annotate(number=Count("id")).values("number")), 0)
    )


def meter_page(
    actor: Actor,
    *,
    state: str | None = None,
    holder: str | None = None,
    meter_type: str | None = None,
    violations: bool | None = None,
    search: str | None = None,
    after: str | None = None,
    limit: int = DEFAULT_LIMIT,
) -> MeterPage:
    """A page of meters in the order of their subject, after the subject `after`, each as `actor` may see it."""
    found = meters_visible_to(actor)
    cut = policy.reach(actor, ACTION) == Reach.OWN
    if cut:
        found = _with_last_seen(found, _organisations(actor))
    for name, value in (("claimed_state", state), ("holder", holder)):
        if value is not None:
            found = found.filter(_shown(name, value) if cut else Q(**{name: value}))
    if meter_type is not None:
        found = found.filter(meter_type=meter_type)
    if violations is not None:
        is_flagged = Exists(_violations_of(actor, OuterRef("subject_key")))
        found = found.filter(is_flagged if violations else ~is_flagged)
    if search:
        named = Identifier.objects.filter(subject_key=OuterRef("subject_key"), value__icontains=search.strip())
        found = found.filter(Q(subject__icontains=search.strip()) | Exists(named))
    if after is not None:
        found = found.filter(subject__gt=after)
    limit = max(1, min(limit, MAX_LIMIT))
    page = list(found.order_by("subject")[: limit + 1])
    shown = _cut(page[:limit], actor)
    return MeterPage(meters=shown, next=shown[-1].subject if len(page) > limit else None)


def handed_on(actor: Actor, *, after: str | None = None, limit: int = DEFAULT_LIMIT) -> MeterPage:
    """Meters that `actor` was a party to and is no more, each as it saw it last, in the order of their subject."""
    own = _organisations(actor)
    found = meters_visible_to(actor).filter(~Exists(_intervals(own).filter(to_seq=None)))
    if policy.reach(actor, ACTION) != Reach.OWN:
        return MeterPage(meters=[], next=None)
    if after is not None:
        found = found.filter(subject__gt=after)
    page = list(_with_last_seen(found, own).order_by("subject")[: limit + 1])
    shown = _cut(page[:limit], actor)
    return MeterPage(meters=shown, next=shown[-1].subject if len(page) > limit else None)


def meter(public_id: str, actor: Actor) -> Meter | None:
    """A meter by its public id, as `actor` may see it; None if there is none or it is not for this actor."""
    key = _key_in(public_id)
    if key is None:
        return None
    return next(iter(as_seen_by(actor, meters_visible_to(actor).filter(subject_key=key))), None)


def _key_in(public_id: str) -> bytes | None:
    """The key of the row, which the public id spells and the index knows; None for what is no public id of a meter."""
    match = _PUBLIC_ID.fullmatch(public_id)
    return bytes.fromhex(match[1]) if match else None


def meter_of(subject: str, actor: Actor) -> Meter | None:
    """A meter by any of its names, as `actor` may see it."""
    chain = chain_named(subject)
    return meter("mtr_" + subjects.key_of(chain).hex(), actor) if chain else None


def chain_named(name: str) -> str | None:
    """The subject of the chain that `name`, written as a subject text, belongs to; None if it leads nowhere."""
    return rows.chains_by_name([name]).get(name)


def identifiers_of(meter: Meter, actor: Actor) -> list[Identifier]:
    """The names of a meter that `actor` may see, the one it was born with first."""
    intervals = _seen_by(meter, actor)
    names = Identifier.objects.filter(subject_key=meter.subject_key).order_by("seq", "id")
    return [name for name in names if any(interval.holds(name.seq) for interval in intervals)]


def chain_of(meter: Meter, actor: Actor) -> list[ChainLink]:
    """The entries of a meter's chain that `actor` may see, oldest first, in words and with what was wrong."""
    intervals = _seen_by(meter, actor)
    if not intervals:
        return []
    found: dict[int, list[Violation]] = {}
    for violation in Violation.objects.filter(subject_key=meter.subject_key).order_by("seq", "ordinal"):
        found.setdefault(violation.seq, []).append(violation)
    places = {
        seq: (batch.hex(), index)
        for seq, batch, index in Entry.objects.filter(subject=meter.subject_key).values_list("seq", "batch", "index")
    }
    return [
        _chain_link(step, found.get(step.seq, []), places[step.seq])
        for step in walk(meter.subject)
        if any(interval.holds(step.seq) for interval in intervals)
    ]


def may_see(meter: Meter, seq: int, actor: Actor) -> bool:
    """Whether `actor` may see that entry of the meter's chain."""
    return any(interval.holds(seq) for interval in _seen_by(meter, actor))


def sees_whole_chain(meter: Meter, actor: Actor) -> bool:
    """Whether `actor` may see every entry of the meter's chain, and so may have its proof bundle."""
    expected = 0
    for interval in sorted(_seen_by(meter, actor), key=lambda each: each.from_seq):
        if interval.from_seq > expected:
            return False
        if interval.to_seq is None:
            return True
        expected = max(expected, interval.to_seq + 1)
    return False


def walk(subject: str, *, to_seq: int | None = None) -> Iterator[Step]:
    """The chain of a meter step by step: each event (of a link: its cause's), the state before and after, violations.

    Entries that move nothing are left out. Not cut to an actor: for code that has already decided who may ask.
    """
    told, seen = facts.chain_facts(subject, to_seq=to_seq)
    causes = facts.statements({cause for statement in told if (cause := statement.cause)})
    vocabulary_, known = vocabulary.load(), profiles.active()
    folded = fold(seen, words=vocabulary_, profiles=known)
    state = State()
    for place, (statement, fact) in enumerate(zip(told, seen, strict=True)):
        if fact is None:
            continue
        before = copy.copy(state)
        violations: Sequence[Found] = folded.violations.get(place, ())
        if fact.type != CORRECTED and place not in folded.voided:
            violations, _ = advance(state, fact, words=vocabulary_, profile=profile_of(state, fact, known))
        yield Step(
            statement=statement,
            stated=causes.get(statement.cause or ("", 0), statement),
            fact=fact,
            linked=statement.cause is not None,
            voided=place in folded.voided,
            before=before,
            after=copy.copy(state),
            violations=tuple(violations),
        )


def overview(actor: Actor) -> dict[str, int]:
    """How many of the meters that `actor` sees now are in each state, in the order of the vocabulary."""
    found = meters_visible_to(actor)
    if policy.reach(actor, ACTION) == Reach.OWN:
        found = found.filter(Exists(_intervals(_organisations(actor)).filter(to_seq=None)))
    counted = dict(found.values_list("claimed_state").annotate(number=Count("subject_key")))
    return {state: counted.get(state, 0) for state in vocabulary.load().states if state != "none" or counted.get(state)}


def violations_visible_to(actor: Actor) -> QuerySet[Violation]:
    """Violations that stand, at entries that `actor` may see, newest first."""
    match policy.reach(actor, ACTION):
        case Reach.ALL:
            found = Violation.objects.filter(settled_seq=None)
        case Reach.OWN:
            found = _violations_of(actor)
        case _:
            found = Violation.objects.none()
    return found.order_by("-recorded_at", "subject", "-seq", "ordinal")


def shipments() -> QuerySet[Shipment]:
    """Shipments in the order they were dispatched. Not cut to an actor."""
    return Shipment.objects.order_by("dispatched_at", "subject")


def key_bundles() -> QuerySet[KeyBundle]:
    """Key bundles in the order they were released. Not cut to an actor."""
    return KeyBundle.objects.order_by("released_at", "subject")


def members_reached(subject: str, effect: str) -> list[str]:
    """Meters that the last event of type `effect` on a unit, shipment or bundle reaches. Not cut to an actor."""
    return links.reached_by(subject, effect)


def causes_of(meter_subject: str) -> list[Link]:
    """Events on units, shipments and bundles that reach a meter, oldest first. Not cut to an actor."""
    found = Link.objects.filter(meter_key=subjects.key_of(meter_subject))
    return list(found.order_by("cause_recorded_at", "id"))


def _organisations(actor: Actor) -> list[str]:
    return sorted(policy.organisations_within(actor, ACTION))


def _intervals(organisations: Sequence[str]) -> QuerySet[Visibility]:
    return Visibility.objects.filter(subject_key=OuterRef("subject_key"), organisation__in=organisations)


def _with_last_seen(found: QuerySet[Meter], organisations: Sequence[str]) -> QuerySet[Meter]:
    latest = _intervals(organisations).order_by(F("to_seq").desc(nulls_first=True))
    return found.annotate(
        seen_to=Subquery(latest.values("to_seq")[:1]), last_seen=Subquery(latest.values("last_seen")[:1])
    )


def _shown(name: str, value: str) -> Q:
    """The present value where the actor is a party now, else the one it saw last."""
    return Q(seen_to=None, **{name: value}) | Q(seen_to__isnull=False, last_seen__contains=f'"{name}":"{value}"')


def _violations_of(actor: Actor, key: OuterRef | None = None) -> QuerySet[Violation]:
    found = Violation.objects.filter(settled_seq=None)
    if key is not None:
        found = found.filter(subject_key=key)
    if policy.reach(actor, ACTION) == Reach.ALL:
        return found
    seen = Visibility.objects.filter(
        Q(to_seq=None) | Q(to_seq__gte=OuterRef("seq")),
        subject_key=OuterRef("subject_key"),
        organisation__in=_organisations(actor),
        from_seq__lte=OuterRef("seq"),
    )
    return found.filter(Exists(seen))


def _cut(meters: list[Meter], actor: Actor) -> list[Meter]:
    """Say of each what happened last, and put former parties back to what they saw last."""
    for found in meters:
        found.last_type = meter_memory.last_type(found.head_memory)  # type: ignore[attr-defined]  # by `with_heads`
    if policy.reach(actor, ACTION) == Reach.ALL:
        return meters
    keys = [meter.subject_key for meter in meters]
    counted = _violations_of(actor).filter(subject_key__in=keys).values_list("subject_key")
    visible = dict(counted.annotate(number=Count("id")))
    for found in meters:
        found.violation_count = visible.get(found.subject_key, 0)
        if getattr(found, "seen_to", None) is not None:
            for name, value in orjson.loads(found.last_seen).items():  # type: ignore[attr-defined]
                setattr(found, name, datetime.fromisoformat(value) if name == "last_recorded_at" else value)
    return meters


def _seen_by(meter: Meter, actor: Actor) -> list[_Interval]:
    match policy.reach(actor, ACTION):
        case Reach.ALL:
            return [_Interval(0)]
        case Reach.OWN:
            found = Visibility.objects.filter(
                subject_key=meter.subject_key, organisation__in=_organisations(actor)
            ).values_list("from_seq", "to_seq")
            return [_Interval(*pair) for pair in found]
    return []


def _chain_link(step: Step, violations: list[Violation], place: tuple[str, int]) -> ChainLink:
    event = step.stated.event
    cause = step.statement.cause
    said = words.summary(step.type, step.data, sender=step.author)
    return ChainLink(
        seq=step.seq,
        hash=step.statement.hash.hex(),
        type=step.type,
        title=words.title(step.type, step.data),
        summary=said
        if cause is None
        else f"{said} Stated for {cause[0].rpartition(':')[2]}, of which the meter is part.",
        author=step.author,
        signers=step.fact.signers,
        actor=dict(event["actor"]),
        second_actor=event.get("second_actor"),
        data=step.data,
        evidence=list(event.get("evidence", ())),
        occurred_at=step.occurred_at,
        recorded_at=step.recorded_at,
        batch_id=place[0],
        index=place[1],
        linked=step.linked,
        cause=cause[0] if cause else None,
        cause_seq=cause[1] if cause else None,
        before=step.before.claimed,
        after=step.after.claimed,
        assured=step.after.assured,
        violations=violations,
        voided=step.voided,
    )
