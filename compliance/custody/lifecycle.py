"""A meter's life as a fold over its own chain: claimed and assured state, seven tracks, violations.

Pure functions. What is true of a type stands in the vocabulary, what is true of a market in its profile; no market is
known here. `judge` gives the next state and what was wrong, and never refuses: a true statement about bad conduct is
evidence.

- The *claimed* state follows every event whose sender has standing, also an illegal one, so that one early fault does
  not turn each later honest event into a violation.
- The *assured* state follows only events without any violation, and only where the transition is legal from where it
  is.
- Without standing, or in a terminal state, nothing moves. A hand-over that asks for two organisations moves no track
  until the receiving one has signed.
"""

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from compliance.custody import preconditions, vocabulary
from compliance.custody.profiles import Profile
from compliance.custody.vocabulary import CORRECTED, PARTIES, EventType, Vocabulary
from compliance.proof import identifiers

UNKNOWN_PARTY = "?"  # no organisation can have this id
DID_NOT_OCCUR = "did_not_occur"
_HAND_OVER_ENDS = "delivery.inspected"


@dataclass(frozen=True, slots=True)
class Signer:
    """Holder of a key that signed the batch; a station or service has no person."""

    organisation: str
    person: str | None


@dataclass(slots=True)  # not frozen: that makes each three times as dear, and there is one for every event
class Fact:
    """What the fold sees of an entry: the event itself, or the one that a `custody.linked` entry names as its cause."""

    type: str
    author: str
    data: Mapping[str, Any]
    hash: str  # leaf hash of the entry that states it; a correction names it
    signers: tuple[Signer, ...] = ()
    roles: frozenset[str] = frozenset()  # of the author, when it was recorded
    corrects: str | None = None
    maker: str | None = None  # at birth: the organisation whose serial range the identity lies in, if one registered it
    profile: str = ""  # at birth: id of the profile
    name: tuple[str, str] | None = None  # at birth: scheme and value of the identifier the chain is named by


@dataclass(frozen=True, slots=True)
class Violation:
    """Something that should not have happened, and did."""

    code: str
    detail: str


class State(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True):
    """Where a meter is, and what the fold must remember to judge the next event. As JSON, defaults are left out."""

    claimed: str = "none"
    assured: str = "none"
    holder: str | None = None
    owner: str | None = None
    controller: str | None = None
    key_state: str = "none"
    seal_state: str = "unsealed"
    data_state: str = "empty"
    trust: str = "untrusted"
    maker: str | None = None
    profile: str = ""
    claimed_before: str | None = None  # the quarantine
    assured_before: str | None = None
    claimed_origin: str | None = None  # from which it was packed
    assured_origin: str | None = None
    carrier: str | None = None  # of the open dispatch
    consignee: str | None = None
    recipient: str | None = None  # of the open key bundle
    session: str | None = None  # in the secured cell
    steps: tuple[str, ...] = ()
    tests_passed: bool = False
    opened_by: str | None = None  # of the quarantine
    sanitised: bool = False  # since it was removed
    rotated: bool = False  # since it was removed or its re-provisioning began
    names: tuple[tuple[str, str], ...] = ()  # identifiers of single-valued schemes, as (scheme, value)

    def parties(self) -> frozenset[str]:
        """Organisations that hold, own or control the meter."""
        return parties_among((self.holder, self.owner, self.controller))


def parties_among(parties: Iterable[str | None]) -> frozenset[str]:
    """Those of holder, owner and controller that are organisations."""
    return frozenset(party for party in parties if party is not None and party != UNKNOWN_PARTY)


@dataclass(frozen=True, slots=True)
class Judgement:
    """The state after an event, and what was wrong with it."""

    state: State
    violations: tuple[Violation, ...]
    standing: bool


@dataclass(frozen=True, slots=True)
class Folded:
    """The state after a chain; violations by position; positions that were declared not to have occurred."""

    state: State
    violations: Mapping[int, tuple[Violation, ...]] = field(default_factory=dict)
    voided: frozenset[int] = frozenset()


def judge(state: State, fact: Fact, *, words: Vocabulary, profile: Profile) -> Judgement:
    """Judge one event against the state before it. Corrections are judged by `fold`, which sees what they correct."""
    after = copy.copy(state)
    violations, standing = advance(after, fact, words=words, profile=profile)
    return Judgement(state=after, violations=tuple(violations), standing=standing)


def fold(facts: Sequence[Fact | None], *, words: Vocabulary, profiles: Mapping[str, Profile]) -> Folded:
    """The state of a meter after `facts`, its chain in order; None stands for an entry that moves nothing.

    An event that its author declared not to have occurred is skipped; its place in the chain stays.
    """
    voided, wrong = corrections(facts)
    state, violations = State(), dict(wrong)
    for position, fact in enumerate(facts):
        if fact is None or fact.type == CORRECTED or position in voided:
            continue
        found, _ = advance(state, fact, words=words, profile=profile_of(state, fact, profiles))
        if found:
            violations[position] = tuple(found)
    return Folded(state=state, violations=violations, voided=voided)


def corrections(facts: Sequence[Fact | None]) -> tuple[frozenset[int], dict[int, tuple[Violation, ...]]]:
    """Positions that a valid correction declares not to have occurred, and the corrections that are not valid."""
    voided: set[int] = set()
    corrected: set[int] = set()
    wrong: dict[int, tuple[Violation, ...]] = {}
    places: dict[str, int] = {}
    for position, fact in enumerate(facts):
        if fact is None:
            continue
        if fact.type != CORRECTED:
            places[fact.hash] = position
            continue
        place = places.get(fact.corrects or "")
        violation = _judge_correction(fact, None if place is None else facts[place], place in corrected)
        if violation is not None:
            wrong[position] = (violation,)
        elif place is not None:
            corrected.add(place)
            if fact.data.get("reason") == DID_NOT_OCCUR:
                voided.add(place)
    return frozenset(voided), wrong


def profile_of(state: State, fact: Fact, profiles: Mapping[str, Profile]) -> Profile:
    """The profile the meter was born under, else the first of `profiles`."""
    return profiles.get(state.profile or fact.profile) or next(iter(profiles.values()))


def advance(state: State, fact: Fact, *, words: Vocabulary, profile: Profile) -> tuple[list[Violation], bool]:
    """Move `state` by `fact`; return the violations and whether the sender had standing."""
    event_type = words.events.get(fact.type)
    if event_type is None:
        return [], True
    standing = has_standing(state, fact, event_type, words.offices)
    violations: list[Violation] = []
    if not standing:
        violations.append(_standing_missing(state, fact, event_type))
    accepted = _judge_signatures(fact, event_type, violations)
    target = _judge_transition(state, fact, event_type, words, violations)
    if fact.type in preconditions.ASKED or fact.type in profile.required_fields:
        violations += [Violation(*broken) for broken in preconditions.broken(state, fact, profile)]
    names = _names(fact)
    if names:
        _judge_names(state, names, violations)
    if standing and state.claimed not in words.terminal_states:
        _move(state, fact, event_type, target, words, clean=not violations)
        if accepted:
            _apply_effects(state, fact, event_type)
        _remember(state, fact, event_type)
        if names:
            state.names = tuple(dict.fromkeys((*state.names, *names)))
    return violations, standing


def has_standing(state: State, fact: Fact, event_type: EventType, offices: frozenset[str]) -> bool:
    """True if the author may move this meter at all.

    Holder, owner, controller; the carrier, consignee or key recipient of an open hand-over; the maker that gave birth
    and whose serial range it is; or an office that acts without custody.
    """
    author = fact.author
    if event_type.is_birth:
        return fact.maker in (None, author) and state.maker in (None, author)
    if author in (state.holder, state.owner, state.controller, state.maker):
        return True
    if author in (state.carrier, state.consignee, state.recipient):
        return True
    return bool(fact.roles & offices & event_type.emitted_by)


def enough_signers(rule: str | None, signers: Iterable[Signer]) -> bool:
    """True if `signers` satisfy the rule of a type that asks for two."""
    if rule == "two_people":
        return len({(signer.organisation, signer.person) for signer in signers if signer.person is not None}) > 1
    if rule == "two_organisations":
        return len({signer.organisation for signer in signers}) > 1
    return True


def _standing_missing(state: State, fact: Fact, event_type: EventType) -> Violation:
    if event_type.is_birth:
        other = fact.maker if fact.maker not in (None, fact.author) else state.maker
        return Violation("standing.missing", f"the serial range belongs to {other}, not to {fact.author}")
    return Violation("standing.missing", f"{fact.author} is not a party to this meter")


def _judge_signatures(fact: Fact, event_type: EventType, violations: list[Violation]) -> bool:
    """Add what is missing; False if a hand-over was not accepted by the receiving organisation."""
    rule = event_type.signature_rule
    if rule is None or not event_type.asks_second_signature(fact.data):
        return True
    if not enough_signers(rule, fact.signers):
        says = "two different people" if rule == "two_people" else "two organisations"
        violations.append(Violation("violation.second_signature", f"{fact.type} needs the keys of {says}"))
        return rule != "two_organisations"
    if rule == "two_organisations":
        organisations = {signer.organisation for signer in fact.signers}
        for value in _effects(fact, event_type).values():
            party = fact.data.get(value[5:]) if value.startswith("data.") else None
            if party is not None and party not in organisations:
                violations.append(Violation("precondition.accepted", f"{party} did not sign that it accepts"))
                return False
    return True


def _names(fact: Fact) -> tuple[tuple[str, str], ...]:
    """The single-valued identifiers that the event says the meter has."""
    listed = fact.data.get("identifiers")
    if not listed and fact.name is None:
        return ()
    names = [fact.name] if fact.name is not None else []
    names += [(item["scheme"], item["value"]) for item in listed or ()]
    return tuple(name for name in names if identifiers.is_single_valued(name[0]))


def _judge_names(state: State, names: tuple[tuple[str, str], ...], violations: list[Violation]) -> None:
    """One meter has one value of a single-valued scheme."""
    known = dict(state.names)
    for scheme, value in names:
        if known.setdefault(scheme, value) != value:
            violations.append(
                Violation("identifier.second_value", f"a second {scheme}: {value} beside {known[scheme]}")
            )


def _judge_transition(
    state: State, fact: Fact, event_type: EventType, words: Vocabulary, violations: list[Violation]
) -> str | None:
    """The state that the event leads to (None: it moves nothing), after adding what forbids it."""
    if event_type.to_state is None:
        return None
    target = _target(fact, event_type)
    if state.claimed in words.terminal_states:
        violations.append(Violation("transition.terminal", f"{fact.type} after the meter was {state.claimed}"))
    elif state.claimed not in event_type.from_states:
        violations.append(Violation("transition.illegal", f"{fact.type} is not possible from {state.claimed}"))
    elif fact.type == _HAND_OVER_ENDS and not _origin_allows(state.claimed_origin, target, words):
        detail = f"packed from {state.claimed_origin}, so it cannot become {target} at goods-in"
        violations.append(Violation("transition.origin", detail))
    return target


def _target(fact: Fact, event_type: EventType) -> str | None:
    if event_type.outcome_field is None:
        return event_type.to_state
    return event_type.leads_to.get(str(fact.data.get(event_type.outcome_field)))


def _origin_allows(origin: str | None, target: str | None, words: Vocabulary) -> bool:
    return origin is None or target in words.origin_rule.get(origin, ())


def _move(
    state: State, fact: Fact, event_type: EventType, target: str | None, words: Vocabulary, *, clean: bool
) -> None:
    """Move the claimed state, and the assured one if nothing is wrong and it may go there too."""
    if target is None or target == "=":
        return
    assured_may = clean and state.assured in event_type.from_states
    if assured_may and fact.type == _HAND_OVER_ENDS:
        assured_may = _origin_allows(state.assured_origin, target, words)
    if target == "packed":
        if state.claimed in event_type.from_states:
            state.claimed_origin = state.claimed
        if assured_may:
            state.assured_origin = state.assured
    if target == "quarantined":
        if state.claimed != target:
            state.claimed_before = state.claimed
        if assured_may:
            state.assured_before = state.assured
    claimed_before, assured_before = state.claimed_before, state.assured_before
    if state.claimed == "quarantined" and target != "quarantined":
        state.claimed_before = None
    if assured_may and state.assured == "quarantined":
        state.assured_before = None
    state.claimed = (claimed_before or state.claimed) if target == "previous" else target
    if assured_may:
        state.assured = (assured_before or state.assured) if target == "previous" else target


def _effects(fact: Fact, event_type: EventType) -> Mapping[str, str]:
    if event_type.effects_field is None:
        return event_type.effects
    chosen = event_type.effects_by_word.get(str(fact.data.get(event_type.effects_field)))
    return {**event_type.effects, **chosen} if chosen else event_type.effects


def _apply_effects(state: State, fact: Fact, event_type: EventType) -> None:
    for track, value in _effects(fact, event_type).items():
        if value == "=":
            continue
        if track in PARTIES:
            setattr(state, track, _party(value, fact))
        elif track == "key_state" and value == "destroyed" and state.key_state == "none":
            continue  # nothing can be destroyed that never was
        else:
            setattr(state, track, value)


def _party(value: str, fact: Fact) -> str | None:
    if value == "sender":
        return fact.author
    if value == "none":
        return None
    if value == "unknown":
        return UNKNOWN_PARTY
    party = fact.data.get(value[5:])
    return party if isinstance(party, str) else UNKNOWN_PARTY


def _remember(state: State, fact: Fact, event_type: EventType) -> None:
    """Keep what later events are judged by: the open hand-over, the visit to the cell, what happened since removal."""
    data = fact.data
    if event_type.is_birth:
        state.maker = fact.author
        state.profile = state.profile or fact.profile
    match fact.type:
        case "delivery.dispatched":
            state.carrier, state.consignee = _text(data, "carrier"), _text(data, "consignee")
        case "delivery.received":
            if fact.author == state.consignee:
                state.carrier = None
        case "delivery.inspected":
            state.carrier = state.consignee = None
        case "keys.bundle_released":
            state.recipient = _text(data, "recipient")
        case "keys.bundle_acknowledged":
            state.recipient = None
        case "cell.entered":
            state.session, state.steps, state.tests_passed = _text(data, "session_id"), (fact.type,), False
        case "cell.exited" | "mfg.rejected":
            state.session, state.steps, state.tests_passed = None, (), False
        case "exception.quarantined":
            state.opened_by = _text(data, "opened_by")
        case "exception.released":
            state.opened_by = None
        case "eol.removed":
            state.sanitised = state.rotated = False
        case "reprov.started":
            state.rotated = False
        case "eol.sanitised":
            state.sanitised, state.rotated = True, False
        case "keys.rotated":
            state.rotated = True
        case step if step in _CELL_STEPS:
            if _text(data, "session_id") == state.session:
                state.steps = (*state.steps, step)
            if step == "cell.tested":
                state.tests_passed = preconditions.tests_passed(data)


_CELL_STEPS = frozenset(vocabulary.load().cell_steps)


def _text(data: Mapping[str, Any], name: str) -> str | None:
    value = data.get(name)
    return value if isinstance(value, str) else None


def _judge_correction(fact: Fact, original: Fact | None, corrected: bool) -> Violation | None:
    if original is None:
        return Violation("correction.invalid", "it names no event of this chain that can be corrected")
    if fact.data.get("corrects") != fact.corrects:
        return Violation("correction.invalid", "data.corrects and corrects name different entries")
    if original.author != fact.author:
        return Violation("standing.missing", f"only {original.author}, who sent the original, may correct it")
    if corrected:
        return Violation("correction.invalid", "the original is already corrected")
    return None
