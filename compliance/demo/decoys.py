"""Decoys: legitimate stories that look like anomalies. A detector that reports one is wrong.

Some lie in every honest run (retests, rework, a shared broadcast key, a certificate renewed in time) and are only
written down; the others are added to the timeline.
"""

from collections.abc import Callable
from datetime import timedelta

from compliance.demo import factory, field, people
from compliance.demo.garden import Garden, in_stock, of_fate, operates
from compliance.demo.people import FACTORY, RECYCLER
from compliance.demo.world import CellSession, Meter
from compliance.proof.times import format_time

Decoy = Callable[[Garden], bool]
LONG_SHIFT = timedelta(hours=10, minutes=30)  # below the twelve hours a session may stay open


def grow_all(garden: Garden) -> None:
    """Add every decoy that this run has room for."""
    for decoy in DECOYS:
        decoy(garden)


def _rework(garden: Garden) -> bool:
    meter = garden.meter(lambda one: one.passes > 1 and one.exited_at is not None and not one.fate)
    if meter is None:
        return False
    garden.decoy("AN-01", "a reworked unit enters the cell twice under its own identity", meter.subject)
    garden.decoy("AN-02", "new keys after rework, the old ones destroyed", meter.subject)
    return garden.decoy("AN-04", "the first pass of a reworked unit ended early", meter.subject)


def _rework_with_one_signature(garden: Garden) -> bool:
    """Scrap needs two people, rework one."""
    meter = garden.meter(lambda one: bool(garden.said(one.subject, "mfg.rejected")) and not one.scrapped)
    if meter is None:
        return False
    rejected = garden.one(meter, "mfg.rejected")
    label = rejected.desk.signers[0].split("/")[1]
    rejected.desk, rejected.second_actor = people.desk(FACTORY, rejected.desk.source, label), None
    return garden.decoy("AN-06", "sent to rework by one person, which is enough", meter.subject)


def _retested(garden: Garden) -> bool:
    meter = garden.meter(lambda one: operates(one) and len(garden.said(one.subject, "cell.tested")) > 1)
    if meter is None:
        return False
    return garden.decoy("AN-04", "tested twice before it passed", meter.subject)


def _shared_broadcast_key(garden: Garden) -> bool:
    meter, other = garden.meter(_alike(people.FIRST_UTILITY)), garden.meter(_alike(people.FIRST_UTILITY))
    if meter is None or other is None:
        return False
    chains = (meter.subject, other.subject)
    return garden.decoy("AN-02", "one broadcast key, declared as shared", meter.subject, chains)


def _voided_seals(garden: Garden) -> bool:
    session = garden.session(lambda one: not one.order.startswith("RF-") and one.exited == one.planned)
    if session is None:
        return False
    data = garden.said(session.subject, "cell.session_reconciled")[-1].data
    data["seals_voided"] += 3
    data["seals_issued"] += 3
    return garden.decoy("AN-05", "three seals spoiled and accounted for", session.subject)


def _rejects_balanced(garden: Garden) -> bool:
    session = garden.session(lambda one: one.reworked + one.scrapped > 0)
    if session is None:
        return False
    return garden.decoy("AN-05", "units reworked or scrapped, and all balances even", session.subject)


def _long_shift(garden: Garden) -> bool:
    session = garden.session(_no_other_that_day(garden))
    if session is None:
        return False
    closing = garden.said(session.subject, "cell.session_reconciled")[-1]
    closing.at = garden.said(session.subject, "cell.session_opened")[-1].at + LONG_SHIFT
    return garden.decoy("AN-05", "reconciled late, but within the time allowed", session.subject)


def _three_signatures(garden: Garden) -> bool:
    meter = garden.meter(of_fate("refurbished"))
    meter = meter or garden.meter(lambda one: one.fate == "refurbished")
    if meter is None:
        return False
    wiped = garden.one(meter, "eol.sanitised")
    wiped.desk = people.desk(RECYCLER, "wiping", "wipe-1", "wipe-2", "security")
    garden.decoy("AN-23", "back in the cell after triage and sanitisation", meter.subject)
    return garden.decoy("AN-06", "three signatures where two are asked for", meter.subject)


def _old_image_still_allowed(garden: Garden) -> bool:
    """The update supersedes the old image, which stays allowed; a meter that missed the campaign attests it."""
    kind = garden.world.parameters.product.types[0]
    meter = garden.meter(
        lambda one: operates(one) and one.kind is kind and bool(garden.said(one.subject, "ops.firmware_updated"))
    )
    if meter is None:
        return False
    updated = garden.one(meter, "ops.firmware_updated")
    late = updated.at + timedelta(days=60)
    superseded = factory.release(
        garden.world,
        kind,
        kind.firmware,
        garden.world.hours.office_hour(updated.at + timedelta(days=20)),
        status="superseded",
    )
    garden.note(superseded)
    meter.firmware = kind.firmware
    field.attest(garden.world, meter, updated.at + timedelta(days=40))
    garden.note(garden.world.timeline.statements[-1])
    updated.at = late
    updated.data["activated_at"] = format_time(late)
    garden.decoy("AN-08", "updated late, to an image that only the renewed certificate covers", meter.subject)
    return garden.decoy("AN-07", "an image that is superseded but not revoked", meter.subject)


def _revoked_later(garden: Garden) -> bool:
    kind = garden.world.parameters.product.types[-1]
    meter = garden.meter(lambda one: one.kind is kind and one.exited_at is not None and one.passes == 1)
    if meter is None:
        return False
    at = garden.world.hours.office_hour(garden.world.hours.end - timedelta(days=3))
    garden.note(factory.release(garden.world, kind, kind.firmware, at, status="revoked"))
    return garden.decoy("AN-07", "loaded long before the image was revoked", meter.subject)


def _opened_before_the_seal_changed(garden: Garden) -> bool:
    meter = garden.meter(of_fate("disposed"))
    if meter is None:
        return False
    removed = garden.one(meter, "eol.removed")
    handed = [one for one in garden.said(meter.subject) if one.at < removed.at][-1]
    field.alert(garden.world, meter, handed.at - timedelta(hours=30), cover="open")
    garden.note(garden.world.timeline.statements[-1])
    seen = removed.data["seals_seen"]
    seen[0] = {**seen[0], "number": f"{seen[0]['number']}R"}
    return garden.decoy("AN-10", "another seal, after the meter itself reported that it was opened", meter.subject)


def _second_seal_after_reuse(garden: Garden) -> bool:
    meter = garden.meter(of_fate("reused"))
    if meter is None:
        return False
    garden.decoy("AN-10", "a new terminal seal at the second installation", meter.subject)
    return garden.decoy("AN-14", "installer, recycler, installer again, each hand-over signed", meter.subject)


def _consigned_to_the_installer(garden: Garden) -> bool:
    meter = garden.meter(_alike(people.SECOND_UTILITY))
    if meter is None:
        return False
    return garden.decoy("AN-14", "the installer is the consignee, and never had to be handed the meter", meter.subject)


def _removed_properly(garden: Garden) -> bool:
    meter = garden.meter(lambda one: one.fate == "disposed")
    if meter is None:
        return False
    garden.decoy("AN-14", "handed to the fitter before removal", meter.subject)
    return garden.decoy("AN-23", "sanitised and shredded after decommissioning, as it should be", meter.subject)


def _damaged_carton(garden: Garden) -> bool:
    for shipment in garden.world.shipments:
        if garden.take(shipment.subject):
            received = garden.said(shipment.subject, "delivery.received")[-1]
            received.data["condition"] = "one carton crushed, content complete"
            return garden.decoy("AN-15", "a damaged carton, but every meter of the note", shipment.subject)
    return False


def _inspection_corrected(garden: Garden) -> bool:
    """A carton was scanned twice; an hour later the inspection is declared void and done again."""
    for shipment in garden.world.shipments:
        if garden.take(shipment.subject):
            right = garden.said(shipment.subject, "delivery.inspected")[-1]
            wrong = garden.say(
                right,
                at=right.at,
                data={**right.data, "found_count": right.data["found_count"] + 1},
                members=right.members,
            )
            right.at += timedelta(hours=2)
            garden.say(
                wrong,
                at=wrong.at + timedelta(hours=1),
                type="record.corrected",
                data={
                    "corrects": wrong.stand_in,
                    "reason": "did_not_occur",
                    "replacement": None,
                    "declared_at": format_time(wrong.at + timedelta(hours=1)),
                },
                members=right.members,
                corrects=wrong,
            )
            return garden.decoy("AN-15", "an inspection declared void and done again", shipment.subject)
    return False


def _left_in_stock(garden: Garden) -> bool:
    meter = garden.meter(in_stock)
    if meter is None:
        return False
    return garden.decoy("AN-14", "accepted and still on the shelf", meter.subject)


def _alike(utility: str) -> Callable[[Meter], bool]:
    return lambda meter: operates(meter) and meter.customer == utility


def _no_other_that_day(garden: Garden) -> Callable[[CellSession], bool]:
    days = [session.starts_at.date() for session in garden.world.sessions]
    return lambda session: days.count(session.starts_at.date()) == 1 and session.starts_at.hour < 12


DECOYS: tuple[Decoy, ...] = (
    _rework,
    _rework_with_one_signature,
    _retested,
    _shared_broadcast_key,
    _voided_seals,
    _rejects_balanced,
    _long_shift,
    _three_signatures,
    _old_image_still_allowed,
    _revoked_later,
    _opened_before_the_seal_changed,
    _second_seal_after_reuse,
    _consigned_to_the_installer,
    _removed_properly,
    _damaged_carton,
    _inspection_corrected,
    _left_in_stock,
)
