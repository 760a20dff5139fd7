"""From the drawing board to the exit gate: designs, releases and certificates, the line, the secured cell."""

import hashlib
from collections import deque
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from random import Random
from typing import Any

from compliance.demo import people
from compliance.demo.papers import Paper, as_csv
from compliance.demo.parameters import ProductType
from compliance.demo.people import CELL, CERTIFICATION, DESIGN, FACTORY, LINE, PURCHASING
from compliance.demo.statements import Statement
from compliance.demo.world import CellSession, Meter, World, gs1_check_digit, spread

DESIGN_LEAD = timedelta(days=60)  # types are registered, certified and released so long before the first order
UPDATE_LEAD = timedelta(days=30)  # the campaign's firmware is released so long before the campaign
CERTIFICATE_YEARS = 3
SECURITY_SUITE = 0
CELL_ID = "C1"
HSM = "hsm-1"
SPARE_SEALS = 6  # a session draws a few more than it needs and gives the rest back
STEP_MINUTES = (0.0, 3.0, 6.0, 8.0, 10.0, 12.0, 13.0, 14.0)


def design(world: World) -> None:
    """Register each type, release its firmware with two signatures, and have both certified."""
    start = world.hours.start - DESIGN_LEAD
    campaign = world.hours.start + timedelta(days=world.parameters.field.firmware_campaign_day)
    for place, kind in enumerate(world.parameters.product.types):
        at = world.hours.office_hour(start + timedelta(days=place))
        world.say(
            at,
            people.desk(FACTORY, "product-register", "build"),
            "design.type_registered",
            world.meter_type(kind),
            {
                "type_code": world.type_code(kind),
                "name": kind.name,
                "hardware_revision": kind.hardware,
                "manufacturer_flag": world.parameters.product.manufacturer_flag,
                "market_profiles": ["dlms"],
                "key_roles_expected": list(world.parameters.product.key_roles),
                "security_suite": SECURITY_SUITE,
                "seal_points": list(world.parameters.product.seal_points),
                "threat_model_ref": f"TM-{kind.code}-2025",
            },
        )
        release(world, kind, kind.firmware, world.hours.office_hour(at + timedelta(days=9)))
        certify(world, kind, [kind.firmware], world.hours.office_hour(at + timedelta(days=30)), status="granted")
        release(world, kind, kind.update, world.hours.office_hour(campaign - UPDATE_LEAD))
        renewed = world.hours.office_hour(campaign - UPDATE_LEAD + timedelta(days=20))
        certify(world, kind, [kind.firmware, kind.update], renewed, status="renewed")


def release(
    world: World, kind: ProductType, version: str, at: datetime, *, desk: people.Desk = DESIGN, status: str = "released"
) -> Statement:
    """State that `version` is an image the factory stands for."""
    return world.say(
        at,
        desk,
        "design.firmware_released",
        world.firmware(kind, version),
        {
            "firmware_id": world.firmware(kind, version),
            "version": version,
            "image_sha256": world.image(kind, version),
            "image_size": 524288,
            "signing_key_id": "fw-2025",
            "target_types": [world.meter_type(kind)],
            "status": status,
            "sbom_digest": world.digest("sbom", kind.code, version),
        },
        refers_to=(world.meter_type(kind),),
    )


def certify(world: World, kind: ProductType, versions: Sequence[str], at: datetime, *, status: str) -> Statement:
    """State that a certificate covers these versions of `kind`."""
    return world.say(
        at,
        CERTIFICATION,
        "design.type_certified",
        world.meter_type(kind),
        {
            "scheme": "dlms-conformance",
            "certificate_id": f"CC-{world.type_code(kind)}",
            "status": status,
            "scope_hardware": [kind.hardware],
            "scope_firmware": list(versions),
            "issued_on": at.date().isoformat(),
            "valid_until": at.date().replace(year=at.year + CERTIFICATE_YEARS).isoformat(),
        },
        refers_to=tuple(world.firmware(kind, version) for version in versions),
    )


def produce(world: World, meters: int) -> None:
    """Assemble and provision until `meters` good units have left the cell."""
    _draw_sessions(world, meters)
    chance = world.chance("cell")
    forced = _forced_outcomes(world)
    for kind in world.parameters.product.types:
        sessions = [session for session in world.sessions if session.kind is kind]
        waiting: deque[Meter] = deque()
        for session in sessions:
            last = session is sessions[-1]
            waiting = _run_session(world, session, waiting, chance, forced if not last else deque(), last=last)


def _draw_sessions(world: World, meters: int) -> None:
    product, cell = world.parameters.product, world.parameters.cell
    per_type = spread(meters, [kind.share for kind in product.types])
    wanted = max(cell.smallest_number_of_sessions, -(-meters // cell.largest_session))
    counts = [max(1, count) for count in spread(wanted, [kind.share for kind in product.types])]
    share = world.parameters.delivery.share_to_first_utility
    drawn = []
    for kind, quantity, count in zip(product.types, per_type, counts, strict=True):
        for number, planned in enumerate(spread(quantity, [1] * count)):
            first = (number + 0.5) / count < share
            drawn.append((number / count, kind, people.FIRST_UTILITY if first else people.SECOND_UTILITY, planned))
    drawn = [one for one in sorted(drawn, key=lambda one: (one[0], one[1].code)) if one[3]]
    weeks = timedelta(weeks=world.parameters.calendar.production_weeks)
    for place, (_, kind, customer, planned) in enumerate(drawn):
        day = world.hours.next_working_day((world.hours.start + timedelta(days=2) + weeks * place / len(drawn)).date())
        shift = place % len(people.SHIFT_PAIRS)
        order = f"PO-{world.seed}-{1 + place // 3}"
        world.sessions.append(open_session(world, kind, customer, world.hours.shift_start(day, shift), planned, order))


def open_session(
    world: World, kind: ProductType, customer: str, shift_starts: datetime, planned: int, order: str
) -> CellSession:
    """Open the cell with two people. The session is reconciled by `reconcile`."""
    name = f"{CELL_ID}-{shift_starts:%Y-%m-%d}-{shift_starts:%H}-{world.seed}"
    desk = CELL[0 if shift_starts.hour < 12 else 1]
    starts_at = shift_starts + timedelta(minutes=20)
    session = CellSession(f"cell_session:{FACTORY}:{name}", name, desk, kind, customer, starts_at, planned, order)
    clock = world.chance("clock", name)
    world.say(
        shift_starts + timedelta(minutes=5),
        desk,
        "cell.session_opened",
        session.subject,
        {
            "cell_id": CELL_ID,
            "session_id": name,
            "operators": [people.person(FACTORY, label) for label in session.labels],
            "station_software_digests": [
                {"station": f"st-{number:02d}", "sha256": world.digest("station", number)} for number in range(1, 9)
            ],
            "hsm_id": HSM,
            "key_ceremony_ref": f"KC-{shift_starts:%Y-%m}",
            "clock_offset_ms": round(clock.gauss(0, world.parameters.cell.clock_sigma_milliseconds)),
            "production_order": order,
            "planned_quantity": planned,
        },
    )
    return session


def reconcile(world: World, session: CellSession, at: datetime) -> Statement:
    """Close `session` with its three balances: units, keys, seals."""
    roles = len(world.parameters.product.key_roles)
    issued = session.seals_applied + session.seals_voided + SPARE_SEALS
    data = {
        "session_id": session.name,
        "entered": session.entered,
        "exited": session.exited,
        "reworked": session.reworked,
        "scrapped": session.scrapped,
        "still_inside": 0,
        "keys_generated": session.keys_generated,
        "keys_bound": session.exited * roles,
        "keys_destroyed": session.keys_destroyed,
        "seals_issued": issued,
        "seals_applied": session.seals_applied,
        "seals_voided": session.seals_voided,
        "seals_returned": SPARE_SEALS,
        "difference_reason": None,
    }
    sheet = Paper(
        FACTORY,
        f"reconciliation-{session.name}.csv",
        "text/csv",
        as_csv(["figure", "value"], [(name, value) for name, value in data.items() if isinstance(value, int)]),
        title=f"Reconciliation sheet of cell session {session.name}",
        kind="record",
        covers_from=at.date(),
        covers_until=at.date(),
        produced_at=at,
        links=(("cell_session", session.subject),),
    )
    world.papers.append(sheet)
    passed = tuple(meter.subject for meter in session.meters)
    return world.say(
        at, session.desk, "cell.session_reconciled", session.subject, data, papers=(sheet,), refers_to=passed
    )


def _run_session(
    world: World,
    session: CellSession,
    waiting: deque[Meter],
    chance: Random,
    forced: deque[str],
    *,
    last: bool,
) -> deque[Meter]:
    """One shift: take units until the planned number is good. Returns those that must come back after rework."""
    back: deque[Meter] = deque()
    at = session.starts_at
    new_units = _assemble(world, session)
    while session.exited < session.planned:
        meter = waiting.popleft() if waiting else next(new_units)
        third = session.entered % 3 == 2
        outcome = forced.popleft() if forced and third and not meter.passes else ""
        if pass_through_cell(world, session, meter, at, chance, outcome, may_return=not last) == "rework":
            back.append(meter)
        at += takt(world, session.kind, chance)
    reconcile(world, session, at + timedelta(minutes=world.parameters.cell.minutes_inside + 25))
    return back


def takt(world: World, kind: ProductType, chance: Random) -> timedelta:
    """Time until the next unit of `kind`."""
    shape = world.parameters.product.takt_shape
    return timedelta(hours=1) / kind.units_per_hour * chance.gammavariate(shape, 1 / shape)


def _assemble(world: World, session: CellSession) -> Iterator[Meter]:
    """New units of the session's type, assembled and calibrated the working day before."""
    day = world.hours.working_day_before(session.starts_at.date())
    at = world.hours.shift_start(day, 0) + timedelta(minutes=30)
    chance = world.chance("line", session.name)
    while True:
        yield assemble(world, session, at, chance)
        at += takt(world, session.kind, chance)


def assemble(world: World, session: CellSession, at: datetime, chance: Random) -> Meter:
    """Give a unit its identity and calibrate it."""
    product, kind = world.parameters.product, session.kind
    position = product.types.index(kind) + 1
    serial = world.seed % 40_000 * 100_000 + world.serials.get(kind.code, 0) + 1
    world.serials[kind.code] = world.serials.get(kind.code, 0) + 1
    title = f"{product.manufacturer_flag.encode().hex()}{position:02d}{serial:08x}".upper()
    meter = Meter(f"meter:dlms_system_title:{title}", title, kind, serial, session.customer, at)
    meter.certificate = f"{position}{serial:08X}"
    meter.register_tenths = chance.randrange(1, 6)
    world.meters.append(meter)
    world.say(
        at,
        LINE,
        "mfg.assembled",
        meter.subject,
        {
            "identifiers": [
                {"scheme": "dlms_ldn", "value": f"{product.manufacturer_flag}{position}{serial:012d}"},
                {"scheme": "sgtin_dl", "value": _digital_link(world, position, serial)},
            ],
            "type_code": world.type_code(kind),
            "production_order": session.order,
            "line": "L1",
            "component_lots": [_lot(world, kind, at)],
        },
        refers_to=(world.meter_type(kind),),
    )
    world.say(
        at + timedelta(minutes=25),
        LINE,
        "mfg.calibrated",
        meter.subject,
        {
            "standard_ref": "EN 50470-3",
            "bench_id": "B1",
            "bench_calibration_due": f"{at.year + 1}-12-01",
            "result": "pass",
            "registers_after_test": {"import_kwh": f"0.{meter.register_tenths}"},
            "mid_module": "D",
            "marking_year": at.year,
            "notified_body_no": "0102",
        },
    )
    return meter


def _lot(world: World, kind: ProductType, at: datetime) -> str:
    made = world.serials[kind.code] - 1
    number = made // world.parameters.product.components_per_lot + 1
    subject = f"component_lot:{FACTORY}:PCB-{kind.code}-{world.seed}-{number}"
    if made % world.parameters.product.components_per_lot == 0:
        world.say(
            world.hours.office_hour(at - timedelta(days=6)),
            PURCHASING,
            "mfg.component_received",
            subject,
            {
                "supplier": "board-house-4",
                "component_type": "PCB",
                "lot_id": f"PCB-{kind.code}-{world.seed}-{number}",
                "quantity": world.parameters.product.components_per_lot,
                "delivery_note_ref": f"DN-{world.seed}-{kind.code}-{number}",
                "inspection_result": "pass",
            },
        )
    return subject


def _digital_link(world: World, position: int, serial: int) -> str:
    digits = f"{world.parameters.product.gtin_prefix}{position:05d}"
    return f"https://id.gs1.org/01/{digits}{gs1_check_digit(digits)}/21/{world.parameters.product.manufacturer_flag}{serial}"


def _forced_outcomes(world: World) -> deque[str]:
    """Outcomes that must occur even in a small run, drawn before chance decides."""
    wanted = world.parameters.cell.at_least
    return deque(
        ["retested"] * wanted["retested"] + ["reworked"] * wanted["reworked"] + ["scrapped"] * wanted["scrapped"]
    )


def pass_through_cell(
    world: World,
    session: CellSession,
    meter: Meter,
    at: datetime,
    chance: Random,
    outcome: str = "",
    *,
    may_return: bool,
) -> str:
    """Take one unit through all stations. Returns "exit", "rework" or "scrap"; "gate" when it never got in."""
    cell = world.parameters.cell
    moments = [at + timedelta(minutes=minutes * cell.minutes_inside / STEP_MINUTES[-1]) for minutes in STEP_MINUTES]
    if not outcome and not meter.passes and chance.random() > cell.identity_yield:
        return _reject(world, session, meter, moments[0], "identity_unreadable", may_return=may_return, chance=chance)
    session.entered += 1
    session.meters.append(meter)
    meter.passes += 1
    meter.session, meter.customer, meter.steps = session, session.customer, []
    _enter(world, session, meter, moments[0])
    if not outcome and chance.random() > cell.firmware_yield:
        return _reject(world, session, meter, moments[1], "image_not_taken", may_return=may_return, chance=chance)
    _load_firmware(world, session, meter, moments[1])
    if not outcome and chance.random() > cell.keys_yield:
        return _reject(world, session, meter, moments[2], "rng_health", may_return=may_return, chance=chance)
    _provision_keys(world, session, meter, moments[2])
    for yield_, moment, step, reason in (
        (cell.anchors_yield, moments[3], _load_anchors, "anchor_write"),
        (cell.personalisation_yield, moments[4], _personalise, "csr_mismatch"),
    ):
        if not outcome and chance.random() > yield_:
            return _reject(world, session, meter, moment, reason, may_return=may_return, chance=chance)
        step(world, session, meter, moment)
    if not _test(world, meter, moments[5], chance, outcome):
        forced = {"reworked": "rework", "scrapped": "scrap"}.get(outcome, "")
        late = moments[5] + timedelta(seconds=50)
        return _reject(world, session, meter, late, "test_failed", may_return=may_return, chance=chance, forced=forced)
    if chance.random() > cell.seal_yield:
        world.new_seal()
        session.seals_voided += 1
    _seal(world, session, meter, moments[6])
    leave(world, session, meter, moments[7])
    return "exit"


def _step(
    world: World,
    at: datetime,
    code: str,
    meter: Meter,
    data: dict[str, Any],
    refers_to: tuple[str, ...] = (),
) -> None:
    """One station of the meter's present pass."""
    data = {"session_id": _session(meter).subject, **data}
    meter.steps.append(world.say(at, _session(meter).desk, code, meter.subject, data, refers_to=refers_to).id)


def _session(meter: Meter) -> CellSession:
    if meter.session is None:
        raise ValueError(f"{meter.subject} is not in the cell")
    return meter.session


def _enter(world: World, session: CellSession, meter: Meter, at: datetime) -> None:
    data = {
        "label_identity": meter.title,
        "electronic_identity": meter.title,
        "identity_check": "match",
        "debug_state": "open",
        "visual_check": "pass",
    }
    _step(world, at, "cell.entered", meter, data, refers_to=(session.subject,))


def _load_firmware(world: World, session: CellSession, meter: Meter, at: datetime) -> None:
    kind = session.kind
    campaign = world.hours.start + timedelta(days=world.parameters.field.firmware_campaign_day)
    meter.firmware = kind.update if at > campaign else kind.firmware
    data = {
        "firmware_id": world.firmware(kind, meter.firmware),
        "version": meter.firmware,
        "image_sha256_readback": world.image(kind, meter.firmware),
        "signature_verified": True,
        "boot_lock": True,
        "rollback_counter": 8 if meter.firmware == kind.update else 7,
    }
    refers_to = (world.firmware(kind, meter.firmware), world.meter_type(kind))
    _step(world, at, "cell.firmware_loaded", meter, data, refers_to=refers_to)


def _provision_keys(world: World, session: CellSession, meter: Meter, at: datetime) -> None:
    product = world.parameters.product
    meter.generation += 1
    meter.keys = {role: world.new_key(meter, role, meter.generation) for role in product.key_roles}
    session.keys_generated += len(product.key_roles)
    data = {
        "key_plan": "dlms-suite0-2025",
        "security_suite": SECURITY_SUITE,
        "keys": [
            {
                "role": key.role,
                "origin": "hsm",
                "commitment": key.commitment,
                "public_key_sha256": None,
                "registry_tag": key.registry_tag,
                "generation": key.generation,
                **({"shared": True} if key.role in product.shared_roles else {}),
            }
            for key in meter.keys.values()
        ],
        "hsm_id": HSM,
        "custodians": [people.person(FACTORY, label) for label in session.labels],
    }
    _step(world, at, "cell.keys_provisioned", meter, data)


def _load_anchors(world: World, session: CellSession, meter: Meter, at: datetime) -> None:
    names = {people.FIRST_UTILITY: "Northgrid", people.SECOND_UTILITY: "Westmere"}
    data = {
        "anchor_set_id": f"AS-{session.customer}-1",
        "anchors": [
            {
                "subject": f"CN={names[session.customer]} Root CA",
                "cert_sha256": world.digest("root", session.customer),
                "role": "ROOT_CA",
            }
        ],
    }
    _step(world, at, "cell.trust_anchors_loaded", meter, data)


def _personalise(world: World, session: CellSession, meter: Meter, at: datetime) -> None:
    data = {
        "config_profile": f"{session.customer}-3",
        "config_digest": world.digest("config", session.customer, meter.kind.code),
        "access_roles": ["management", "reading"],
        "device_certificates": [{"sha256": world.digest("certificate", meter.title), "serial": meter.certificate}],
        "debug_closed": True,
        "defaults_removed": True,
    }
    _step(world, at, "cell.personalised", meter, data)


def _test(world: World, meter: Meter, at: datetime, chance: Random, outcome: str) -> bool:
    """Test, and retest at most twice. True when the unit passed in the end."""
    cell = world.parameters.cell
    fails = outcome in {"retested", "reworked", "scrapped"}
    results = [outcome == "exit" or (not fails and chance.random() < cell.test_yield)]
    if not results[0]:
        draw = chance.random()
        first = outcome == "retested" or (not outcome and draw < cell.pass_on_first_retest)
        second = not outcome and not first and draw < cell.pass_on_first_retest + cell.pass_on_second_retest
        results += [True] if first else [False, second]
    for number, passed in enumerate(results):
        word = "pass" if passed else "fail"
        data = {
            "test_plan": "TP-12",
            "functional_result": "pass",
            "security_result": word,
            "robustness_result": "pass",
            "metrology_result": "pass",
            "station": "st-06",
        }
        _step(world, at + timedelta(seconds=20 * number), "cell.tested", meter, data)
    return results[-1]


def _seal(world: World, session: CellSession, meter: Meter, at: datetime) -> None:
    points = world.parameters.product.seal_points
    seals = [(point, *world.new_seal()) for point in points]
    meter.seals = {point: number for point, number, _ in seals}
    session.seals_applied += len(points)
    data = {
        "seals": [
            {"point": point, "number": number, "kind": "metrological" if place else "manufacturer", "batch": roll}
            for place, (point, number, roll) in enumerate(seals)
        ],
        "applied_by": people.person(FACTORY, session.labels[0]),
        "photo_sha256": world.digest("photo", meter.title, meter.passes),
    }
    _step(world, at, "cell.sealed", meter, data)


def leave(world: World, session: CellSession, meter: Meter, at: datetime) -> None:
    """Release the unit: sealed, trusted, counted."""
    session.exited += 1
    meter.exited_at = meter.free_at = at
    data = {
        "session_id": session.subject,
        "exit_gate": "G1",
        "step_digest": hashlib.sha256("\n".join(meter.steps).encode()).hexdigest(),
        "release_by": people.person(FACTORY, session.labels[1]),
    }
    world.say(at, session.desk, "cell.exited", meter.subject, data)


def _reject(
    world: World,
    session: CellSession,
    meter: Meter,
    at: datetime,
    reason: str,
    *,
    may_return: bool,
    chance: Random,
    forced: str = "",
) -> str:
    inside = reason != "identity_unreadable"
    outcome = forced or ("rework" if chance.random() < world.parameters.cell.rework_returns else "scrap")
    if outcome == "rework" and not may_return:
        outcome = "scrap"
    has_keys = bool(meter.keys)
    session.keys_destroyed += len(meter.keys)
    meter.keys = {}
    if inside:
        session.reworked += outcome == "rework"
        session.scrapped += outcome == "scrap"
    meter.scrapped = outcome == "scrap"
    data = {
        "station": "st-06" if inside else "st-01",
        "reason_code": reason,
        "outcome": outcome,
        "keys_destroyed": has_keys,
        "destruction_ref": f"D-{world.seed}-{meter.serial}" if outcome == "scrap" else None,
        **({"session_id": session.subject} if inside else {}),
    }
    world.say(at + timedelta(seconds=30), session.desk, "mfg.rejected", meter.subject, data)
    return outcome
