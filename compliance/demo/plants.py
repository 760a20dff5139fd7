"""The planted anomalies: for each detector up to three ways in which its rule is broken, each on chains of its own.

A plant is an edit of the honest timeline: it says what really would be said if somebody had done that.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from compliance.demo import factory, field, people
from compliance.demo.garden import Garden, in_stock, of_fate, operates
from compliance.demo.people import FACTORY, FIRST_UTILITY, RECYCLER, TRIAGE
from compliance.demo.statements import Statement
from compliance.demo.world import CellSession, Meter

Plant = Callable[[Garden], bool]  # False where this run has nothing it could grow on

EXTRA_KEYS = 4  # the key counter of the ghost shift moved by so many sets more than units left
UNKNOWN_IMAGE = "image of nobody"


def plant_all(garden: Garden) -> None:
    """Plant as many of each detector as the size of the run allows, at least one."""
    sizes = garden.world.parameters.plants
    wanted = max(1, min(sizes.most_per_detector, garden.truth.meters // sizes.meters_per_plant))
    for detector, ways in PLANTS.items():
        grown = 0
        for way in ways:
            grown += grown < wanted and way(garden)
        if not grown:
            raise RuntimeError(f"nothing to plant {detector} on; the run is too small")


def _second_birth(garden: Garden) -> bool:
    meter = garden.meter(operates)
    if meter is None:
        return False
    born = garden.one(meter, "mfg.assembled")
    at = garden.last(meter).at + timedelta(days=9)
    garden.say(born, at=at, data={**born.data, "production_order": f"PO-{garden.world.seed}-99"})
    return garden.plant("AN-01", "a clone: the same system title is born a second time", meter.subject)


def _other_chip(garden: Garden) -> bool:
    meter, other = garden.meter(operates), garden.meter(operates)
    if meter is None or other is None:
        return False
    garden.one(meter, "cell.entered").data["electronic_identity"] = other.title
    return garden.plant("AN-01", "the chip inside tells another identity than the label", meter.subject)


def _two_names(garden: Garden) -> bool:
    meter = garden.meter(operates)
    if meter is None:
        return False
    born = garden.one(meter, "mfg.assembled")
    first = born.data["identifiers"][0]
    second = {"scheme": first["scheme"], "value": f"{first['value'][:3]}9{first['value'][4:]}"}
    born.data["identifiers"] = [*born.data["identifiers"], second]
    return garden.plant("AN-01", "one meter claims two logical device names", meter.subject)


def _cloned_key(garden: Garden) -> bool:
    meter, other = garden.meter(operates), garden.meter(operates)
    if meter is None or other is None:
        return False
    tag = _key(garden.one(other, "cell.keys_provisioned"), "GUEK")["registry_tag"]
    _key(garden.one(meter, "cell.keys_provisioned"), "GUEK")["registry_tag"] = tag
    chains = (meter.subject, other.subject)
    return garden.plant("AN-02", "two meters left the cell with the same unicast key", meter.subject, chains)


def _key_used_twice_in_the_field(garden: Garden) -> bool:
    meter, other = garden.meter(operates), garden.meter(operates)
    if meter is None or other is None:
        return False
    tag = _key(garden.one(other, "keys.rotated"), "GAK")["registry_tag"]
    _key(garden.one(meter, "keys.rotated"), "GAK")["registry_tag"] = tag
    chains = (meter.subject, other.subject)
    return garden.plant("AN-02", "an operator rotates two meters to one authentication key", meter.subject, chains)


def _destroyed_key_returns(garden: Garden) -> bool:
    meter = garden.meter(lambda one: one.passes > 1 and one.exited_at is not None and not one.fate)
    passes = garden.said(meter.subject, "cell.keys_provisioned") if meter else []
    if meter is None or len(passes) < 2:
        return False
    for role in ("GUEK", "GAK"):
        _key(passes[-1], role)["registry_tag"] = _key(passes[0], role)["registry_tag"]
    return garden.plant("AN-02", "after rework the unit carries keys that were reported destroyed", meter.subject)


def _test_skipped(garden: Garden) -> bool:
    meter = garden.meter(operates)
    if meter is None:
        return False
    for tested in garden.said(meter.subject, "cell.tested"):
        garden.drop(tested)
    return garden.plant("AN-04", "a unit leaves the cell untested", meter.subject)


def _sealed_before_tested(garden: Garden) -> bool:
    meter = garden.meter(lambda one: operates(one) and len(garden.said(one.subject, "cell.tested")) == 1)
    if meter is None:
        return False
    tested, sealed = garden.one(meter, "cell.tested"), garden.one(meter, "cell.sealed")
    tested.at, sealed.at = sealed.at, tested.at
    return garden.plant("AN-04", "sealed first, tested afterwards", meter.subject)


def _step_of_another_session(garden: Garden) -> bool:
    meter = garden.meter(lambda one: operates(one) and one.session is not garden.world.sessions[0])
    if meter is None:
        return False
    garden.one(meter, "cell.personalised").data["session_id"] = garden.world.sessions[0].subject
    return garden.plant("AN-04", "personalised in another session than the rest", meter.subject)


def _ghost_shift(garden: Garden) -> bool:
    session = garden.session(_is_first_production)
    if session is None:
        return False
    roles = len(garden.world.parameters.product.key_roles)
    garden.said(session.subject, "cell.session_reconciled")[-1].data["keys_generated"] += EXTRA_KEYS * roles
    return garden.plant("AN-05", "the key counter moved further than units left the cell", session.subject)


def _one_too_many(garden: Garden) -> bool:
    session = garden.session(_is_first_production)
    if session is None:
        return False
    garden.said(session.subject, "cell.session_reconciled")[-1].data["entered"] += 1
    return garden.plant("AN-05", "one unit entered and never came out", session.subject)


def _never_reconciled(garden: Garden) -> bool:
    session = garden.session(_is_first_production)
    if session is None:
        return False
    closing = garden.said(session.subject, "cell.session_reconciled")[-1]
    garden.drop(closing)
    for sheet in closing.papers:
        garden.world.papers.remove(sheet)
    return garden.plant("AN-05", "a session that nobody reconciled", session.subject)


def _released_alone(garden: Garden) -> bool:
    return _odd_release(garden, "4.1.8", ("build",), "firmware released by one person")


def _released_by_one_person_with_two_keys(garden: Garden) -> bool:
    return _odd_release(garden, "4.1.9", ("build", "build-renewed"), "both keys on a release belong to one person")


def _odd_release(garden: Garden, version: str, signers: Sequence[str], story: str) -> bool:
    kind = garden.world.parameters.product.types[0]
    at = garden.world.hours.office_hour(garden.world.hours.start + timedelta(days=40 + int(version[-1])))
    desk = people.desk(FACTORY, "design", *signers)
    garden.note(factory.release(garden.world, kind, version, at, desk=desk))
    return garden.plant("AN-06", story, garden.world.firmware(kind, version))


def _wiped_alone(garden: Garden) -> bool:
    meter = garden.meter(of_fate("disposed"))
    if meter is None:
        return False
    wiped = garden.one(meter, "eol.sanitised")
    wiped.desk, wiped.second_actor = TRIAGE, None
    return garden.plant("AN-06", "sanitised by one person", meter.subject)


def _foreign_image_loaded(garden: Garden) -> bool:
    meter = garden.meter(lambda one: operates(one) and garden.is_unopened(one))
    if meter is None:
        return False
    digest = garden.world.digest(UNKNOWN_IMAGE, meter.title)
    garden.one(meter, "cell.firmware_loaded").data["image_sha256_readback"] = digest
    return garden.plant("AN-07", "the image read back is not the released one", meter.subject)


def _foreign_image_activated(garden: Garden) -> bool:
    meter = garden.meter(lambda one: operates(one) and bool(garden.said(one.subject, "ops.firmware_updated")))
    if meter is None:
        return False
    updated = garden.one(meter, "ops.firmware_updated")
    updated.data["activated_sha256"] = garden.world.digest(UNKNOWN_IMAGE, meter.title)
    return garden.plant("AN-07", "an update activated an image that nobody released", meter.subject)


def _foreign_image_attested(garden: Garden) -> bool:
    meter = garden.meter(operates)
    if meter is None:
        return False
    field.attest(garden.world, meter, garden.last(meter).at + timedelta(days=11))
    attested = garden.world.timeline.statements[-1]
    attested.data["firmware_sha256"] = garden.world.digest(UNKNOWN_IMAGE, meter.title)
    garden.note(attested)
    return garden.plant("AN-07", "a meter in the field runs an unknown image", meter.subject)


def _uncertified_load(garden: Garden) -> bool:
    kind, version = garden.world.parameters.product.types[0], "4.1.3"
    meter = garden.meter(lambda one: operates(one) and one.kind is kind and garden.is_unopened(one))
    if meter is None:
        return False
    at = garden.world.hours.office_hour(garden.world.hours.start - timedelta(days=12))
    released = factory.release(garden.world, kind, version, at)
    garden.note(released)
    loaded = garden.one(meter, "cell.firmware_loaded")
    image = garden.world.image(kind, version)
    loaded.data.update(firmware_id=released.subject, version=version, image_sha256_readback=image)
    loaded.refers_to = (*loaded.refers_to, released.subject)
    for updated in garden.said(meter.subject, "ops.firmware_updated"):
        updated.data["from_version"] = version
    return garden.plant("AN-08", "loaded a released image that no certificate covers", meter.subject)


def _uncertified_update(garden: Garden) -> bool:
    kind, version = garden.world.parameters.product.types[0], "4.2.1"
    meter = garden.meter(
        lambda one: operates(one) and one.kind is kind and bool(garden.said(one.subject, "ops.firmware_updated"))
    )
    if meter is None:
        return False
    updated = garden.one(meter, "ops.firmware_updated")
    released = factory.release(garden.world, kind, version, updated.at - timedelta(days=5))
    garden.note(released)
    image = garden.world.image(kind, version)
    updated.data.update(firmware_id=released.subject, to_version=version, activated_sha256=image)
    updated.refers_to = (*updated.refers_to, released.subject)
    return garden.plant("AN-08", "updated to a released image that no certificate covers", meter.subject)


def _commissioned_while_suspended(garden: Garden) -> bool:
    kind = garden.world.parameters.product.types[-1]
    meter = garden.meter(lambda one: operates(one) and one.kind is kind and _alone(garden, one))
    if meter is None:
        return False
    commissioned = garden.one(meter, "install.commissioned")
    for minutes, status in ((-20, "suspended"), (20, "granted")):
        at = commissioned.at + timedelta(minutes=minutes)
        garden.note(factory.certify(garden.world, kind, [kind.firmware], at, status=status))
    commissioned.refers_to = (garden.world.meter_type(kind),)
    return garden.plant("AN-08", "commissioned while the certificate of its type was suspended", meter.subject)


def _alone(garden: Garden, meter: Meter) -> bool:
    """True if nothing else that needs the type's certificate happens within an hour of the commissioning."""
    at = garden.one(meter, "install.commissioned").at
    needs = ("cell.firmware_loaded", "install.commissioned", "ops.firmware_updated")
    same = [other for other in garden.world.meters if other.kind is meter.kind]
    near = [
        one for other in same for one in garden.said(other.subject, *needs) if abs(one.at - at) < timedelta(hours=1)
    ]
    return len(near) == 1


def _other_seal_at_installation(garden: Garden) -> bool:
    meter = garden.meter(operates)
    if meter is None:
        return False
    seen = garden.one(meter, "install.installed").data["seals_seen"]
    seen[0] = {**seen[0], "number": f"{seen[0]['number']}7"}
    return garden.plant("AN-10", "the seal found at installation is not the one applied", meter.subject)


def _seal_used_twice(garden: Garden) -> bool:
    meter = garden.meter(lambda one: operates(one) and garden.is_unopened(one))
    other = garden.meter(operates)
    if meter is None or other is None:
        return False
    number = garden.one(other, "cell.sealed").data["seals"][1]["number"]
    garden.one(meter, "cell.sealed").data["seals"][1]["number"] = number
    seen = garden.one(meter, "install.installed").data["seals_seen"]
    seen[1] = {**seen[1], "number": number}
    chains = (meter.subject, other.subject)
    return garden.plant("AN-10", "one seal number on two meters", meter.subject, chains)


def _other_seal_at_removal(garden: Garden) -> bool:
    meter = garden.meter(of_fate("disposed"))
    if meter is None:
        return False
    seen = garden.one(meter, "eol.removed").data["seals_seen"]
    seen[1] = {**seen[1], "number": f"{seen[1]['number']}3"}
    return garden.plant("AN-10", "the housing seal was exchanged while the meter was on the wall", meter.subject)


def _taken_without_hand_over(garden: Garden) -> bool:
    meter = garden.meter(operates)
    if meter is None:
        return False
    van = people.van(people.VANS[0])
    at = garden.last(meter).at + timedelta(days=12)
    data = {
        "reason_code": "faulty",
        "final_registers": {"import_kwh": "1500.4"},
        "seals_seen": [{"point": point, "number": seal, "result": "intact"} for point, seal in meter.seals.items()],
        "removed_by": "inst-1",
        "next_holder": RECYCLER,
        "return_due": "2026-06-30T00:00:00Z",
    }
    garden.note(garden.world.say(at, van, "eol.removed", meter.subject, data))
    return garden.plant("AN-14", "removed by a fitter to whom nobody had handed the meter", meter.subject)


def _hung_up_without_hand_over(garden: Garden) -> bool:
    meter = garden.meter(of_fate("reused"))
    if meter is None:
        return False
    transfers = [
        one
        for one in garden.said(meter.subject, "ownership.transferred")
        if one.data["kind"] == "possession" and one.data["from_party"] == RECYCLER
    ]
    garden.drop(transfers[-1])
    return garden.plant("AN-14", "hung up again by a fitter while the recycler still held the meter", meter.subject)


def _given_by_a_stranger(garden: Garden) -> bool:
    meter = garden.meter(lambda one: operates(one) and one.customer == FIRST_UTILITY)
    if meter is None:
        return False
    at = garden.last(meter).at + timedelta(days=15)
    desk = people.hand_over(meter.customer, people.INSTALLER)
    data = {
        "kind": "possession",
        "from_party": RECYCLER,
        "to_party": people.INSTALLER,
        "effective_at": "2026-06-01T00:00:00Z",
        "contract_ref": f"C-{garden.world.seed}-stray",
        "conditions": None,
    }
    garden.note(garden.world.say(at, desk, "ownership.transferred", meter.subject, data))
    return garden.plant("AN-14", "handed over by a party that does not hold it", meter.subject)


def _short_delivery(garden: Garden) -> bool:
    meter = garden.meter(
        lambda one: in_stock(one) and one.shipment is not None and one.shipment.subject not in _used(garden)
    )
    if meter is None or meter.shipment is None or not garden.take(meter.shipment.subject):
        return False
    inspected = garden.said(meter.shipment.subject, "delivery.inspected")[-1]
    inspected.data.update(missing=[meter.subject], found_count=inspected.data["found_count"] - 1)
    inspected.members = tuple(one for one in inspected.members if one != meter.subject)
    return garden.plant("AN-15", "one meter of the note was not on the pallet", meter.shipment.subject, [meter.subject])


def _stowaway(garden: Garden) -> bool:
    inspected = _free_inspection(garden)
    if inspected is None:
        return False
    flag = garden.world.parameters.product.manufacturer_flag.encode().hex().upper()
    stranger = f"meter:dlms_system_title:{flag}0F{garden.world.seed % 40_000:08X}"
    inspected.data.update(unexpected=[stranger], found_count=inspected.data["found_count"] + 1)
    return garden.plant("AN-15", "a meter on the pallet that no note names", inspected.subject)


def _miscount(garden: Garden) -> bool:
    inspected = _free_inspection(garden)
    if inspected is None:
        return False
    inspected.data["found_count"] -= 1
    return garden.plant("AN-15", "fewer found than on the note, and nobody says which", inspected.subject)


def _free_inspection(garden: Garden) -> Statement | None:
    for shipment in garden.world.shipments:
        if garden.take(shipment.subject):
            return garden.said(shipment.subject, "delivery.inspected")[-1]
    return None


def _used(garden: Garden) -> set[str]:
    return {plant.subject for plant in garden.truth.plants}


def _dead_meter_speaks(garden: Garden) -> bool:
    meter = garden.meter(of_fate("disposed"))
    if meter is None:
        return False
    field.attest(garden.world, meter, garden.last(meter).at + timedelta(days=20))
    garden.note(garden.world.timeline.statements[-1])
    return garden.plant("AN-23", "a disposed meter answers an attestation", meter.subject)


def _decommissioned_meter_commissioned(garden: Garden) -> bool:
    meter = garden.meter(operates)
    if meter is None:
        return False
    at = garden.last(meter).at + timedelta(days=10)
    data = {
        "registers_updated": ["head-end", "asset-register"],
        "certificates_revoked": [meter.certificate],
        "keys_retired": True,
        "reason_code": "end_of_life",
    }
    desk = people.meter_desk(meter.customer)
    garden.note(garden.world.say(at, desk, "eol.decommissioned", meter.subject, data))
    field.commission(garden.world, meter, at + timedelta(days=30))
    garden.note(garden.world.timeline.statements[-1])
    return garden.plant("AN-23", "a decommissioned meter is commissioned again", meter.subject)


def _back_into_the_cell(garden: Garden) -> bool:
    """In a session of its own, with all stations and balances in order: only its past gives it away."""
    meter = garden.meter(of_fate("disposed"))
    if meter is None:
        return False
    world = garden.world
    day = world.hours.next_working_day((garden.last(meter).at + timedelta(days=12)).date())
    said = len(world.timeline.statements)
    session = factory.open_session(
        world, meter.kind, meter.customer, world.hours.shift_start(day, 1), 1, f"PO-{world.seed}-98"
    )
    garden.take(session.subject)
    meter.keys = {}
    factory.pass_through_cell(world, session, meter, session.starts_at, garden.chance, "exit", may_return=False)
    factory.reconcile(world, session, session.starts_at + timedelta(hours=1))
    world.sessions.append(session)
    for statement in world.timeline.statements[said:]:
        garden.note(statement)
    return garden.plant("AN-23", "a disposed identity goes through the cell again", meter.subject)


def _key(statement: Statement, role: str) -> dict[str, Any]:
    keys: list[dict[str, Any]] = statement.data["keys"]
    return next(key for key in keys if key["role"] == role)


def _is_first_production(session: CellSession) -> bool:
    return not session.order.startswith("RF-")


PLANTS: Mapping[str, tuple[Plant, ...]] = {
    "AN-01": (_second_birth, _other_chip, _two_names),
    "AN-02": (_cloned_key, _destroyed_key_returns, _key_used_twice_in_the_field),
    "AN-04": (_test_skipped, _sealed_before_tested, _step_of_another_session),
    "AN-05": (_ghost_shift, _never_reconciled, _one_too_many),
    "AN-06": (_released_alone, _wiped_alone, _released_by_one_person_with_two_keys),
    "AN-07": (_foreign_image_loaded, _foreign_image_activated, _foreign_image_attested),
    "AN-08": (_uncertified_load, _uncertified_update, _commissioned_while_suspended),
    "AN-10": (_other_seal_at_installation, _seal_used_twice, _other_seal_at_removal),
    "AN-14": (_taken_without_hand_over, _hung_up_without_hand_over, _given_by_a_stranger),
    "AN-15": (_short_delivery, _stowaway, _miscount),
    "AN-23": (_dead_meter_speaks, _back_into_the_cell, _decommissioned_meter_commissioned),
}
