"""Off the wall: removal, triage, sanitisation, decommissioning and disposal, or back through the cell."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from compliance.demo import factory, people
from compliance.demo.delivery import transfer_data
from compliance.demo.people import FACTORY, INSTALLER, RECYCLER, TRIAGE, WIPING
from compliance.demo.world import Meter, World
from compliance.proof.times import format_time

LEAVES_THE_WALL = frozenset({"reused", "refurbished", "disposed"})
RETURN_DAYS = 30
REFURBISHING_SESSION = timedelta(days=45)  # before the end


def hand_possession(world: World, meter: Meter, at: datetime, giver: str, taker: str) -> None:
    """The meter's utility lets `giver` hand it to `taker`; utility and taker sign."""
    data = transfer_data(world, at, "possession", giver, taker)
    world.say(at, people.hand_over(meter.customer, taker), "ownership.transferred", meter.subject, data)
    meter.free_at = at


def remove(world: World, meter: Meter, at: datetime, *, reason: str) -> None:
    """The installer takes the meter over, takes it down, and brings it to the triage facility."""
    hand_possession(world, meter, at, meter.customer, INSTALLER)
    at = world.hours.office_hour(at + timedelta(days=2))
    commissioned_at = meter.commissioned_at or at
    data = {
        "reason_code": reason,
        "final_registers": {"import_kwh": f"{(at - commissioned_at).days * 8}.{meter.register_tenths}"},
        "seals_seen": [{"point": point, "number": seal, "result": "intact"} for point, seal in meter.seals.items()],
        "removed_by": f"inst-{people.VANS[meter.serial % len(people.VANS)][-1]}",
        "next_holder": RECYCLER,
        "return_due": format_time(at + timedelta(days=RETURN_DAYS)),
    }
    desk = people.van(people.VANS[meter.serial % len(people.VANS)])
    world.say(at, desk, "eol.removed", meter.subject, data)
    meter.free_at = at


def triage(world: World, meter: Meter, at: datetime, outcome: str) -> None:
    """The triage facility looks at the meter and decides."""
    data = {
        "facility": "TF-1",
        "outcome": outcome,
        "fault_code": "none" if outcome == "reuse" else "display",
        "personal_data_found": outcome != "reuse",
        "use_case_ref": "UC-3",
    }
    world.say(at, TRIAGE, "eol.triaged", meter.subject, data)
    meter.free_at = at


def sanitise(world: World, meter: Meter, at: datetime, destination: str) -> None:
    """Keys and personal data are erased by one person and verified by another."""
    data = {
        "method": "purge",
        "technique": "cryptographic erase",
        "tool": "meterwipe",
        "tool_version": "2.1",
        "verification_method": "read-out of all objects",
        "performed_by": people.person(RECYCLER, "wipe-1"),
        "verified_by": people.person(RECYCLER, "wipe-2"),
        "destination": destination,
        "personal_data_categories": ["load profile"],
        "keys_erased": True,
    }
    world.say(at, WIPING, "eol.sanitised", meter.subject, data)
    meter.free_at = at


def clear_for_reuse(world: World, meter: Meter, rotate: Callable[[World, Meter, datetime], None]) -> None:
    """Analyse, sanitise, give new keys, release for reuse."""
    at = world.hours.office_hour(_after(meter, days=3))
    triage(world, meter, at, "analyse")
    sanitise(world, meter, at + timedelta(hours=2), "reuse")
    rotate(world, meter, at + timedelta(hours=5))
    triage(world, meter, at + timedelta(hours=7), "reuse")


def dispose(world: World, meter: Meter, at: datetime) -> None:
    """Faulty: out of every register, sanitised, shredded. Every second one is triaged first."""
    remove(world, meter, at, reason="faulty")
    if meter.serial % 2:
        triage(world, meter, world.hours.office_hour(_after(meter, days=2)), "analyse")
    at = world.hours.office_hour(_after(meter, days=4))
    data = {
        "registers_updated": ["head-end", "asset-register"],
        "certificates_revoked": [meter.certificate],
        "keys_retired": True,
        "reason_code": "end_of_life",
    }
    world.say(at, people.meter_desk(meter.customer), "eol.decommissioned", meter.subject, data)
    sanitise(world, meter, world.hours.office_hour(at + timedelta(days=3)), "recycling")
    at = world.hours.office_hour(_after(meter, days=5))
    data = {
        "route": "WEEE",
        "recycler_id": RECYCLER,
        "weight_note": f"WN-{world.seed}-{meter.serial}",
        "destruction_ref": f"WEEE-{world.seed}-{meter.serial}",
    }
    world.say(at, TRIAGE, "eol.disposed", meter.subject, data)
    meter.free_at = at


def return_for_refurbishment(world: World, meter: Meter, at: datetime) -> None:
    """Triaged, sanitised and handed back to the factory."""
    remove(world, meter, at, reason="display_fault")
    at = world.hours.office_hour(_after(meter, days=3))
    triage(world, meter, at, "refurbish")
    sanitise(world, meter, at + timedelta(hours=3), "refurbishment")
    hand_possession(world, meter, world.hours.office_hour(_after(meter, days=6)), RECYCLER, FACTORY)


def refurbish(world: World, meters: Sequence[Meter]) -> None:
    """Take returned meters through the cell again, in one session of their own for each type."""
    day = (world.hours.end - REFURBISHING_SESSION).date()
    for kind in world.parameters.product.types:
        same = [meter for meter in meters if meter.kind is kind]
        if not same:
            continue
        day = world.hours.next_working_day(day)
        start = world.hours.shift_start(day, 0)
        order = f"RF-{world.seed}-{kind.code}"
        session = factory.open_session(world, kind, same[0].customer, start, len(same), order)
        chance = world.chance("refurbishing", kind.code)
        at = session.starts_at
        for meter in same:
            meter.keys = {}
            factory.pass_through_cell(world, session, meter, at, chance, "exit", may_return=False)
            at += factory.takt(world, kind, chance)
        factory.reconcile(world, session, at + timedelta(minutes=40))
        world.sessions.append(session)
        day += timedelta(days=1)


def _after(meter: Meter, *, days: float) -> datetime:
    if meter.free_at is None:
        raise ValueError(f"nothing has happened to {meter.subject} yet")
    return meter.free_at + timedelta(days=days)
