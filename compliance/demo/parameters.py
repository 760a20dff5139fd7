"""The figures of the simulated factory and field, read from `fixtures/demo/parameters.yaml`."""

import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from datetime import date
from pathlib import Path
from typing import Any

import yaml

PARAMETERS_FILE = Path(__file__).resolve().parents[2] / "fixtures" / "demo" / "parameters.yaml"


@dataclass(frozen=True, slots=True)
class Calendar:
    """When anything happens."""

    starts: date
    ends: date
    holidays: tuple[str, ...]
    shifts: tuple[str, ...]
    production_weeks: int


@dataclass(frozen=True, slots=True)
class ProductType:
    """One meter type the factory makes; `share` of all meters, `carton` pieces in a box."""

    code: str
    name: str
    share: float
    hardware: str
    carton: int
    units_per_hour: int
    firmware: str
    update: str


@dataclass(frozen=True, slots=True)
class Product:
    """What the factory makes."""

    manufacturer_flag: str
    gtin_prefix: str
    types: tuple[ProductType, ...]
    key_roles: tuple[str, ...]
    shared_roles: tuple[str, ...]
    seal_points: tuple[str, ...]
    components_per_lot: int
    takt_shape: float


@dataclass(frozen=True, slots=True)
class Cell:
    """The secured cell: sessions and yield."""

    smallest_number_of_sessions: int
    largest_session: int
    minutes_inside: float
    identity_yield: float
    firmware_yield: float
    keys_yield: float
    anchors_yield: float
    personalisation_yield: float
    test_yield: float
    seal_yield: float
    pass_on_first_retest: float
    pass_on_second_retest: float
    rework_returns: float
    at_least: Mapping[str, int]
    seals_per_roll: int
    clock_sigma_milliseconds: float


@dataclass(frozen=True, slots=True)
class Delivery:
    """From the exit gate to trusted stock."""

    smallest_number_of_shipments: int
    cartons_per_pallet: int
    pallets_per_shipment: int
    hours_to_dispatch: float
    transit_median_hours: float
    transit_sigma: float
    goods_in_days: tuple[int, ...]
    seal_and_firmware_sample: int
    acknowledgement_median_hours: float
    acknowledgement_sigma: float
    ownership_days: float
    share_to_first_utility: float


@dataclass(frozen=True, slots=True)
class Field:
    """From the shelf to the wall, and what happens there."""

    mean_stock_days: float
    longest_stock_days: float
    installed_share: float
    commissioned_same_day: float
    commissioned_within_week: float
    rotation_median_days: float
    firmware_campaign_day: int
    firmware_waves: tuple[float, ...]
    firmware_fails_first_try: float
    false_tamper_per_year: float
    true_tamper_per_year: float
    tenant_change_per_year: float
    removal_per_year: float
    attested_share: float
    late_upload_share: float
    late_upload_days: tuple[int, ...]
    hand_held_clock_sigma_seconds: float
    at_least: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Evidence:
    """The period the evidence files speak of."""

    covers_from: date
    covers_until: date


@dataclass(frozen=True, slots=True)
class Plants:
    """How many anomalies are planted."""

    smallest_run: int
    meters_per_plant: int
    most_per_detector: int


@dataclass(frozen=True, slots=True)
class Parameters:
    """All of it."""

    calendar: Calendar
    product: Product
    cell: Cell
    delivery: Delivery
    field: Field
    evidence: Evidence
    plants: Plants

    @classmethod
    def load(cls, path: Path = PARAMETERS_FILE) -> "Parameters":
        """Read `path`. A name too many or too few is an error, so that no figure is silently ignored."""
        return typing.cast(
            Parameters, _build(cls, yaml.safe_load(path.read_text(encoding="utf-8")), place="parameters")
        )


def _build(wanted: Any, value: Any, *, place: str) -> Any:
    if is_dataclass(wanted):
        kinds = typing.get_type_hints(wanted)
        names = {field.name for field in fields(wanted)}
        if not isinstance(value, dict) or set(value) != names:
            given = set(value) if isinstance(value, dict) else set()
            raise ValueError(f"{place}: missing {sorted(names - given)}, unknown {sorted(given - names)}")
        return typing.cast(Any, wanted)(
            **{name: _build(kinds[name], value[name], place=f"{place}.{name}") for name in names}
        )
    origin = typing.get_origin(wanted)
    if origin is tuple:
        inner = typing.get_args(wanted)[0]
        return tuple(_build(inner, one, place=f"{place}[{number}]") for number, one in enumerate(value))
    if origin is not None:
        return types.MappingProxyType(dict(value))
    return wanted(value) if wanted in {float, int} else value
