"""From the exit gate to trusted stock: cartons, pallets, shipments, key bundles, goods-in, title and possession."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from compliance.demo import people
from compliance.demo.papers import Paper, as_csv, as_json
from compliance.demo.people import CARRIER, FACTORY, INSTALLER, KEY_OFFICE, WAREHOUSE
from compliance.demo.world import Meter, Shipment, World, later, log_normal, spread
from compliance.proof import merkle
from compliance.proof.times import format_time

BUNDLE_VALID = timedelta(days=365)
CARTON_KILOGRAMS_PER_UNIT = 2


def deliver(world: World) -> None:
    """Bring every good unit into trusted stock."""
    for shipment in _draw_shipments(world):
        pack_and_dispatch(world, shipment)
        release_keys(world, shipment)
        take_in(world, shipment)
        acknowledge_keys(world, shipment)
        _change_hands(world, shipment)
        world.shipments.append(shipment)


def _draw_shipments(world: World) -> list[Shipment]:
    delivery = world.parameters.delivery
    good = [meter for meter in world.meters if meter.exited_at is not None]
    utilities = (people.FIRST_UTILITY, people.SECOND_UTILITY)
    per_utility = [[meter for meter in good if meter.customer == utility] for utility in utilities]
    capacity = 4 * delivery.cartons_per_pallet * delivery.pallets_per_shipment
    wanted = max(delivery.smallest_number_of_shipments, -(-len(good) // capacity))
    shipments: list[Shipment] = []
    for utility, meters, count in zip(
        utilities, per_utility, spread(wanted, [len(one) for one in per_utility]), strict=True
    ):
        meters.sort(key=lambda meter: (meter.exited_at, meter.serial))
        taken = 0
        for size in spread(len(meters), [1] * max(1, count)):
            if size:
                shipments.append(_shipment(world, utility, meters[taken : taken + size], len(shipments) + 1))
                taken += size
    return shipments


def _shipment(world: World, utility: str, meters: Sequence[Meter], number: int) -> Shipment:
    name = f"S-{world.seed}-{number:03d}"
    consignee = utility if utility == people.FIRST_UTILITY else INSTALLER
    shipment = Shipment(f"shipment:{FACTORY}:{name}", name, utility, consignee, list(meters))
    for meter in meters:
        meter.shipment = shipment
    return shipment


def pack_and_dispatch(world: World, shipment: Shipment) -> None:
    """Box the meters, stack the boxes, and hand the pallets to the carrier with a signed delivery note."""
    delivery = world.parameters.delivery
    ready = max(meter.exited_at for meter in shipment.meters if meter.exited_at is not None)
    packed_at = world.hours.office_hour(ready + timedelta(hours=delivery.hours_to_dispatch / 2))
    _fill_cartons(world, shipment)
    for pallet, cartons in shipment.pallets.items():
        for carton in cartons:
            inside = [meter.subject for meter in shipment.cartons[carton]]
            _pack(world, packed_at, carton, inside, parent=pallet, weight=len(inside) * CARTON_KILOGRAMS_PER_UNIT)
            packed_at += timedelta(minutes=4)
        _pack(world, packed_at, pallet, cartons, parent=None, weight=20 + len(cartons) * 12)
        packed_at += timedelta(minutes=10)
    chance = world.chance("transit", shipment.name)
    at = world.hours.office_hour(packed_at + timedelta(hours=delivery.hours_to_dispatch / 2))
    shipment.dispatched_at = at
    transit = timedelta(hours=log_normal(chance, delivery.transit_median_hours, delivery.transit_sigma))
    shipment.received_at = world.hours.office_hour(at + transit)
    note = _delivery_note(shipment, at)
    world.papers.append(note)
    world.say(
        at,
        WAREHOUSE,
        "delivery.dispatched",
        shipment.subject,
        {
            "shipment_id": shipment.name,
            "purpose": "delivery",
            "units": list(shipment.pallets),
            "meter_count": len(shipment.meters),
            "consignor": FACTORY,
            "consignee": shipment.consignee,
            "carrier": CARRIER,
            "expected_arrival": format_time(shipment.received_at + timedelta(hours=12)),
            "delivery_note_sha256": note.sha256,
            "container_kind": "pallet",
        },
        members=members(shipment),
        papers=(note,),
    )


def _fill_cartons(world: World, shipment: Shipment) -> None:
    for kind in world.parameters.product.types:
        same = [meter for meter in shipment.meters if meter.kind is kind]
        for start in range(0, len(same), kind.carton):
            shipment.cartons[world.new_sscc()] = same[start : start + kind.carton]
    cartons = list(shipment.cartons)
    size = world.parameters.delivery.cartons_per_pallet
    for start in range(0, len(cartons), size):
        shipment.pallets[world.new_sscc()] = cartons[start : start + size]


def _pack(world: World, at: datetime, unit: str, children: Sequence[str], *, parent: str | None, weight: int) -> None:
    data = {
        "unit_id": unit,
        "parent_unit": parent,
        "children": list(children),
        "transport_seals": [f"T-{unit[-8:]}"],
        "gross_weight": f"{weight}.0",
    }
    reached = tuple(children) if parent else ()
    referred = () if parent else tuple(children)
    world.say(at, WAREHOUSE, "delivery.packed", unit, data, members=reached, refers_to=referred)


def _delivery_note(shipment: Shipment, at: datetime) -> Paper:
    rows = [
        (pallet, carton, meter.title)
        for pallet, cartons in shipment.pallets.items()
        for carton in cartons
        for meter in shipment.cartons[carton]
    ]
    return Paper(
        FACTORY,
        f"delivery-note-{shipment.name}.csv",
        "text/csv",
        as_csv(["pallet", "carton", "system_title"], rows),
        title=f"Delivery note of shipment {shipment.name}",
        kind="record",
        covers_from=at.date(),
        covers_until=at.date(),
        produced_at=at,
        links=(("shipment", shipment.subject),),
    )


def members(shipment: Shipment) -> tuple[str, ...]:
    """Subjects of the meters on board."""
    return tuple(meter.subject for meter in shipment.meters)


def release_keys(world: World, shipment: Shipment) -> None:
    """Encrypt the keys of the shipment's meters to the utility; two approvers, neither of them from the cell."""
    at = world.hours.office_hour(_at(shipment.dispatched_at) + timedelta(hours=2))
    name = f"KB-{shipment.name[2:]}"
    shipment.bundle = f"key_bundle:{FACTORY}:{name}"
    listed = Paper(
        FACTORY,
        f"bundle-members-{name}.json",
        "application/json",
        as_json(list(members(shipment))),
        title=f"Meters of key bundle {name}",
        kind="record",
        covers_from=at.date(),
        covers_until=at.date(),
        produced_at=at,
        links=(("shipment", shipment.subject),),
    )
    world.papers.append(listed)
    commitments = sorted(key.commitment for meter in shipment.meters for key in meter.keys.values())
    world.say(
        at,
        KEY_OFFICE,
        "keys.bundle_released",
        shipment.bundle,
        {
            "bundle_id": name,
            "shipment_id": shipment.subject,
            "recipient": shipment.utility,
            "recipient_kid": f"sha256:{world.digest('recipient', shipment.utility)}",
            "format": "hpke-bundle",
            "ciphertext_sha256": world.digest("ciphertext", name),
            "meter_count": len(shipment.meters),
            "commitment_root": merkle.root([merkle.leaf_hash(bytes.fromhex(one)) for one in commitments]).hex(),
            "expires_at": format_time(at + BUNDLE_VALID),
            "approvers": [people.person(FACTORY, "keys-1"), people.person(FACTORY, "keys-2")],
            "members_sha256": listed.sha256,
        },
        members=members(shipment),
        refers_to=(shipment.subject,),
        papers=(listed,),
    )


def take_in(world: World, shipment: Shipment) -> None:
    """Receive the pallets and compare every identity, some seals and some images with what was promised."""
    delivery = world.parameters.delivery
    chance = world.chance("goods-in", shipment.name)
    desk = people.goods_in(shipment.consignee)
    received_at = _at(shipment.received_at)
    clerk = people.KEYS[desk.signers[0]].holder.id
    world.say(
        received_at,
        desk,
        "delivery.received",
        shipment.subject,
        {
            "shipment_id": shipment.name,
            "received_units": list(shipment.pallets),
            "condition": "ok",
            "transport_seals_seen": [f"T-{pallet[-8:]}" for pallet in shipment.pallets],
            "received_by": clerk,
            "handover_from": CARRIER,
        },
        members=members(shipment),
    )
    low, high = delivery.goods_in_days
    at = world.hours.office_hour(later(received_at, chance, 24 * low, 24 * high))
    shipment.inspected_at = at
    sample = chance.sample(shipment.meters, min(delivery.seal_and_firmware_sample, len(shipment.meters)))
    world.say(
        at,
        desk,
        "delivery.inspected",
        shipment.subject,
        {
            "shipment_id": shipment.name,
            "expected_count": len(shipment.meters),
            "found_count": len(shipment.meters),
            "missing": [],
            "unexpected": [],
            "seal_results": [
                {"subject": meter.subject, "point": point, "number": number, "result": "intact"}
                for meter in sample
                for point, number in meter.seals.items()
            ],
            "identity_sample": {"method": "full", "checked": len(shipment.meters)},
            "firmware_sample": [
                {"subject": meter.subject, "image_sha256": world.image(meter.kind, meter.firmware)} for meter in sample
            ],
            "outcome": "accepted",
        },
        members=members(shipment),
    )


def acknowledge_keys(world: World, shipment: Shipment) -> None:
    """The utility decrypts the bundle and recomputes every commitment."""
    delivery = world.parameters.delivery
    chance = world.chance("acknowledgement", shipment.name)
    hours = log_normal(chance, delivery.acknowledgement_median_hours, delivery.acknowledgement_sigma)
    released_at = world.hours.office_hour(_at(shipment.dispatched_at) + timedelta(hours=2))
    at = world.hours.office_hour(released_at + timedelta(hours=hours))
    shipment.acknowledged_at = at
    name = shipment.bundle.split(":")[2]
    data = {
        "bundle_id": name,
        "ciphertext_sha256": world.digest("ciphertext", name),
        "decrypted_count": len(shipment.meters),
        "mismatch_list": [],
        "proof_method": "commitments recomputed",
        "import_target": f"he-{shipment.utility}",
    }
    desk = people.key_import(shipment.utility)
    world.say(at, desk, "keys.bundle_acknowledged", shipment.bundle, data, members=members(shipment))


def _change_hands(world: World, shipment: Shipment) -> None:
    """The first utility buys what it stores and lets the installer fetch it; the second buys after installation."""
    accepted_at = max(_at(shipment.inspected_at), _at(shipment.acknowledged_at))
    in_stock_at = accepted_at
    if shipment.utility == people.FIRST_UTILITY:
        at = world.hours.office_hour(accepted_at + timedelta(days=world.parameters.delivery.ownership_days))
        _transfer(world, shipment, at, people.sale(shipment.utility), "ownership", FACTORY, shipment.utility)
        at = world.hours.office_hour(at + timedelta(days=1))
        desk = people.hand_over(shipment.utility, INSTALLER)
        _transfer(world, shipment, at, desk, "possession", shipment.utility, INSTALLER)
        in_stock_at = at
    for meter in shipment.meters:
        meter.in_stock_at = meter.free_at = in_stock_at


def _transfer(
    world: World, shipment: Shipment, at: datetime, desk: people.Desk, kind: str, giver: str, taker: str
) -> None:
    data = transfer_data(world, at, kind, giver, taker)
    world.say(at, desk, "ownership.transferred", shipment.subject, data, members=members(shipment))


def transfer_data(world: World, at: datetime, kind: str, giver: str, taker: str) -> dict[str, object]:
    """What both sides sign when title, control or possession moves."""
    return {
        "kind": kind,
        "from_party": giver,
        "to_party": taker,
        "effective_at": format_time(at),
        "contract_ref": f"C-{world.seed}-{giver}-{taker}",
        "conditions": None,
    }


def _at(moment: datetime | None) -> datetime:
    if moment is None:
        raise ValueError("the shipment has not got so far")
    return moment
