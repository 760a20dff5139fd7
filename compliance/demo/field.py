"""On the wall: installation, commissioning, rotation, title, campaign, alerts, new tenants; and each meter's fate."""

from collections.abc import Callable
from datetime import datetime, timedelta
from random import Random

from compliance.demo import end_of_life, people
from compliance.demo.delivery import transfer_data
from compliance.demo.people import FACTORY, INSTALLER
from compliance.demo.world import Meter, World, later, log_normal
from compliance.proof.times import format_time

LAST_INSTALLATION = timedelta(days=200)  # before the end: leaves room for whatever fate follows
QUIET_DAYS = 60  # between commissioning and any fate
ROTATED_ROLES = ("GUEK", "GAK", "HLS_SECRET")
SECURITY_SUITE = 0
MONTH = 30.4


def operate(world: World) -> None:
    """Install most meters, and let each live its life."""
    chance = world.chance("installation")
    installed = [meter for meter in world.meters if meter.in_stock_at and _installs(world, meter, chance)]
    _draw_fates(world, installed)
    for meter in installed:
        _commission(world, meter)
        _live(world, meter)
    end_of_life.refurbish(world, [meter for meter in installed if meter.fate == "refurbished"])


def _installs(world: World, meter: Meter, chance: Random) -> bool:
    field = world.parameters.field
    days = min(chance.expovariate(1 / field.mean_stock_days), field.longest_stock_days)
    at = world.hours.office_hour(_free(meter) + timedelta(days=1 + days))
    if chance.random() > field.installed_share or at > world.hours.end - LAST_INSTALLATION:
        return False
    install(world, meter, at, chance)
    return True


def install(world: World, meter: Meter, at: datetime, chance: Random, *, reason: str = "rollout") -> None:
    """A fitter looks at the seals, reads the registers, adds the utility's own seal."""
    van = people.VANS[meter.serial % len(people.VANS)]
    number = f"U-{meter.title[6:]}-{meter.passes}{reason[:2].upper()}"
    skew = timedelta(seconds=chance.gauss(0, world.parameters.field.hand_held_clock_sigma_seconds))
    seen = [{"point": point, "number": seal, "result": "intact"} for point, seal in meter.seals.items()]
    data = {
        "metering_point_pseudonym": world.digest("metering point", meter.title, at.date()),
        "installer_id": f"inst-{van[-1]}",
        "initial_registers": {"import_kwh": f"0.{meter.register_tenths}"},
        "seals_seen": seen,
        "seals_applied": [
            {"point": "terminal-block", "number": number, "kind": "utility", "batch": f"ROLL-U-{meter.customer}"}
        ],
        "position_class": chance.choice(["indoor", "outdoor", "cellar"]),
        "replaces_meter": None,
        "reason_code": reason,
    }
    world.say(at + skew, people.van(van), "install.installed", meter.subject, data)
    meter.seals["terminal-block"] = number
    meter.free_at = at + timedelta(minutes=20)


def _commission(world: World, meter: Meter) -> None:
    field = world.parameters.field
    chance = world.chance("commissioning", meter.title)
    draw = chance.random()
    if draw < field.commissioned_same_day:
        at = later(_free(meter), chance, 0.3, 4)
    elif draw < field.commissioned_same_day + field.commissioned_within_week:
        at = later(_free(meter), chance, 24, 24 * 7)
    else:
        at = later(_free(meter), chance, 24 * 7, 24 * 20)
    commission(world, meter, at)
    if meter.customer == people.SECOND_UTILITY:
        _sell_installed(world, meter)
    rotate(world, meter, _free(meter) + timedelta(days=log_normal(chance, field.rotation_median_days, 0.3)))


def commission(world: World, meter: Meter, at: datetime) -> None:
    """The operator's head end meets the meter with the delivered keys."""
    data = {
        "operator": meter.customer,
        "head_end": f"he-{meter.customer}",
        "security_policy": "authenticated-encrypted",
        "security_suite": SECURITY_SUITE,
        "privacy_options": ["monthly-values"],
        "certificate_serial": None,
        "market_status": None,
    }
    world.say(at, people.head_end(meter.customer), "install.commissioned", meter.subject, data)
    meter.commissioned_at = meter.free_at = at


def _sell_installed(world: World, meter: Meter) -> None:
    """Title moves after installation: factory and utility sign together, a few days later."""
    at = world.hours.office_hour(_free(meter) + timedelta(days=2))
    data = transfer_data(world, at, "ownership", FACTORY, meter.customer)
    world.say(at, people.sale(meter.customer), "ownership.transferred", meter.subject, data)
    meter.free_at = at


def rotate(world: World, meter: Meter, at: datetime) -> None:
    """Replace the keys that the factory knew."""
    meter.generation += 1
    changed = []
    for role in ROTATED_ROLES:
        key = world.new_key(meter, role, meter.generation)
        changed.append(
            {
                "role": role,
                "commitment": key.commitment,
                "replaces": meter.keys[role].commitment,
                "registry_tag": key.registry_tag,
                "generation": key.generation,
            }
        )
        meter.keys[role] = key
    data = {"keys": changed, "method": "key_transfer", "confirmed_by_device": True, "frame_counter_reset": True}
    world.say(at, people.head_end(meter.customer), "keys.rotated", meter.subject, data)
    meter.free_at = at


def _draw_fates(world: World, meters: list[Meter]) -> None:
    """Give as many meters each fate as its rate says, and at least as many as the demo needs to show."""
    field = world.parameters.field
    years = (world.hours.end - world.hours.start).days / 365
    removed = field.removal_per_year / 3  # reuse, refurbishment and disposal share it
    rates = {
        "false_tamper": field.false_tamper_per_year,
        "true_tamper": field.true_tamper_per_year,
        "reprovisioned": field.tenant_change_per_year,
        "reused": removed,
        "refurbished": removed,
        "disposed": removed,
    }
    chance = world.chance("fates")
    for fate, rate in rates.items():
        wanted = max(field.at_least[fate], round(rate * years * len(meters)))
        free = [meter for meter in meters if not meter.fate and meter.passes == 1]
        for meter in chance.sample(free, min(wanted, len(free))):
            meter.fate = fate


def _live(world: World, meter: Meter) -> None:
    """What happens to an operating meter, in the order of time."""
    chance = world.chance("life", meter.title)
    first = _free(meter) + timedelta(days=QUIET_DAYS)
    last = world.hours.end - timedelta(days=QUIET_DAYS)
    fate_at = world.hours.office_hour(first + (last - first) * chance.uniform(0.05, 0.6))
    appointments: list[tuple[datetime, Callable[[World, Meter, datetime], None]]] = []
    if meter.fate:
        appointments.append((fate_at, FATES[meter.fate]))
    if not (meter.fate in end_of_life.LEAVES_THE_WALL and fate_at < _campaign_wave(world, meter)):
        appointments.append((_campaign_wave(world, meter), _update_firmware))
    if chance.random() < world.parameters.field.attested_share:
        appointments.append((_free(meter) + timedelta(days=chance.uniform(5, QUIET_DAYS - 5)), _attest))
    for at, act in sorted(appointments, key=lambda one: one[0]):
        act(world, meter, max(at, _free(meter) + timedelta(hours=1)))


def _campaign_wave(world: World, meter: Meter) -> datetime:
    field = world.parameters.field
    chance = world.chance("campaign", meter.title)
    draw, day = chance.random(), 0
    for share in field.firmware_waves:
        if draw < share:
            break
        draw -= share
        day += 7
    start = world.hours.start + timedelta(days=field.firmware_campaign_day + day)
    retry = timedelta(days=2) if chance.random() < field.firmware_fails_first_try else timedelta()
    return start + retry + timedelta(hours=chance.uniform(18, 28))


def _update_firmware(world: World, meter: Meter, at: datetime) -> None:
    if meter.firmware == meter.kind.update:
        return
    data = {
        "firmware_id": world.firmware(meter.kind, meter.kind.update),
        "from_version": meter.firmware,
        "to_version": meter.kind.update,
        "activated_sha256": world.image(meter.kind, meter.kind.update),
        "activated_at": format_time(at),
        "campaign_id": "FC-1",
    }
    refers_to = (world.firmware(meter.kind, meter.kind.update), world.meter_type(meter.kind))
    desk = people.head_end(meter.customer)
    world.say(at, desk, "ops.firmware_updated", meter.subject, data, refers_to=refers_to)
    meter.firmware = meter.kind.update
    meter.free_at = at


def _attest(world: World, meter: Meter, at: datetime) -> None:
    attest(world, meter, at)


def attest(world: World, meter: Meter, at: datetime) -> None:
    """Read the meter's measurements and compare them. A few read-outs wait in a hand-held for days."""
    chance = world.chance("attestation", meter.title, at)
    sent_at = None
    if chance.random() < world.parameters.field.late_upload_share:
        low, high = world.parameters.field.late_upload_days
        sent_at = at + timedelta(days=chance.uniform(low, high))
    data = {
        "method": "dlms_readout",
        "firmware_sha256": world.image(meter.kind, meter.firmware),
        "config_digest": world.digest("config", meter.customer, meter.kind.code),
        "result": "pass",
        "nonce": world.digest("nonce", meter.title, at)[:12],
        "evidence_sha256": world.digest("readout", meter.title, at),
    }
    desk = people.head_end(meter.customer)
    world.say(at, desk, "ops.attested", meter.subject, data, sent_at=sent_at)
    meter.free_at = at


def alert(world: World, meter: Meter, at: datetime, *, cover: str) -> None:
    """The meter reports that its cover was opened, or that a magnet is near."""
    data = {
        "alert_code": "cover_opened" if cover == "open" else "magnetic_field",
        "device_time": format_time(at),
        "received_at": format_time(at + timedelta(seconds=7)),
        "severity": "high" if cover == "open" else "low",
        "cover_state": cover,
        "magnetic_field": cover != "open",
        "next_action_due": format_time(at + timedelta(days=3)),
    }
    world.say(at + timedelta(seconds=7), people.head_end(meter.customer), "ops.tamper_alerted", meter.subject, data)
    meter.free_at = at + timedelta(minutes=1)


def _false_tamper(world: World, meter: Meter, at: datetime) -> None:
    alert(world, meter, at, cover="closed")
    attest(world, meter, at + timedelta(hours=20))


def _true_tamper(world: World, meter: Meter, at: datetime) -> None:
    """Opened, held, looked at by two people, released."""
    alert(world, meter, at, cover="open")
    held_at = world.hours.office_hour(at + timedelta(hours=3))
    held = {
        "reason_code": "cover_opened",
        "detector_id": None,
        "scope": "unit",
        "opened_by": people.person(meter.customer, "security"),
        "review_due": format_time(held_at + timedelta(days=14)),
    }
    holding = people.desk(meter.customer, "meter-desk", "security")
    world.say(held_at, holding, "exception.quarantined", meter.subject, held)
    released_at = world.hours.office_hour(held_at + timedelta(days=4))
    released = {
        "decision": "released",
        "cause": "the resident opened the terminal cover; no manipulation found",
        "reviewed_by": people.person(meter.customer, "review"),
        "corrective_action": "terminal cover sealed again",
    }
    world.say(released_at, people.review(meter.customer), "exception.released", meter.subject, released)
    meter.free_at = released_at


def _reprovision(world: World, meter: Meter, at: datetime) -> None:
    """A new tenant: new keys, the data of the former one erased, access set anew."""
    desk = people.head_end(meter.customer)
    started = {
        "trigger": "tenant",
        "outgoing_party": f"tenant-{world.digest('out', meter.title)[:6]}",
        "incoming_party": f"tenant-{world.digest('in', meter.title)[:6]}",
        "due_by": format_time(at + timedelta(days=5)),
    }
    world.say(at, desk, "reprov.started", meter.subject, started)
    rotate(world, meter, at + timedelta(hours=5))
    completed = {
        "data_restricted_or_erased": "erased",
        "access_roles": ["management", "reading"],
        "rotated_roles": list(ROTATED_ROLES),
        "verified_by": people.person(meter.customer, "meters"),
        "certificate_changes": [],
    }
    world.say(at + timedelta(hours=26), desk, "reprov.completed", meter.subject, completed)
    meter.free_at = at + timedelta(hours=26)


def _reuse(world: World, meter: Meter, at: datetime) -> None:
    """Taken down, cleaned, given new keys, and hung up again elsewhere."""
    end_of_life.remove(world, meter, at, reason="tenant_moved_out")
    end_of_life.clear_for_reuse(world, meter, rotate)
    chance = world.chance("second installation", meter.title)
    hand_over_at = world.hours.office_hour(_free(meter) + timedelta(days=3))
    end_of_life.hand_possession(world, meter, hand_over_at, people.RECYCLER, INSTALLER)
    meter.seals.pop("terminal-block", None)
    install(world, meter, world.hours.office_hour(hand_over_at + timedelta(days=4)), chance, reason="reuse")
    commission(world, meter, _free(meter) + timedelta(hours=2))


def _free(meter: Meter) -> datetime:
    if meter.free_at is None:
        raise ValueError(f"{meter.subject} is not in stock yet")
    return meter.free_at


FATES: dict[str, Callable[[World, Meter, datetime], None]] = {
    "false_tamper": _false_tamper,
    "true_tamper": _true_tamper,
    "reprovisioned": _reprovision,
    "reused": _reuse,
    "refurbished": end_of_life.return_for_refurbishment,
    "disposed": end_of_life.dispose,
}
