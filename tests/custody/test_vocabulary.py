"""The vocabulary as data: complete, consistent, and refused where it contradicts itself."""

import copy
import hashlib
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from compliance.accounts.roles import MarketRole
from compliance.custody import profiles, vocabulary
from compliance.proof.event import required_signers

ROOT = Path(vocabulary.__file__).parents[2]
EVENTS = yaml.safe_load((vocabulary.FOLDER / "events.yaml").read_text())
DATA = yaml.safe_load((vocabulary.FOLDER / "data.yaml").read_text())
MARKETS = sorted(set(profiles.load()) - {profiles.default().id})


def test_42_types_18_states_7_tracks():
    words = vocabulary.load()
    assert len(words.events) == 42
    assert len(words.states) == 18
    assert len(words.tracks) == 7
    assert words.terminal_states == {"disposed", "scrapped"}
    assert words.birth_type == "mfg.assembled"


def test_every_type_of_the_file_is_there_as_written():
    words = vocabulary.load()
    for event in EVENTS["events"]:
        event_type = words.events[event["code"]]
        assert event_type.number == event["no"]
        assert event_type.from_states == set(event["from_states"])
        assert event_type.to_state == event["to_state"]
        assert event_type.required_fields == tuple(event["required_fields"])
        assert event_type.expands == event.get("expands", False)
        assert event_type.signature_rule == event["signatures"].get("rule")
        written = (event.get("effects") or {}).get("by_outcome", {})
        for word, effects in written.items():
            if word != "field":
                assert event_type.effects_by_word[word] == effects


def test_the_digest_is_that_of_the_file():
    assert (
        vocabulary.vocabulary_sha256() == hashlib.sha256((vocabulary.FOLDER / "events.yaml").read_bytes()).hexdigest()
    )


def test_the_offline_verifier_asks_for_the_same_second_signatures():
    """`proof` must know these types without the vocabulary's file."""
    for code, event_type in vocabulary.load().events.items():
        for data in ({}, {"outcome": "scrap"}, {"outcome": "rework"}):
            asked = event_type.signature_rule if event_type.asks_second_signature(data) else None
            assert required_signers({"type": code, "data": data}) == asked, code


def test_emitters_are_roles_an_organisation_can_have():
    assert vocabulary.load().roles - {"system"} == set(MarketRole.values)


def test_platform_types_are_not_events_of_the_vocabulary():
    words = vocabulary.load()
    assert len(words.platform_types) == 21
    assert "log.restored" in words.platform_types
    assert not words.platform_types & set(words.events)


def _set(path: str, value: Any) -> Any:
    def change(events: dict[str, Any], data: dict[str, Any]) -> None:
        code, _, member = path.partition("/")
        next(event for event in events["events"] if event["code"] == code)[member] = value

    return change


def _set_data(path: str, value: Any) -> Any:
    def change(events: dict[str, Any], data: dict[str, Any]) -> None:
        names = path.split("/")
        place = data
        for name in names[:-1]:
            place = place[name]
        place[names[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_set("cell.exited/from_states", ["in_cel"]), "in_cel"),
        (_set("cell.exited/to_state", "provisionned"), "provisionned"),
        (_set("cell.exited/effects", {"trust": "very"}), "very"),
        (_set("cell.exited/effects", {"holder": "somebody"}), "somebody"),
        (_set("cell.exited/effects", {"holder": "data.nobody"}), "nobody"),
        (_set("cell.exited/signatures", {"count": 2, "rule": "three_people"}), "three_people"),
        (_set("cell.exited/required_fields", ["session_id", "mood"]), "mood"),
        (_set("cell.exited/from_states", ["none"]), "exactly one"),
        (_set("eol.triaged/to_state", "accepted|in_triage"), "eol.triaged"),
        (_set("eol.triaged/to_state", "="), "moves nothing"),
        (_set_data("types/cell.exited/shape", {}), "cell.exited"),
        (_set_data("outcomes/eol.triaged/leads_to/melt", "disposed"), "eol.triaged"),
        (_set_data("further_effects/ownership.transferred/lease", {"holder": "data.to_party"}), "lease"),
        (_set_data("cell_steps", ["cell.enterd"]), "cell.enterd"),
        (lambda _, data: data["types"].pop("cell.exited"), "cell.exited"),
        (lambda events, _: events["terminal_states"].append("gone"), "gone"),
        (lambda events, _: events["origin_rule"].update(lost=["accepted"]), "lost"),
        (lambda events, _: events["parallel_tracks"].pop("trust"), "trust"),
    ],
)
def test_a_contradiction_stops_the_load(change, says):
    events, data = copy.deepcopy(EVENTS), copy.deepcopy(DATA)
    change(events, data)
    with pytest.raises(vocabulary.VocabularyError, match=re.escape(says)):
        vocabulary.read(events=events, data=data)


def test_no_market_is_named_in_code():
    """The engine knows no market: ids and words of the other profiles stand in data alone."""
    words = {"smets", "gbcs", "dsmr", "bsi_", "silke", "msb", "ofgem", "bnetza", "netbeheerder"}
    words |= {status.lower() for name in MARKETS for status in profiles.load()[name].market_status}
    words -= {"pending", "installed", "commissioned", "decommissioned", "withdrawn", "suspended", "recovery"}
    words -= {"recovered", "not_applicable", "in_bedrijf", "verwijderd"} | set(vocabulary.load().states)
    quoted = "|".join(f"['\"]{name}['\"]" for name in MARKETS)
    pattern = "|".join([quoted, *sorted(words)])
    named = re.compile(pattern, re.IGNORECASE)
    for room in ("custody", "provisioning"):
        for path in (ROOT / "compliance" / room).rglob("*.py"):
            if "migrations" not in path.parts:
                assert named.search(path.read_text()) is None, f"{path} names a market"
