"""Our own cases: 71 that verify and 25 with one defect each, by reason code, exit status and what must be said."""

import pytest

from compliance.proof import canonical, entry, merkle
from compliance.proof.verify import Asked, verify_file
from tests.proof.vectors import CASES, METERPROOF, load


def test_the_cases_are_all_there():
    assert len(CASES) == 96
    assert sum(case["expect"] == "ok" for case in CASES) == 71


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_case(case):
    asked = Asked(keys=METERPROOF / case["keys"]) if "keys" in case else None
    verdict = verify_file(METERPROOF / case["file"], METERPROOF / case["trust"], asked=asked)
    assert (verdict.error.code if verdict.error else "ok") == case["expect"], verdict.error
    assert verdict.exit_status == case["exit"]
    assert verdict.kind == case["kind"]
    assert verdict.redacted == case.get("redacted", [])
    for name in ("batch_id", "root"):
        if name in case:
            assert verdict.facts[name] == case[name]
    for wanted in case.get("notes", ()):
        assert any(wanted in said for said in verdict.notes)


@pytest.mark.parametrize(
    "item", load("meterproof/valid/leaf-hashes.json"), ids=lambda item: str(item.get("leaf", item.get("file")))
)
def test_leaf_hashes(item):
    if "file" in item:
        _, event = canonical.read_event_line((METERPROOF / "valid" / item["file"]).read_bytes())
    else:
        data = (METERPROOF / f"valid/entries/{item['leaf']:03d}.json").read_bytes()
        value = entry.read(data)
        assert (value["subject"], value["seq"]) == (item["subject"], item["seq"])
        assert merkle.leaf_hash(data).hex() == item["entry_hash"]
        event = entry.event_bytes(data)
    assert merkle.leaf_hash(event).hex() == item["event_hash"]


def test_leaf_hashes_of_the_loose_spelling_are_those_of_the_strict_one():
    _, loose = canonical.read_event_line((METERPROOF / "valid/events/loose-spelling-of-012.json").read_bytes())
    assert loose == (METERPROOF / "valid/events/012.json").read_bytes()
