"""Who takes part: organisations, their people and machines, and which desk signs what.

All names are invented. People are pseudonymous ids; two keys of one person stand for a renewed one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Algorithm = Literal["ed25519", "ecdsa_p256_sha256"]

FACTORY = "aurel"
CARRIER = "lindqvist"
FIRST_UTILITY = "northgrid"
SECOND_UTILITY = "westmere"
INSTALLER = "fitwell"
RECYCLER = "secondlife"
CERTIFIER = "certis"


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a key: `kind` is person, station or service, as in an event's actor."""

    kind: str
    id: str

    @property
    def actor(self) -> dict[str, str]:
        """The form an event or a key registration uses."""
        return {self.kind: self.id}


@dataclass(frozen=True, slots=True)
class KeyPlan:
    """A signing key the organisation will make. `name` is unique in the whole demo: `<organisation>/<label>`."""

    name: str
    organisation: str
    holder: Holder
    algorithm: Algorithm


@dataclass(frozen=True, slots=True)
class OrganisationPlan:
    """An organisation as the administrator registers it. The first of `keys` is the one the platform vouches for."""

    id: str
    name: str
    roles: tuple[str, ...]
    keys: tuple[KeyPlan, ...]


@dataclass(frozen=True, slots=True)
class Desk:
    """A place that signs batches: the source named in them, the organisation, and the keys it signs with."""

    source: str
    organisation: str
    signers: tuple[str, ...]

    @property
    def queue(self) -> str:
        """What is said here goes out in one order, whoever is on duty."""
        return f"{self.organisation}/{self.source}"


def _organisation(
    id: str,  # noqa: A002  an organisation's id is called id
    name: str,
    roles: Sequence[str],
    people: Sequence[str],
    machines: Sequence[tuple[str, str]] = (),
    renewed: Sequence[str] = (),
) -> OrganisationPlan:
    keys = [KeyPlan(f"{id}/{label}", id, Holder("person", f"p-{id[:3]}-{label}"), "ed25519") for label in people]
    keys += [
        KeyPlan(f"{id}/{label}", id, Holder(kind, f"{kind[:2]}-{label}"), "ecdsa_p256_sha256")
        for kind, label in machines
    ]
    keys += [
        KeyPlan(f"{id}/{label}-renewed", id, Holder("person", f"p-{id[:3]}-{label}"), "ecdsa_p256_sha256")
        for label in renewed
    ]
    return OrganisationPlan(id, name, tuple(sorted(roles)), tuple(keys))


_UTILITY_PEOPLE = ("security", "goods-in", "contracts", "meters", "review")

ORGANISATIONS = (
    _organisation(
        FACTORY,
        "Aurel Metering",
        ["manufacturer"],
        [
            "security",
            "build",
            "release",
            "early-1",
            "early-2",
            "late-1",
            "late-2",
            "keys-1",
            "keys-2",
            "dispatch",
            "contracts",
        ],
        [("station", "line-1")],
        renewed=["build"],
    ),
    _organisation(CARRIER, "Lindqvist Freight", ["logistics_provider"], ["security"]),
    _organisation(
        FIRST_UTILITY,
        "Northgrid",
        ["utility", "operator", "head_end"],
        _UTILITY_PEOPLE,
        [("service", "head-end")],
    ),
    _organisation(
        SECOND_UTILITY, "Westmere Energy", ["utility", "operator"], _UTILITY_PEOPLE, [("service", "head-end")]
    ),
    _organisation(
        INSTALLER,
        "Fitwell Field Service",
        ["installer"],
        ["security", "depot"],
        [("station", "van-1"), ("station", "van-2")],
    ),
    _organisation(RECYCLER, "Secondlife Recycling", ["recycler", "triage_facility"], ["security", "wipe-1", "wipe-2"]),
    _organisation(CERTIFIER, "Certis Conformity", ["certification_body"], ["security"]),
)

KEYS = {key.name: key for organisation in ORGANISATIONS for key in organisation.keys}
VANS = ("van-1", "van-2")
SHIFT_PAIRS = (("early-1", "early-2"), ("late-1", "late-2"))


def desk(organisation: str, source: str, *labels: str) -> Desk:
    """The desk `source` of `organisation`, signing with the keys of these labels (or full names, for another's key)."""
    names = tuple(label if "/" in label else f"{organisation}/{label}" for label in labels)
    for name in names:
        if name not in KEYS:
            raise KeyError(name)
    return Desk(source, organisation, names)


def person(organisation: str, label: str) -> str:
    """The pseudonymous id of the holder of that key."""
    return KEYS[f"{organisation}/{label}"].holder.id


DESIGN = desk(FACTORY, "design", "build", "release")
PURCHASING = desk(FACTORY, "purchasing", "dispatch")
LINE = desk(FACTORY, "line-1", "line-1")
CELL = tuple(desk(FACTORY, "cell-1", *pair) for pair in SHIFT_PAIRS)  # one queue, signed by the pair on duty
KEY_OFFICE = desk(FACTORY, "key-office", "keys-1", "keys-2")
WAREHOUSE = desk(FACTORY, "warehouse", "dispatch")
CERTIFICATION = desk(CERTIFIER, "certification", "security")
FREIGHT = desk(CARRIER, "freight", "security")
DEPOT = desk(INSTALLER, "depot", "depot")
TRIAGE = desk(RECYCLER, "triage", "wipe-1")
WIPING = desk(RECYCLER, "wiping", "wipe-1", "wipe-2")


def sale(utility: str) -> Desk:
    """Where the factory and `utility` sign a change of title together."""
    return desk(FACTORY, f"sales-{utility}", "contracts", f"{utility}/contracts")


def hand_over(giver: str, taker: str) -> Desk:
    """Where a utility hands meters to another party, both signing."""
    taking = {INSTALLER: "depot", FACTORY: "contracts"}[taker]
    return desk(giver, f"hand-over-{taker}", "contracts", f"{taker}/{taking}")


def goods_in(party: str) -> Desk:
    """Where shipments arrive."""
    return DEPOT if party == INSTALLER else desk(party, "goods-in", "goods-in")


def key_import(utility: str) -> Desk:
    """Where delivered keys are decrypted and checked."""
    return desk(utility, "key-import", "security")


def head_end(utility: str) -> Desk:
    """The machine that operates the meters."""
    return desk(utility, "head-end", "head-end")


def meter_desk(utility: str) -> Desk:
    """Where a person decides about single meters."""
    return desk(utility, "meter-desk", "meters")


def review(utility: str) -> Desk:
    """Where two people lift a quarantine."""
    return desk(utility, "review", "meters", "review")


def van(name: str) -> Desk:
    """A fitter's hand-held."""
    return desk(INSTALLER, name, name)
