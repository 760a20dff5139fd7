"""A factory's week in which every rule is broken once, and all else is honest. Sent by real parties to a real log."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from compliance.custody import links
from tests.custody import world
from tests.custody.world import BUNDLE, SESSION, SHIPMENT, UNIT, Party, event, title

TYPE, FIRMWARE = "meter_type:elster:AS3000", "firmware:elster:AS3000-4.1.2"
HONEST, CLONE, UNTESTED, RESEALED, TWIN, ALIEN = (title(number) for number in range(1, 7))
METERS = (HONEST, CLONE, UNTESTED, RESEALED, TWIN, ALIEN)
STRANGE_IMAGE = "ab" * 32

# What the checks must say, and nothing else: detector, chain, type of the entry, meters.
TRUTH = {
    ("AN-01", TWIN, "mfg.assembled", (TWIN,)),
    ("AN-02", CLONE, "cell.keys_provisioned", (CLONE, HONEST)),
    ("AN-04", UNTESTED, "cell.exited", (UNTESTED,)),
    ("AN-05", SESSION, "cell.session_reconciled", ()),
    ("AN-06", HONEST, "cell.exited", (HONEST,)),
    ("AN-07", ALIEN, "cell.firmware_loaded", (ALIEN,)),
    ("AN-10", RESEALED, "cell.sealed", (RESEALED, HONEST)),
    ("AN-14", UNTESTED, "eol.removed", (UNTESTED,)),
    ("AN-15", SHIPMENT, "delivery.inspected", (CLONE,)),
    ("AN-23", HONEST, "ops.attested", (HONEST,)),
}
SWEPT = {"AN-05", "AN-15"}  # seen by a reading of the whole alone


@dataclass
class Week:
    """The statements in order: who sends, with how many keys, what."""

    parties: dict[str, Party]
    told: list[tuple[str, int, dict[str, Any]]] = field(default_factory=list)

    def say(
        self, sender: str, code: str, subject: str, changes: dict[str, Any] | None = None, *, keys: int = 1
    ) -> None:
        """One statement more."""
        self.told.append((sender, keys, event(code, subject, changes)))

    def send(self, size: int) -> None:
        """Hand in, in batches of at most `size`, and let the platform link what it must."""
        for (sender, keys), run in groupby(self.told, key=lambda said: said[:2]):
            events = [said[2] for said in run]
            for first in range(0, len(events), size):
                self.parties[sender].send(*events[first : first + size], keys=keys)
            while links.append_links():
                pass
        self.told.clear()


def week(parties: dict[str, Party]) -> Week:
    """All of it, not sent yet."""
    told = Week(parties)
    _design(told)
    _make(told)
    _deliver(told)
    _end(told)
    return told


def _design(told: Week) -> None:
    told.say("elster", "design.type_registered", TYPE, {"seal_points": ["housing"]})
    told.say("elster", "design.firmware_released", FIRMWARE, keys=2)


def _make(told: Week) -> None:
    told.say("elster", "cell.session_opened", SESSION, keys=2)
    for number, meter in enumerate(METERS, start=1):
        told.say("elster", "mfg.assembled", meter, {"identifiers": _names(number)})
    told.say("elster", "mfg.assembled", TWIN, {"identifiers": _names(5)})
    for station in world.WORDS.cell_steps:
        for number, meter in enumerate(METERS, start=1):
            if (meter, station) != (UNTESTED, "cell.tested"):
                keys = 2 if station == "cell.keys_provisioned" else 1
                told.say("elster", station, meter, _at(station, number, meter), keys=keys)
    for meter in METERS:
        told.say("elster", "cell.exited", meter, keys=1 if meter == HONEST else 2)
    counted = {"entered": 6, "exited": 6, "reworked": 0, "scrapped": 0, "keys_generated": 61}
    told.say("elster", "cell.session_reconciled", SESSION, counted, keys=2)


def _names(number: int) -> list[dict[str, str]]:
    return [{"scheme": "dlms_ldn", "value": f"ELS{number:013d}"}]


def _at(station: str, number: int, meter: str) -> dict[str, Any]:
    match station:
        case "cell.entered":
            value = meter.rpartition(":")[2]
            return {"label_identity": value, "electronic_identity": value}
        case "cell.firmware_loaded" if meter == ALIEN:
            return {"image_sha256_readback": STRANGE_IMAGE}
        case "cell.keys_provisioned":
            shared = 1 if meter == CLONE else number
            return {"keys": [_key("GUEK", f"u{shared}"), _key("GAK", f"a{number}")]}
        case "cell.sealed":
            applied = 1 if meter == RESEALED else number
            return {"seals": [{"point": "housing", "number": f"S-{applied}", "kind": "manufacturer", "batch": "R-1"}]}
    return {}


def _key(role: str, number: str) -> dict[str, Any]:
    tag = hashlib.sha256(number.encode()).hexdigest()
    members = {"commitment": tag[::-1], "public_key_sha256": None, "registry_tag": tag}
    return {"role": role, "origin": "hsm", "generation": 1, **members}


def _deliver(told: Week) -> None:
    packed = [HONEST, CLONE]
    told.say("elster", "delivery.packed", UNIT, {"children": packed, "unit_id": UNIT})
    told.say("elster", "keys.bundle_released", BUNDLE, {"meters": packed, "meter_count": 2}, keys=2)
    told.say("elster", "delivery.dispatched", SHIPMENT, {"units": [UNIT], "meter_count": 2})
    told.say("stadtwerk", "delivery.received", SHIPMENT)
    found = {"expected_count": 2, "found_count": 1, "missing": [CLONE], "seal_results": [_seal(HONEST, 1)]}
    sample = [{"subject": HONEST, "image_sha256": world.WORDS.events["ops.attested"].example["firmware_sha256"]}]
    told.say("stadtwerk", "delivery.inspected", SHIPMENT, {**found, "firmware_sample": sample})


def _seal(meter: str, number: int) -> dict[str, Any]:
    return {"subject": meter, "point": "housing", "number": f"S-{number}", "result": "intact"}


def _end(told: Week) -> None:
    told.say("installateur", "eol.removed", UNTESTED, {"seals_seen": []})
    told.say("stadtwerk", "eol.decommissioned", HONEST)
    told.say("stadtwerk", "ops.attested", HONEST)


def as_truth(found: Sequence[Any]) -> Iterator[tuple[str, str, str, tuple[str, ...]]]:
    """Suspicions or findings in the form of `TRUTH`."""
    return ((each.detector, each.subject, each.event_type, tuple(each.meters)) for each in found)
