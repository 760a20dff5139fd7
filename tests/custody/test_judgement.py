"""Standing, signatures, preconditions and corrections, one question at a time."""

import dataclasses

import pytest

from compliance.custody.lifecycle import Signer
from tests.custody.facts import SESSION, WORDS, after, fact, folded, life, state_in

FIELD = {"holder": "spedition", "owner": "stadtwerk", "controller": "betreiber", "maker": "elster"}


@pytest.mark.parametrize(
    ("author", "memory", "standing"),
    [
        ("spedition", {}, True),  # holder
        ("stadtwerk", {}, True),  # owner
        ("betreiber", {}, True),  # controller
        ("elster", {}, True),  # gave birth
        ("fremd", {}, False),
        ("fremd", {"consignee": "fremd"}, True),
        ("fremd", {"carrier": "fremd"}, True),
        ("fremd", {"recipient": "fremd"}, True),
        ("fremd", {"holder": "?"}, False),
        ("?", {"holder": "?"}, True),  # no organisation can be called so
    ],
)
@pytest.mark.parametrize("code", ["delivery.packed", "keys.rotated", "exception.lost_or_stolen", "eol.decommissioned"])
def test_who_has_standing(author, memory, standing, code):
    before = state_in("accepted", **{**FIELD, **memory})
    state, codes = after(fact(code, author), state=before)
    assert ("standing.missing" not in codes) == standing
    if not standing:
        assert state == before


@pytest.mark.parametrize(
    ("code", "roles", "standing"),
    [
        ("ops.attested", {"auditor"}, True),
        ("ops.attested", {"operator"}, False),
        ("exception.quarantined", {"regulator"}, True),
        ("exception.quarantined", {"auditor"}, True),
        ("exception.quarantined", {"utility"}, False),
        ("mfg.calibrated", {"notified_body"}, True),
        ("ops.tamper_alerted", {"head_end"}, False),
        ("eol.decommissioned", {"auditor"}, False),  # the office acts only where the type names it
        ("exception.released", {"auditor", "regulator"}, False),
    ],
)
def test_offices_act_without_custody_where_the_type_names_them(code, roles, standing):
    _, codes = after(fact(code, "amt", roles=frozenset(roles)), state=state_in("accepted"))
    assert ("standing.missing" not in codes) == standing


@pytest.mark.parametrize(
    ("maker", "codes", "claimed"),
    [(None, [], "assembled"), ("elster", [], "assembled"), ("other", ["standing.missing"], "none")],
)
def test_birth_in_another_makers_serial_range(maker, codes, claimed):
    """T9: serial squatting."""
    state, found = after(fact("mfg.assembled", maker=maker))
    assert (found, state.claimed, state.maker) == (codes, claimed, "elster" if not codes else None)


def test_born_again_by_somebody_else():
    state, codes = after(fact("mfg.assembled"), fact("mfg.assembled", "other"))
    assert codes == ["standing.missing", "transition.illegal"]
    assert state.maker == "elster"


@pytest.mark.parametrize("code", [code for code, kind in WORDS.events.items() if kind.signature_rule == "two_people"])
@pytest.mark.parametrize(
    ("signers", "enough"),
    [
        ([("elster", "p-1"), ("elster", "p-2")], True),
        ([("elster", "p-1"), ("stadtwerk", "p-1")], True),
        ([("elster", "p-1"), ("elster", "p-1")], False),
        ([("elster", "p-1"), ("elster", None)], False),
        ([("elster", None), ("elster", None)], False),
        ([("elster", "p-1")], False),
        ([], False),
    ],
)
def test_two_people(code, signers, enough):
    changes = {"outcome": "scrap"} if code == "mfg.rejected" else None
    event = fact(code, changes=changes, signers=tuple(Signer(*pair) for pair in signers))
    _, codes = after(event, state=state_in("in_cell"))
    assert ("violation.second_signature" not in codes) == enough


def test_rework_needs_one_signature():
    event = fact("mfg.rejected", changes={"outcome": "rework"}, signers=(Signer("elster", "p-1"),))
    assert after(event, state=state_in("in_cell"))[1] == []


@pytest.mark.parametrize(
    ("signers", "codes"),
    [
        (["elster", "stadtwerk"], []),
        (["elster"], ["violation.second_signature"]),
        (["elster", "elster"], ["violation.second_signature"]),
        (["elster", "spedition"], ["precondition.accepted"]),
    ],
)
def test_a_transfer_moves_nothing_until_the_receiver_signed(signers, codes):
    event = fact("ownership.transferred", signers=tuple(Signer(name, "p-1") for name in signers))
    state, found = after(event, state=state_in("accepted"))
    assert found == codes
    assert state.owner == ("elster" if codes else "stadtwerk")


def _cell(*, without: str | None = None, **changes: str) -> list:
    return [fact(step, changes=changes) for step in WORDS.cell_steps if step != without]


BROKEN = {
    "precondition.keys_destroyed": (state_in("in_cell", key_state="bound"), "mfg.rejected", {"keys_destroyed": False}),
    "precondition.keys_live": (state_in("in_triage", key_state="acknowledged"), "cell.entered", {}),
    "precondition.identity_check": (state_in("assembled"), "cell.entered", {"electronic_identity": "other"}),
    "precondition.cell_order": (state_in("in_cell", session=SESSION), "cell.keys_provisioned", {}),
    "precondition.test_passed": (
        state_in("in_cell", session=SESSION, steps=WORDS.cell_steps[:-1]),
        "cell.sealed",
        {},
    ),
    "precondition.provisioned": (state_in("assembled"), "keys.bundle_released", {}),
    "precondition.recipient": (state_in("accepted", recipient="stadtwerk"), "keys.bundle_acknowledged", {}),
    "precondition.consignee": (state_in("in_transit", consignee="stadtwerk"), "delivery.received", {}),
    "precondition.keys_acknowledged": (
        state_in("accepted", key_state="released", seal_state="intact"),
        "install.installed",
        {},
    ),
    "precondition.seals_intact": (
        state_in("accepted", key_state="rotated", seal_state="opened"),
        "install.installed",
        {},
    ),
    "precondition.from_party": (state_in("accepted", owner="other"), "ownership.transferred", {}),
    "precondition.rotated": (state_in("reprovisioning"), "reprov.completed", {}),
    "precondition.reuse": (state_in("removed", sanitised=True), "eol.triaged", {"outcome": "reuse"}),
    "precondition.sanitised": (state_in("decommissioned", data_state="personal_data"), "eol.disposed", {}),
    "precondition.other_verifier": (state_in("in_triage"), "eol.sanitised", {"verified_by": "p-r1"}),
    "precondition.other_reviewer": (
        state_in("quarantined", opened_by="p-77b1"),
        "exception.released",
        {"reviewed_by": "p-77b1"},
    ),
}


@pytest.mark.parametrize("code", BROKEN)
def test_a_broken_precondition_is_recorded_and_holds_back_the_assured_state(code):
    before, event, changes = BROKEN[code]
    state, codes = after(fact(event, changes=changes), state=before)
    assert codes == [code]
    assert state.assured == before.assured


def test_the_cell_in_another_session_does_not_count():
    state, codes = after(*_cell(), state=state_in("assembled", key_state="none"))
    assert codes == []
    _, codes = after(fact("cell.exited", changes={"session_id": "cell_session:elster:other"}), state=state)
    assert codes == ["precondition.cell_order"]


def test_a_retest_after_a_failure_is_no_violation():
    failed = fact("cell.tested", changes={"security_result": "fail"})
    steps = _cell()
    steps.insert(5, failed)
    _, codes = after(*steps, fact("cell.exited"), state=state_in("assembled", key_state="none"))
    assert codes == []


def test_rework_starts_the_cell_anew():
    first = _cell(without="cell.sealed")
    _, codes = after(*first, fact("mfg.rejected"), *_cell(), fact("cell.exited"), state=state_in("assembled"))
    assert codes == []


def test_a_second_value_of_one_identifier():
    born = fact("mfg.assembled", name=("dlms_system_title", "454C530000002406"))
    second = fact("mfg.calibrated", changes={"identifiers": [{"scheme": "dlms_ldn", "value": "ELS0000000009999"}]})
    same = fact("mfg.calibrated", changes={"identifiers": [{"scheme": "dlms_ldn", "value": "ELS0000000002406"}]})
    many = fact("mfg.calibrated", changes={"identifiers": [{"scheme": "mid_mark", "value": "CE M26 0102"}] * 2})
    assert after(born, same, many)[1] == []
    assert after(born, second)[1] == ["identifier.second_value"]


def test_a_field_the_profile_asks_for_is_a_violation_not_a_refusal():
    event = fact("cell.keys_provisioned")
    data = {name: value for name, value in event.data.items() if name != "security_suite"}
    before = state_in("in_cell", session=SESSION, steps=WORDS.cell_steps[:2])
    _, codes = after(dataclasses.replace(event, data=data), state=before)
    assert codes == ["profile.required_field"]


def _corrected(facts: list, place: int, reason: str = "did_not_occur", author: str | None = None) -> list:
    original = facts[place]
    changes = {"corrects": original.hash, "reason": reason}
    return [*facts, fact("record.corrected", author or original.author, changes=changes, corrects=original.hash)]


def test_an_event_that_did_not_occur_is_skipped():
    facts = life("install.installed")
    wrong = [*facts, fact("exception.lost_or_stolen", "stadtwerk")]
    assert folded(wrong).state.claimed == "missing"
    result = folded(_corrected(wrong, len(facts)))
    assert result.state == folded(facts).state
    assert result.voided == {len(facts)}
    assert result.violations == {}


def test_a_correction_gives_later_events_their_ground_back():
    facts = life("install.installed")
    wrong = [*facts, fact("exception.lost_or_stolen", "stadtwerk"), fact("install.commissioned", "stadtwerk")]
    assert {v.code for found in folded(wrong).violations.values() for v in found} == {"transition.illegal"}
    result = folded(_corrected(wrong, len(facts)))
    assert result.violations == {}
    assert result.state.assured == "in_service"


def test_a_disposal_that_did_not_occur_brings_the_meter_back():
    facts = life()
    assert folded(_corrected(facts, len(facts) - 1)).state.claimed == "decommissioned"


def test_incorrect_data_leaves_the_state_alone():
    facts = life("install.installed")
    assert folded(_corrected(facts, 3, "incorrect_data")).state == folded(facts).state


def test_corrections_that_have_no_effect():
    facts = life("install.installed")
    twice = _corrected(_corrected(facts, 5), 5)
    assert folded(twice).violations[len(facts) + 1][0].code == "correction.invalid"
    by_another = _corrected(facts, 5, author="stadtwerk")
    assert folded(by_another).violations[len(facts)][0].code == "standing.missing"
    assert folded(by_another).state == folded(facts).state
    of_a_correction = _corrected(_corrected(facts, 5), len(facts))
    assert folded(of_a_correction).violations[len(facts) + 1][0].code == "correction.invalid"
    of_nothing = [*facts, fact("record.corrected", corrects="f" * 64)]
    assert folded(of_nothing).violations[len(facts)][0].code == "correction.invalid"
    names_two = [*facts, fact("record.corrected", corrects=facts[2].hash)]
    assert folded(names_two).violations[len(facts)][0].code == "correction.invalid"
