"""The life cycle: the table of the vocabulary, the honest life, and what an event may never move."""

import dataclasses
from typing import Any

import pytest
import yaml

from compliance.custody import profiles, vocabulary
from compliance.custody.lifecycle import Signer, judge
from tests.custody.facts import WORDS, after, fact, folded, life, state_in

RAW = yaml.safe_load((vocabulary.FOLDER / "events.yaml").read_text())
OUTCOMES = yaml.safe_load((vocabulary.FOLDER / "data.yaml").read_text())["outcomes"]
STATES = list(RAW["meter_states"])


def _choices(event: dict[str, Any]) -> list[tuple[dict[str, Any], str | None]]:
    """The changes to the data, and where the vocabulary says they lead (None: they move nothing)."""
    if event["code"] not in OUTCOMES:
        return [({}, event["to_state"])]
    field, leads_to = OUTCOMES[event["code"]]["field"], OUTCOMES[event["code"]]["leads_to"]
    return [({field: word}, target) for word, target in leads_to.items()]


TABLE = [
    (event, changes, target)
    for event in RAW["events"]
    if event["code"] != "record.corrected"
    for changes, target in _choices(event)
]


@pytest.mark.parametrize("state", STATES)
def test_every_event_in_every_state(state):
    """The claimed state follows the table; the assured one only where no violation was found."""
    for event, changes, target in TABLE:
        _follows_the_table(event, state, changes, target)


def _follows_the_table(event: dict[str, Any], state: str, changes: dict[str, Any], target: str | None) -> None:
    before = state_in(state, claimed_origin="provisioned", assured_origin="provisioned")
    judged = judge(before, fact(event["code"], changes=changes), words=WORDS, profile=profiles.default())
    codes = {violation.code for violation in judged.violations}
    legal = state in event["from_states"]
    where = (event["code"], changes, codes)
    if target is None:
        assert not {code for code in codes if code.startswith("transition.")}, where
        assert (judged.state.claimed, judged.state.assured) == (state, state), where
        return
    if state in RAW["terminal_states"]:
        assert "transition.terminal" in codes, where
        assert judged.state == before, where
        return
    assert ("transition.illegal" in codes) == (not legal), where
    origin_breaks = event["code"] == "delivery.inspected" and target not in RAW["origin_rule"]["provisioned"]
    assert ("transition.origin" in codes) == (legal and origin_breaks), where
    expected = {"=": state, "previous": "accepted" if state == "quarantined" else state}.get(target, target)
    assert judged.state.claimed == expected, where
    assert judged.state.assured == (state if judged.violations else expected), where


def test_the_honest_life_has_no_violation():
    result = folded(life())
    assert result.violations == {}
    assert (result.state.claimed, result.state.assured) == ("disposed", "disposed")
    assert result.state.parties() == frozenset()


@pytest.mark.parametrize(
    ("until", "times", "tracks"),
    [
        ("mfg.assembled", 1, {"holder": "elster", "owner": "elster", "controller": None, "trust": "untrusted"}),
        ("mfg.calibrated", 1, {"data_state": "test_data"}),
        ("cell.keys_provisioned", 1, {"key_state": "bound", "controller": "elster", "seal_state": "unsealed"}),
        ("cell.personalised", 1, {"data_state": "empty"}),
        ("cell.exited", 1, {"claimed": "provisioned", "seal_state": "intact", "trust": "trusted"}),
        ("keys.bundle_released", 1, {"key_state": "released", "claimed": "packed"}),
        ("delivery.dispatched", 1, {"holder": "spedition", "owner": "elster"}),
        ("delivery.received", 1, {"holder": "stadtwerk", "owner": "elster"}),
        ("keys.bundle_acknowledged", 1, {"key_state": "acknowledged", "controller": "stadtwerk"}),
        ("ownership.transferred", 1, {"owner": "stadtwerk", "holder": "stadtwerk"}),
        ("ownership.transferred", 2, {"owner": "stadtwerk", "holder": "installateur"}),
        ("install.installed", 1, {"holder": "installateur", "claimed": "installed"}),
        ("install.commissioned", 1, {"holder": "stadtwerk", "data_state": "personal_data"}),
        ("keys.rotated", 1, {"key_state": "rotated", "controller": "stadtwerk"}),
        ("eol.removed", 1, {"holder": "recycler", "claimed": "removed"}),
        ("eol.triaged", 1, {"holder": "recycler", "claimed": "in_triage"}),
        ("eol.decommissioned", 1, {"controller": None, "key_state": "revoked", "trust": "revoked"}),
        ("eol.sanitised", 1, {"data_state": "sanitised", "key_state": "destroyed"}),
    ],
)
def test_the_tracks_along_the_honest_life(until, times, tracks):
    state = folded(life(until, times=times)).state
    assert {name: getattr(state, name) for name in tracks} == tracks


def test_every_step_of_the_honest_life_is_needed():
    """Without any one event of the cell, the exit is a violation and the assured state stays inside."""
    for missing in WORDS.cell_steps:
        facts = [event for event in life("cell.exited") if event.type != missing]
        result = folded(facts)
        codes = {violation.code for found in result.violations.values() for violation in found}
        assert codes & {"precondition.cell_order", "transition.illegal"}
        assert result.state.claimed == "provisioned"
        assert result.state.assured != "provisioned"


def test_one_early_fault_does_not_taint_later_honest_events():
    facts = life("delivery.inspected")
    single = [Signer("elster", "p-1")]
    place = next(place for place, event in enumerate(facts) if event.type == "cell.exited")
    facts[place] = fact("cell.exited", signers=tuple(single))
    result = folded(facts)
    assert {position: [v.code for v in found] for position, found in result.violations.items()} == {
        place: ["violation.second_signature"]
    }
    assert (result.state.claimed, result.state.assured) == ("accepted", "in_cell")


def test_quarantine_remembers_where_it_came_from():
    state, codes = after(
        fact("exception.quarantined", "stadtwerk"),
        fact("exception.released", "stadtwerk"),
        state=state_in("in_service", holder="stadtwerk"),
    )
    assert codes == []
    assert (state.claimed, state.assured) == ("in_service", "in_service")


def test_quarantine_of_the_claimed_state_alone_remembers_both_apart():
    before = state_in("provisioned", assured="in_cell")
    state, codes = after(fact("exception.quarantined"), fact("exception.released"), state=before)
    assert codes == []
    assert (state.claimed, state.assured) == ("provisioned", "in_cell")


def test_a_second_quarantine_does_not_forget_the_first_origin():
    before = state_in("accepted")
    state, codes = after(
        fact("exception.quarantined"), fact("exception.quarantined"), fact("exception.released"), state=before
    )
    assert codes == ["transition.illegal"]
    assert state.claimed == "accepted"


@pytest.mark.parametrize(("origin", "allowed"), sorted(RAW["origin_rule"].items()))
@pytest.mark.parametrize("outcome", ["accepted", "quarantined", "in_triage", "decommissioned"])
def test_goods_in_leads_only_where_the_origin_allows(origin, allowed, outcome):
    before = state_in("received", claimed_origin=origin, assured_origin=origin, consignee="elster")
    state, codes = after(fact("delivery.inspected", changes={"outcome": outcome}), state=before)
    assert state.claimed == outcome
    assert (codes == []) == (outcome in allowed)
    assert state.assured == (outcome if outcome in allowed else "received")


@pytest.mark.parametrize(
    ("code", "changes", "before", "expected"),
    [
        ("mfg.rejected", {"outcome": "rework"}, {"key_state": "bound"}, {"key_state": "destroyed"}),
        ("mfg.rejected", {"outcome": "rework"}, {"key_state": "none"}, {"key_state": "none"}),
        ("mfg.rejected", {"outcome": "scrap"}, {"trust": "untrusted"}, {"trust": "revoked"}),
        ("ops.attested", {"result": "pass"}, {"trust": "trusted"}, {"trust": "trusted"}),
        ("ops.attested", {"result": "fail"}, {"trust": "trusted"}, {"trust": "suspect"}),
        ("ops.tamper_alerted", {"cover_state": "open"}, {}, {"trust": "suspect", "seal_state": "opened"}),
        ("ops.tamper_alerted", {"cover_state": "closed"}, {}, {"trust": "suspect", "seal_state": "intact"}),
        ("exception.lost_or_stolen", {}, {}, {"holder": "?", "owner": "elster"}),
        ("ownership.transferred", {"kind": "control"}, {}, {"controller": "stadtwerk", "owner": "elster"}),
        ("ownership.transferred", {"kind": "both"}, {}, {"controller": "stadtwerk", "owner": "stadtwerk"}),
        ("ownership.transferred", {"kind": "possession"}, {}, {"holder": "stadtwerk", "owner": "elster"}),
        ("eol.triaged", {"outcome": "reuse"}, {"trust": "suspect"}, {"trust": "trusted", "claimed": "accepted"}),
        ("eol.triaged", {"outcome": "analyse"}, {"trust": "suspect"}, {"trust": "suspect", "claimed": "in_triage"}),
        ("exception.released", {"decision": "scrapped"}, {}, {"claimed": "scrapped", "key_state": "none"}),
    ],
)
def test_effects_by_outcome(code, changes, before, expected):
    start = next(iter(WORDS.events[code].from_states & {"in_cell", "accepted", "in_triage", "quarantined"}))
    state, _ = after(fact(code, changes=changes), state=state_in(start, seal_state="intact", **before))
    assert {name: getattr(state, name) for name in expected} == expected


def test_platform_types_move_nothing():
    before = state_in("accepted")
    state, codes = after(dataclasses.replace(fact("cell.exited"), type="check.finding_opened"), state=before)
    assert (state, codes) == (before, [])
