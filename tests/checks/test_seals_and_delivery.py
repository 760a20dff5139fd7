"""AN-10: seals. AN-14: from hand to hand. AN-15: the delivery note."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compliance.custody.lifecycle import Signer
from tests.checks.telling import METER, SHIPMENT, Telling, is_found, meter, one, outcomes

POINT, OTHER_POINT = "terminal-cover", "housing"
UNIT, OTHER_UNIT = "logistic_unit:sscc:340123450000000017", "logistic_unit:sscc:340123450000000024"


def applied(*numbers, point=POINT):
    return {"seals": [{"point": point, "number": n, "kind": "manufacturer", "batch": "R-9"} for n in numbers]}


def seen(number, result="intact", point=POINT):
    return {"point": point, "number": number, "result": result}


def looked_at(number, result="intact", point=POINT):
    """What a fitter says at the wall; he applies nothing."""
    return {"seals_seen": [seen(number, result, point)], "seals_applied": []}


@pytest.fixture
def seals():
    telling = Telling("AN-10")
    telling.say("design.type_registered", {"seal_points": [POINT]})
    telling.born()
    telling.say("cell.entered")
    telling.say("cell.sealed", applied("S-1"))
    return telling


SIGHTINGS = {
    "install.installed": lambda sight: {"seals_seen": [sight], "seals_applied": []},
    "eol.removed": lambda sight: {"seals_seen": [sight]},
    "delivery.inspected": lambda sight: {"seal_results": [{"subject": METER, **sight}]},
}


@pytest.mark.parametrize("code", SIGHTINGS)
def test_the_seal_seen_is_the_seal_put_on(seals, code):
    sight = SIGHTINGS[code]
    assert outcomes(seals.say(code, sight(seen("S-1")))) == ["conforms"]
    named = (METER,) if code == "delivery.inspected" else ()
    assert is_found(seals.say(code, sight(seen("S-2"))), "S-2 was found, S-1 had been put on", *named)
    assert is_found(seals.say(code, sight(seen("S-1", "missing"))), "S-1 at terminal-cover is missing", *named)


@pytest.mark.parametrize("code", SIGHTINGS)
def test_at_a_point_never_sealed_nothing_can_be_told(seals, code):
    said = one(seals.say(code, SIGHTINGS[code](seen("S-1", point="lid"))))
    assert (said.outcome, "lid" in said.detail) == ("not_evaluable", True)


def test_an_inspection_answers_for_each_meter(seals):
    seals.born(meter(2))
    seals.say("cell.sealed", applied("S-2"), about=meter(2))
    results = [{"subject": METER, **seen("S-1")}, {"subject": meter(2), **seen("S-9")}]
    good, bad = seals.say("delivery.inspected", {"seal_results": results})
    assert (good.outcome, good.about) == ("conforms", METER)
    assert (bad.outcome, bad.about, bad.meters) == ("deviates", meter(2), (meter(2),))


def test_a_number_on_two_meters_is_found(seals):
    seals.born(meter(2))
    assert is_found(seals.say("cell.sealed", applied("S-1"), about=meter(2)), f"already put on {METER}", METER)


def test_a_number_twice_on_one_meter_is_found(seals):
    assert is_found(seals.say("cell.sealed", applied("S-5", "S-5")), "S-5 is put on twice")


def test_a_seal_of_the_field_counts_too(seals):
    seals.say("install.installed", {"seals_seen": [], "seals_applied": applied("U-1", point="block")["seals"]})
    again = {"seals_seen": [], "seals_applied": applied("U-1", point="block")["seals"]}
    assert is_found(seals.say("install.installed", again, about=meter(2)), f"already put on {METER}", METER)
    assert outcomes(seals.say("eol.removed", {"seals_seen": [seen("U-1", point="block")]})) == ["conforms"]


def test_after_the_meter_reported_its_cover_open_another_number_is_honest(seals):
    seals.say("ops.tamper_alerted", {"cover_state": "open"})
    assert outcomes(seals.say("install.installed", looked_at("S-2"))) == ["conforms"]
    assert is_found(seals.say("eol.removed", {"seals_seen": [seen("S-3")]}), "S-3 was found, S-2 had been put on")


def test_an_alert_with_the_cover_closed_excuses_nothing(seals):
    seals.say("ops.tamper_alerted", {"cover_state": "closed"})
    assert outcomes(seals.say("install.installed", looked_at("S-2"))) == ["deviates"]


def test_the_cell_is_an_opening_and_a_used_number_stays_used(seals):
    seals.say("mfg.rejected")
    seals.say("cell.entered")
    assert is_found(seals.say("cell.sealed", applied("S-1")), f"already put on {METER}", METER)
    seals.say("cell.entered")
    assert outcomes(seals.say("cell.sealed", applied("S-2"))) == ["conforms"]
    assert outcomes(seals.say("eol.removed", {"seals_seen": [seen("S-2")]})) == ["conforms"]


def test_every_seal_point_of_the_type_is_sealed_at_the_exit(seals):
    assert outcomes(seals.say("cell.exited")) == ["conforms"]
    seals.say("design.type_registered", {"seal_points": [POINT, OTHER_POINT]})
    assert is_found(seals.say("cell.exited"), "no seal at housing")
    seals.say("cell.sealed", applied("S-7", point=OTHER_POINT))
    assert outcomes(seals.say("cell.exited")) == ["conforms"]


def test_another_maker_says_nothing_about_the_type(seals):
    seals.say("design.type_registered", {"seal_points": [POINT, OTHER_POINT]}, author="rival")
    assert outcomes(seals.say("cell.exited")) == ["conforms"]


def test_an_unknown_type_has_no_known_points():
    telling = Telling("AN-10")
    telling.born()
    telling.say("cell.sealed", applied("S-1"))
    assert outcomes(telling.say("cell.exited")) == ["not_evaluable"]


def test_a_unit_never_sealed_is_an_04s_question():
    telling = Telling("AN-10")
    telling.say("design.type_registered", {"seal_points": [POINT]})
    telling.born()
    assert telling.say("cell.exited") == []


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 5)), max_size=10))
def test_every_second_use_of_a_number_is_found_and_no_first(uses):
    telling = Telling("AN-10")
    used = set()
    for place, number in uses:
        said = one(telling.say("cell.sealed", applied(f"S-{number}"), about=meter(place)))
        assert (said.outcome == "deviates") == (number in used)
        used.add(number)


@pytest.fixture
def custody():
    """A meter that its maker holds."""
    telling = Telling("AN-14")
    telling.born()
    return telling


def hand_over(telling, giver, taker, *, kind="possession", about=METER, accepted=True):
    signers = [Signer(giver, "p-1"), Signer(taker, "p-1")]
    changes = {"kind": kind, "from_party": giver, "to_party": taker}
    return telling.say("ownership.transferred", changes, about=about, author=giver, signers=signers[: 1 + accepted])


@pytest.mark.parametrize("code", ["install.installed", "eol.removed"])
def test_only_the_holder_works_on_a_meter(custody, code):
    assert is_found(custody.say(code, author="stranger"), "by stranger, but elster holds the meter")
    assert outcomes(custody.say(code, author="elster")) == ["conforms"]


def test_a_hand_over_makes_the_next_holder(custody):
    assert outcomes(hand_over(custody, "elster", "installateur")) == ["conforms"]
    assert outcomes(custody.say("install.installed", author="installateur")) == ["conforms"]
    assert outcomes(custody.say("eol.removed", author="elster")) == ["deviates"]


def test_a_hand_over_that_nobody_accepted_moves_nothing(custody):
    hand_over(custody, "elster", "installateur", accepted=False)
    assert outcomes(custody.say("install.installed", author="installateur")) == ["deviates"]


def test_possession_is_handed_on_by_who_has_it(custody):
    assert is_found(hand_over(custody, "thief", "installateur"), "thief hands the meter over, but elster holds it")


def test_property_changes_hands_without_the_thing(custody):
    assert hand_over(custody, "stadtwerk", "fund", kind="ownership") == []
    assert hand_over(custody, "stadtwerk", "fund", kind="both", about=SHIPMENT) == []


def test_who_it_is_on_the_way_to_may_act(custody):
    custody.link(METER, "delivery.dispatched", {"consignee": "installateur"})
    assert outcomes(custody.say("install.installed", author="installateur")) == ["conforms"]


def test_who_it_is_not_on_the_way_to_may_not(custody):
    custody.link(METER, "delivery.dispatched", {"consignee": "installateur"})
    assert outcomes(custody.say("install.installed", author="stranger")) == ["deviates"]


def test_of_a_meter_nobody_saw_the_holder_is_unknown():
    assert outcomes(Telling("AN-14").say("eol.removed", about=meter(9))) == ["not_evaluable"]


@pytest.mark.parametrize(
    ("author", "outcome"), [("stadtwerk", "conforms"), ("spedition", "conforms"), ("x", "deviates")]
)
def test_a_shipment_is_received_by_carrier_or_consignee(custody, author, outcome):
    custody.say("delivery.dispatched")
    assert outcomes(custody.say("delivery.received", author=author)) == [outcome]


def test_without_a_note_nobody_knows_who_should_receive(custody):
    assert outcomes(custody.say("delivery.received", author="anybody")) == ["not_evaluable"]


@pytest.fixture
def delivery():
    """A note over three meters."""
    telling = Telling("AN-15")
    telling.say("delivery.dispatched", {"meter_count": 3, "units": [UNIT]})
    return telling


def inspect(telling, *, found=3, missing=(), unexpected=()):
    changes = {"found_count": found, "missing": list(missing), "unexpected": list(unexpected)}
    telling.say("delivery.inspected", changes, author="stadtwerk")
    return telling.examined()


def test_what_was_found_is_what_the_note_says(delivery):
    assert outcomes(inspect(delivery)) == ["conforms"]


def test_short_over_and_unknown_are_found(delivery):
    assert is_found(inspect(delivery, found=2, missing=[METER]), "missing: 1; 3 on the note, 2 found", METER)
    assert is_found(inspect(delivery, found=4, unexpected=[METER]), "on no note: 1; 3 on the note, 4 found", METER)
    assert is_found(inspect(delivery, found=2), "3 on the note, 2 found")


def test_one_missing_and_one_too_many_do_not_cancel_out(delivery):
    said = inspect(delivery, missing=[METER], unexpected=[meter(2)])
    assert is_found(said, "missing: 1; on no note: 1", METER, meter(2))


def test_a_missing_pallet_is_no_meter(delivery):
    assert is_found(inspect(delivery, missing=[UNIT]), "missing: 1")


def test_a_unit_that_the_note_does_not_name_is_found(delivery):
    delivery.say("delivery.received", {"received_units": [UNIT, OTHER_UNIT]}, author="stadtwerk")
    assert is_found(inspect(delivery), f"units on no note: {OTHER_UNIT}")


def test_a_damaged_carton_with_every_meter_in_it_is_honest(delivery):
    delivery.say("delivery.received", {"condition": "carton crushed", "received_units": [UNIT]}, author="stadtwerk")
    assert outcomes(inspect(delivery)) == ["conforms"]


def test_the_last_inspection_counts(delivery):
    inspect(delivery, found=2)
    assert outcomes(inspect(delivery)) == ["conforms"]


def test_the_note_sent_last_counts(delivery):
    delivery.say("delivery.dispatched", {"meter_count": 2, "units": [UNIT]})
    assert outcomes(inspect(delivery, found=2)) == ["conforms"]
    assert outcomes(inspect(delivery, found=3)) == ["deviates"]


def test_a_stranger_writes_nobody_elses_note(delivery):
    delivery.say("delivery.dispatched", {"meter_count": 2, "units": [UNIT]}, author="thief")
    assert outcomes(inspect(delivery, found=2)) == ["deviates"]
    assert outcomes(inspect(delivery)) == ["conforms"]


def test_nobody_looked_yet(delivery):
    assert delivery.examined() == []


def test_an_inspection_without_a_note_cannot_be_judged():
    assert outcomes(inspect(Telling("AN-15"))) == ["not_evaluable"]


@settings(deadline=None)
@given(st.integers(0, 5), st.integers(0, 5))
def test_any_other_number_is_found(stated, found):
    telling = Telling("AN-15")
    telling.say("delivery.dispatched", {"meter_count": stated, "units": [UNIT]})
    assert outcomes(inspect(telling, found=found)) == ["conforms" if stated == found else "deviates"]
