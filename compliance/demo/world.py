"""What the simulation knows of each thing while it runs: meters, sessions, shipments; and where chance comes from."""

import hashlib
import hmac
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any

from compliance.demo import people
from compliance.demo.papers import Paper
from compliance.demo.parameters import Parameters, ProductType
from compliance.demo.people import Desk, Holder
from compliance.demo.statements import Statement, Timeline
from compliance.demo.working_hours import WorkingHours


@dataclass(slots=True)
class MeterKey:
    """What the ledger may know of a key: a commitment to it, and a tag that equal keys share."""

    role: str
    commitment: str
    registry_tag: str
    generation: int


@dataclass(slots=True, eq=False)
class Meter:
    """One meter of the simulated factory, as it really is."""

    subject: str
    title: str
    kind: ProductType
    serial: int
    customer: str
    born_at: datetime
    keys: dict[str, MeterKey] = field(default_factory=dict)
    generation: int = 0
    steps: list[str] = field(default_factory=list)  # ids of the events of its present pass through the cell
    seals: dict[str, str] = field(default_factory=dict)
    firmware: str = ""
    certificate: str = ""
    session: "CellSession | None" = None
    exited_at: datetime | None = None
    shipment: "Shipment | None" = None
    in_stock_at: datetime | None = None
    commissioned_at: datetime | None = None
    fate: str = ""
    scrapped: bool = False
    passes: int = 0
    register_tenths: int = 0
    free_at: datetime | None = None  # when its last event was over


@dataclass(slots=True, eq=False)
class CellSession:
    """One shift of the secured cell."""

    subject: str
    name: str
    desk: Desk
    kind: ProductType
    customer: str
    starts_at: datetime
    planned: int
    order: str
    entered: int = 0
    exited: int = 0
    reworked: int = 0
    scrapped: int = 0
    keys_generated: int = 0
    keys_destroyed: int = 0
    seals_applied: int = 0
    seals_voided: int = 0
    meters: list[Meter] = field(default_factory=list)

    @property
    def labels(self) -> Sequence[str]:
        """Labels of the two people on duty."""
        return [name.split("/")[1] for name in self.desk.signers]


@dataclass(slots=True, eq=False)
class Shipment:
    """Meters on their way from the factory to a consignee, for one utility."""

    subject: str
    name: str
    utility: str
    consignee: str
    meters: list[Meter]
    bundle: str = ""
    cartons: dict[str, list[Meter]] = field(default_factory=dict)
    pallets: dict[str, list[str]] = field(default_factory=dict)
    dispatched_at: datetime | None = None
    received_at: datetime | None = None
    inspected_at: datetime | None = None
    acknowledged_at: datetime | None = None


@dataclass(slots=True)
class World:
    """The state of the simulation, and the timeline that it writes."""

    parameters: Parameters
    seed: int
    timeline: Timeline
    hours: WorkingHours
    papers: list[Paper] = field(default_factory=list)
    meters: list[Meter] = field(default_factory=list)
    sessions: list[CellSession] = field(default_factory=list)
    shipments: list[Shipment] = field(default_factory=list)
    seal_number: int = 0
    sscc_number: int = 0
    serials: dict[str, int] = field(default_factory=dict)

    @classmethod
    def create(cls, parameters: Parameters, seed: int) -> "World":
        """An empty world."""
        return cls(parameters, seed, Timeline(seed), WorkingHours(parameters.calendar))

    def chance(self, *purpose: object) -> Random:
        """A stream of chance of its own for each purpose, so that one change does not move everything else."""
        return Random("/".join(str(part) for part in (self.seed, *purpose)))  # noqa: S311  a simulation, no secrets

    def digest(self, *purpose: object) -> str:
        """A made-up SHA-256 that only depends on the seed and the purpose."""
        return hashlib.sha256("/".join(str(part) for part in (self.seed, *purpose)).encode()).hexdigest()

    def new_key(self, meter: Meter, role: str, generation: int) -> MeterKey:
        """A key of `meter`. A role that is shared has one key for the whole customer; its commitment differs still."""
        shared = role in self.parameters.product.shared_roles
        whose = meter.customer if shared else meter.subject
        secret = bytes.fromhex(self.digest("key", whose, role, 1 if shared else generation))[:16]
        salt = bytes.fromhex(self.digest("salt", meter.subject, role, generation))
        statement = f"smsc-keycommit-v1|{role}|{meter.subject}|{generation}|".encode() + secret
        registry_key = bytes.fromhex(self.digest("registry"))
        return MeterKey(
            role,
            hmac.new(salt, statement, hashlib.sha256).hexdigest(),
            hmac.new(registry_key, secret, hashlib.sha256).hexdigest(),
            generation,
        )

    def new_seal(self) -> tuple[str, str]:
        """Number and roll of the next seal."""
        number = self.seal_number
        self.seal_number += 1
        roll = number // self.parameters.cell.seals_per_roll
        return f"S-{self.seed}-{number:06d}", f"ROLL-{self.seed}-{roll + 1}"

    def new_sscc(self) -> str:
        """Subject of the next logistic unit."""
        self.sscc_number += 1
        prefix = self.parameters.product.gtin_prefix[1:]
        digits = f"3{prefix}{self.seed % 1000:03d}{self.sscc_number:06d}"
        return f"logistic_unit:sscc:{digits}{gs1_check_digit(digits)}"

    def say(self, at: datetime, desk: Desk, code: str, subject: str, data: dict[str, Any], **more: Any) -> Statement:
        """Write a statement; people named by `desk` speak unless `holders` says who does."""
        more.setdefault("holders", [people.KEYS[name].holder for name in desk.signers])
        return self.timeline.say(at, desk, code, subject, data, **more)

    def firmware(self, kind: ProductType, version: str) -> str:
        """Subject of a firmware release."""
        return f"firmware:{people.FACTORY}:{kind.code}-{version}-{self.seed}"

    def image(self, kind: ProductType, version: str) -> str:
        """Digest of a firmware image."""
        return self.digest("image", kind.code, version)

    def meter_type(self, kind: ProductType) -> str:
        """Subject of a meter type."""
        return f"meter_type:{people.FACTORY}:{kind.code}-{self.seed}"

    def type_code(self, kind: ProductType) -> str:
        """Type code on the label."""
        return f"{kind.code}-{self.seed}"


def gs1_check_digit(digits: str) -> int:
    """Check digit of GS1 keys: from the right, weights 3 and 1 alternating, complement to ten."""
    total = sum(int(digit) * (3 if place % 2 == 0 else 1) for place, digit in enumerate(reversed(digits)))
    return -total % 10


def log_normal(chance: Random, median: float, sigma: float) -> float:
    """A positive value around `median`."""
    return median * math.exp(chance.gauss(0, sigma))


def holder(organisation: str, label: str) -> Holder:
    """Who holds the key with this label."""
    return people.KEYS[f"{organisation}/{label}"].holder


def later(moment: datetime, chance: Random, low: float, high: float) -> datetime:
    """`moment` and between `low` and `high` hours."""
    return moment + timedelta(hours=chance.uniform(low, high))


def spread(total: int, shares: Sequence[float]) -> list[int]:
    """Split `total` by `shares`, largest remainder first, so that the parts sum up."""
    exact = [total * share / sum(shares) for share in shares]
    parts = [int(value) for value in exact]
    by_remainder = sorted(range(len(parts)), key=lambda place: exact[place] - parts[place], reverse=True)
    for place in by_remainder[: total - sum(parts)]:
        parts[place] += 1
    return parts
