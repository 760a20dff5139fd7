"""Chains that are not meters: types, lots, sessions, shipments, units, bundles, firmware; and the roles of
organisations.

They have no state of their own. Their events are judged for standing and second signature, remembered for what later
events of other chains need (who registered which letters, what lies in a unit, to whom a bundle went), and expanded
to meters.
"""

from collections.abc import Callable, Sequence
from typing import Any

from compliance.custody import facts, links, profiles, rows, shapes, vocabulary
from compliance.custody.facts import Statement, Witnesses
from compliance.custody.lifecycle import DID_NOT_OCCUR, Fact, Violation, corrections, enough_signers
from compliance.custody.models import (
    Cause,
    Identifier,
    KeyBundle,
    OrganisationRoles,
    Packing,
    Shipment,
    TypeRegistration,
)
from compliance.custody.models import Violation as StoredViolation
from compliance.custody.vocabulary import CORRECTED, EventType
from compliance.proof import identifiers
from compliance.proof import subject as subjects

_NAMED_BY_ORGANISATION = frozenset(
    {"meter_type", "firmware", "component_lot", "cell_session", "key_bundle", "shipment"}
)
# Whoever holds the meters inside judges these: their standing is looked at on each meter's own chain.
_JUDGED_AT_METERS = frozenset({"exception.quarantined", "exception.released", "exception.lost_or_stolen"})
_FLAG_LENGTH = 16


def apply(told: Sequence[Statement]) -> int:
    """Project entries of one batch on chains that are not meters, in order. Returns how many links they make."""
    reached = 0
    words = vocabulary.load()
    witnesses: Witnesses | None = None
    for statement in told:
        if statement.type == "org.registered":
            _remember_roles(statement)
        if statement.type == "evidence.received" and Cause.objects.filter(waiting=True).exists():
            links.ring()
        event_type = words.events.get(statement.type)
        if event_type is None:
            continue
        _join(statement)
        witnesses = witnesses or Witnesses.of(told)
        reached += _project(statement, event_type, witnesses.fact(statement))
    return reached


def _project(statement: Statement, event_type: EventType, fact: Fact) -> int:
    if statement.type == CORRECTED:
        return _correct(statement)
    found = _judge(statement, event_type, fact)
    if found:
        key = statement.key
        rows.write_violations(rows.violations(statement, found, key=key, stated=statement))
    standing = all(violation.code != "standing.missing" for violation in found)
    if standing:
        remember(statement)
    return links.expand(statement) if event_type.expands else 0


def _judge(statement: Statement, event_type: EventType, fact: Fact) -> list[Violation]:
    found = []
    if not _has_standing(statement, event_type, fact):
        found.append(Violation("standing.missing", f"{statement.author} is not a party to {statement.subject}"))
    if event_type.asks_second_signature(fact.data) and not enough_signers(event_type.signature_rule, fact.signers):
        says = "two different people" if event_type.signature_rule == "two_people" else "two organisations"
        found.append(Violation("violation.second_signature", f"{statement.type} needs the keys of {says}"))
    question = _QUESTIONS.get(statement.type)
    detail = question(statement) if question is not None else None
    if question is not None and detail is not None:
        found.append(Violation(*detail))
    further = profiles.default().required_fields.get(statement.type, ())
    found += [
        Violation("profile.required_field", f"the profile {profiles.default().id} asks for data{pointer}")
        for pointer in shapes.missing(fact.data, further)
    ]
    return found


def _has_standing(statement: Statement, event_type: EventType, fact: Fact) -> bool:
    if event_type.code in _JUDGED_AT_METERS or fact.roles & vocabulary.load().offices & event_type.emitted_by:
        return True
    about = subjects.parse(statement.subject)
    if about.kind == "logistic_unit":
        first = Packing.objects.filter(unit_key=about.key).order_by("seq").first()
        return first is None or first.packer == statement.author
    if about.kind not in _NAMED_BY_ORGANISATION or identifiers.is_known(about.scheme):
        return True
    return about.scheme == statement.author or statement.author in _parties(about)


def _parties(about: subjects.Subject) -> set[str]:
    """Organisations that a shipment or bundle names."""
    if about.kind == "shipment":
        shipment = Shipment.objects.filter(subject_key=about.key).first()
        return {shipment.consignor, shipment.consignee, shipment.carrier} if shipment is not None else set()
    if about.kind == "key_bundle":
        bundle = KeyBundle.objects.filter(subject_key=about.key).first()
        return {bundle.manufacturer, bundle.recipient} if bundle is not None else set()
    return set()


def _children_known(statement: Statement) -> tuple[str, str] | None:
    named = [child for child in statement.data["children"] if child.startswith("meter:")]
    known = rows.chains_by_name(named)
    unknown = [name for name in named if name not in known]
    if unknown:
        return "precondition.child_known", f"{len(unknown)} of the meters packed are not known here, {unknown[0]} first"
    return None


def _recipient_acknowledges(statement: Statement) -> tuple[str, str] | None:
    bundle = KeyBundle.objects.filter(subject_key=statement.key).first()
    if bundle is None:
        return "precondition.released", "no release of this bundle is on record"
    if bundle.recipient != statement.author:
        return "precondition.recipient", f"the bundle was released to {bundle.recipient}"
    if bundle.ciphertext_sha256 != statement.data["ciphertext_sha256"]:
        return "precondition.ciphertext", "the digest acknowledged is not that of the bundle released"
    return None


def _bundle_released(statement: Statement) -> tuple[str, str] | None:
    if KeyBundle.objects.filter(subject_key=statement.key).exists():
        return None
    return "precondition.released", "no release of this bundle is on record"


def _balances(statement: Statement) -> tuple[str, str] | None:
    data = statement.data
    sides = (
        ("units", data["entered"], data["exited"] + data["reworked"] + data["scrapped"] + data["still_inside"]),
        ("keys", data["keys_generated"], data["keys_bound"] + data["keys_destroyed"]),
        ("seals", data["seals_issued"], data["seals_applied"] + data["seals_voided"] + data["seals_returned"]),
        ("meters left inside", data["still_inside"], 0),
    )
    for what, left, right in sides:
        if left != right:
            return "precondition.balances", f"the balance of {what} does not close: {left} against {right}"
    return None


_QUESTIONS: dict[str, Callable[[Statement], tuple[str, str] | None]] = {
    "delivery.packed": _children_known,
    "keys.bundle_acknowledged": _recipient_acknowledges,
    "keys.bundle_revoked": _bundle_released,
    "cell.session_reconciled": _balances,
}


def _join(statement: Statement) -> None:
    """Names of the chain: its own at its first entry, later those that an event gives it."""
    names: list[dict[str, str]] = list(statement.data.get("identifiers", ()))
    key = statement.key
    if statement.seq == 0:
        names.insert(0, rows.own_name(statement.subject))
    if names:
        known = set(Identifier.objects.filter(subject_key=key).values_list("alias", flat=True))
        fresh = {rows.alias_of(statement.subject, name): name for name in names}
        rows.write_identifiers(
            [
                rows.identifier(statement.subject, key, name, statement, alias=alias)
                for alias, name in fresh.items()
                if alias not in known
            ]
        )


def _remember_roles(statement: Statement) -> None:
    OrganisationRoles.objects.update_or_create(
        organisation=statement.subject.rpartition(":")[2],
        seq=statement.seq,
        defaults={"roles": statement.data["roles"], "recorded_at": statement.recorded_at},
    )


def remember(statement: Statement) -> None:
    """Keep what later events need to know of this one."""
    handler = _HANDLERS.get(statement.type)
    if handler is not None:
        handler(statement)


def _type_registered(statement: Statement) -> None:
    data = statement.data
    TypeRegistration.objects.update_or_create(
        subject_key=statement.key,
        seq=statement.seq,
        defaults={
            "subject": statement.subject,
            "organisation": statement.author,
            "type_code": data["type_code"],
            "flag": data["manufacturer_flag"][:_FLAG_LENGTH],
            "profiles": data["market_profiles"],
            "recorded_at": statement.recorded_at,
        },
    )


def _packed(statement: Statement) -> None:
    data = statement.data
    chains = rows.chains_by_name(child for child in data["children"] if child.startswith("meter:"))
    Packing.objects.update_or_create(
        unit_key=statement.key,
        seq=statement.seq,
        defaults={
            "unit": statement.subject,
            "packer": statement.author,
            "parent": data["parent_unit"] or "",
            "children": [chains.get(child, child) for child in data["children"]],
            "recorded_at": statement.recorded_at,
        },
    )


def _dispatched(statement: Statement) -> None:
    data = statement.data
    _shipment(
        statement,
        state="dispatched",
        dispatched_seq=statement.seq,
        dispatched_at=statement.recorded_at,
        received_seq=None,
        received_at=None,
        inspected_seq=None,
        inspected_at=None,
        **{name: data[name] for name in ("purpose", "units", "consignor", "consignee", "carrier", "meter_count")},
        expected_arrival=data["expected_arrival"],
    )


def _received(statement: Statement) -> None:
    data = statement.data
    _shipment(
        statement,
        state="received",
        received_units=data["received_units"],
        received_seq=statement.seq,
        received_at=statement.recorded_at,
    )


def _inspected(statement: Statement) -> None:
    data = statement.data
    _shipment(
        statement,
        state="inspected",
        inspected_seq=statement.seq,
        inspected_at=statement.recorded_at,
        **{name: data[name] for name in ("found_count", "missing", "unexpected", "outcome")},
    )


def _shipment(statement: Statement, **values: Any) -> None:
    if statement.subject.startswith("shipment:"):
        Shipment.objects.update_or_create(subject_key=statement.key, defaults={"subject": statement.subject, **values})


def _released(statement: Statement) -> None:
    data = statement.data
    KeyBundle.objects.update_or_create(
        subject_key=statement.key,
        defaults={
            "subject": statement.subject,
            "manufacturer": statement.author,
            "recipient": data["recipient"],
            "shipment": data["shipment_id"],
            "ciphertext_sha256": data["ciphertext_sha256"],
            "members_sha256": data["members_sha256"],
            "meter_count": data["meter_count"],
            "members": data.get("meters"),
            "state": "released",
            "released_seq": statement.seq,
            "released_at": statement.recorded_at,
        },
    )


def _acknowledged(statement: Statement) -> None:
    KeyBundle.objects.filter(subject_key=statement.key, recipient=statement.author).update(
        state="acknowledged", acknowledged_seq=statement.seq, acknowledged_at=statement.recorded_at
    )


def _revoked(statement: Statement) -> None:
    KeyBundle.objects.filter(subject_key=statement.key).update(
        state="revoked", revoked_seq=statement.seq, revoked_at=statement.recorded_at
    )


_HANDLERS: dict[str, Callable[[Statement], None]] = {
    "design.type_registered": _type_registered,
    "delivery.packed": _packed,
    "delivery.dispatched": _dispatched,
    "delivery.received": _received,
    "delivery.inspected": _inspected,
    "keys.bundle_released": _released,
    "keys.bundle_acknowledged": _acknowledged,
    "keys.bundle_revoked": _revoked,
}


def _correct(statement: Statement) -> int:
    """Judge a correction; if it voids an event, remember the chain anew without it, and tell the meters it reached."""
    key = statement.key
    told = facts.chain(statement.subject, to_seq=statement.seq)
    witnesses = Witnesses.of(told)
    seen = [witnesses.fact(entry) if entry.type in vocabulary.load().events else None for entry in told]
    voided, wrong = corrections(seen)
    if (found := wrong.get(len(told) - 1)) is not None:
        rows.write_violations(rows.violations(statement, found, key=key, stated=statement))
        return 0
    if statement.data.get("reason") != DID_NOT_OCCUR:
        return 0
    refused = set(
        StoredViolation.objects.filter(subject_key=key, code="standing.missing").values_list("seq", flat=True)
    )
    for model in (TypeRegistration, Shipment, KeyBundle):
        model.objects.filter(subject_key=key).delete()
    Packing.objects.filter(unit_key=key).delete()
    for place, entry in enumerate(told):
        if place not in voided and entry.seq not in refused and entry.type != CORRECTED:
            remember(entry)
    return links.expand(statement)
