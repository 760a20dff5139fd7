"""Where the vectors lie, and how tests read them."""

import json
from pathlib import Path
from typing import Any

VECTORS = Path(__file__).resolve().parents[2] / "fixtures" / "vectors"
METERPROOF = VECTORS / "meterproof"


def load(name: str) -> Any:
    """A JSON file of the vectors."""
    return json.loads((VECTORS / name).read_text(encoding="utf-8"))


CASES: list[dict[str, Any]] = load("meterproof/cases.json")


def case(case_id: str) -> dict[str, Any]:
    """One of our own cases."""
    return next(item for item in CASES if item["id"] == case_id)
