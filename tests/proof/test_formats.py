"""The written formats agree with the code: schemas with the vectors, reason codes with the list."""

import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from compliance.proof.errors import REASONS
from tests.proof.vectors import CASES, METERPROOF

ROOT = Path(__file__).resolve().parents[2]
FORMATS = ROOT / "docs/formats"
SCHEMAS = {
    path.name.removesuffix(".schema.json"): json.loads(path.read_text()) for path in FORMATS.glob("*.schema.json")
}
REGISTRY: Registry[Any] = Registry().with_resources(
    (schema["$id"], Resource.from_contents(schema)) for schema in SCHEMAS.values()
)


def validate(name: str, value: object, definition: str | None = None) -> None:
    """Raise unless `value` fits the schema `name`."""
    schema = SCHEMAS[name] if definition is None else {"$ref": f"{SCHEMAS[name]['$id']}#/$defs/{definition}"}
    Draft202012Validator(schema, registry=REGISTRY).validate(value)


def payload(envelope: dict[str, Any]) -> Any:
    return json.loads(base64.b64decode(envelope["payload"]))


def test_the_schemas_are_schemas():
    assert sorted(SCHEMAS) == ["batch-payload", "bundle", "entry", "envelope", "event", "receipt", "trust"]
    for schema in SCHEMAS.values():
        Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("case", [case for case in CASES if case["expect"] == "ok"], ids=lambda case: case["id"])
def test_what_is_valid_fits_its_schema(case):
    path = METERPROOF / case["file"]
    if case["kind"] in ("event", "entry"):
        validate(case["kind"], json.loads(path.read_bytes()))
    elif case["kind"] == "receipt":
        envelope = json.loads(path.read_bytes())
        validate("envelope", envelope)
        validate("receipt", payload(envelope))
    elif case["kind"] == "batch":
        text = path.read_bytes()
        sent = json.loads(text) if path.suffix == ".json" else None
        envelope = sent["envelope"] if sent else json.loads(text.split(b"\n")[0])
        validate("envelope", envelope)
        validate("batch-payload", payload(envelope))
    elif case["kind"] == "bundle":
        bundle = json.loads(path.read_bytes())
        validate("bundle", bundle)
        validate("bundle", payload(bundle["heads"]), "heads_payload")
    else:
        assert case["kind"] in ("log", "checkpoint"), "another kind needs a schema or a word here"


def test_trust_files_fit_their_schema():
    for folder in ("trust", "trust-other-pin"):
        validate("trust", json.loads((METERPROOF / folder / "trust.json").read_bytes()))


def written_codes() -> set[str]:
    """The codes in the table of the formats page."""
    text = (FORMATS / "README.md").read_text()
    rows = [line.split("|")[1] for line in text[text.index("| code | means |") :].splitlines() if line.startswith("|")]
    return {code for row in rows for code in re.findall(r"`([a-z0-9_.]+)`", row)}


def test_every_reason_code_is_written_down():
    assert written_codes() == set(REASONS)


def test_every_reason_code_is_a_known_one():
    """No ProofError is raised with a code that the formats page does not explain."""
    used: set[str] = set()
    for path in (ROOT / "compliance/proof").glob("*.py"):
        used |= set(
            re.findall(r'(?:ProofError|NotCheckable|_refuse|fail)\(\s*"([a-z]+\.[a-z0-9_]+)"', path.read_text())
        )
    assert used <= set(REASONS)
    assert len(used) > 60


def test_every_reason_code_has_a_case_that_ends_with_it():
    """Each code stands in a test of refusals, so nobody can break one unseen. Those of PDFs stand in tests/reports."""
    tests = "".join(
        path.read_text() for path in Path(__file__).parent.glob("test_*.py") if path.name != Path(__file__).name
    )
    owed = {code for code in REASONS if not code.startswith("report.")}
    tested = {case["expect"] for case in CASES} | {
        code for code in REASONS if f'"{code}"' in tests or f"{code}:" in tests
    }
    assert tested >= owed - {"violation.second_signature"}
    assert "violation.second_signature" in tests
