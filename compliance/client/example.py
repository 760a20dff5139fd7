"""A file of events to start from: a type, a firmware, a component lot and three meters on the line."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from compliance.proof import subject as subjects
from compliance.proof.errors import ProofError
from compliance.proof.times import format_time

METERS = 3
TYPE_CODE = "M100"


def events(organisation: str, flag: str, *, now: datetime | None = None) -> str:
    """NDJSON of unsigned events of `organisation`. Subjects of meters are typed; ids are left to the client."""
    if not subjects.is_organisation_id(organisation):
        raise ProofError("subject.form", f"{organisation!r} is no organisation id")
    if not (len(flag) == 3 and flag.isascii() and flag.isalpha() and flag.isupper()):
        raise ProofError("subject.form", f"{flag!r} is not three upper-case letters")
    start = (now or datetime.now(UTC)).replace(microsecond=0) - timedelta(hours=2)
    lines = [
        _event(start, f"meter_type:{organisation}:{TYPE_CODE}", "design.type_registered", _type(flag)),
        _event(start, f"component_lot:{organisation}:PCB-1", "mfg.component_received", _lot()),
    ]
    for number in range(1, METERS + 1):
        typed = {"kind": "meter", "scheme": "dlms_system_title", "value": f"{flag.encode().hex()}01{number:08x}"}
        at = start + timedelta(minutes=10 * number)
        lines.append(_event(at, typed, "mfg.assembled", _assembled(organisation, flag, number)))
        lines.append(_event(at + timedelta(minutes=5), typed, "mfg.calibrated", _calibrated(start)))
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


def _event(at: datetime, subject: str | dict[str, str], code: str, data: dict[str, Any]) -> dict[str, Any]:
    return {"type": code, "subject": subject, "occurred_at": format_time(at), "data": data}


def _type(flag: str) -> dict[str, Any]:
    return {
        "type_code": TYPE_CODE,
        "hardware_revision": "A",
        "manufacturer_flag": flag,
        "market_profiles": ["dlms"],
        "key_roles_expected": ["MASTER_KEK", "GUEK", "GAK"],
        "security_suite": 0,
        "seal_points": ["terminal-cover", "housing"],
        "threat_model_ref": "TM-1",
    }


def _lot() -> dict[str, Any]:
    return {
        "supplier": "board-house-1",
        "component_type": "PCB",
        "lot_id": "PCB-1",
        "quantity": 100,
        "delivery_note_ref": "DN-1",
        "inspection_result": "pass",
    }


def _assembled(organisation: str, flag: str, number: int) -> dict[str, Any]:
    return {
        "identifiers": [{"scheme": "dlms_ldn", "value": f"{flag}1{number:012d}"}],
        "type_code": TYPE_CODE,
        "production_order": "PO-1",
        "line": "L1",
        "component_lots": [f"component_lot:{organisation}:PCB-1"],
    }


def _calibrated(start: datetime) -> dict[str, Any]:
    return {
        "standard_ref": "EN 50470-3",
        "bench_id": "B1",
        "bench_calibration_due": f"{start.year + 1}-12-01",
        "result": "pass",
        "registers_after_test": {"import_kwh": "0.2"},
        "mid_module": "D",
        "marking_year": start.year,
        "notified_body_no": "0102",
    }
