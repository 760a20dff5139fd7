"""AN-04: every station, in order, in one session. AN-05: balances come out even, within a shift."""

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.checks.telling import MINUTE, START, STATIONS, Telling, identity, is_found, meter, outcomes

OTHER = "cell_session:elster:OSN2-2026-04-15-1"
SHIFT = timedelta(hours=12)
NONE = dict.fromkeys(("entered", "exited", "reworked", "scrapped", "still_inside"), 0)
LATE = timedelta(days=7)


@pytest.fixture
def gate():
    telling = Telling("AN-04")
    telling.born()
    return telling


def test_the_whole_way_is_honest(gate):
    gate.through_cell()
    assert outcomes(gate.say("cell.exited")) == ["conforms"]


@pytest.mark.parametrize("station", STATIONS)
def test_a_station_left_out_is_found(gate, station):
    gate.through_cell(without=[station])
    assert is_found(gate.say("cell.exited"), f"without {station}")


@pytest.mark.parametrize("station", STATIONS)
def test_a_station_of_another_session_is_found(gate, station):
    for each in STATIONS:
        gate.say(each, {"session_id": OTHER} if each == station else {})
    assert is_found(gate.say("cell.exited"), f"without {station}")


@pytest.mark.parametrize("place", range(1, len(STATIONS) - 1))
def test_two_stations_in_the_wrong_order_are_found(gate, place):
    order = list(STATIONS)
    order[place], order[place + 1] = order[place + 1], order[place]
    for each in order:
        gate.say(each)
    assert is_found(gate.say("cell.exited"), f"{order[place]} came too early")


@settings(deadline=None)
@given(st.lists(st.sampled_from(STATIONS[1:]), max_size=14))
def test_conforms_exactly_if_first_passes_are_all_and_in_order(middle):
    gate = Telling("AN-04")
    gate.born()
    for station in (STATIONS[0], *middle):
        gate.say(station)
    firsts = [middle.index(station) for station in STATIONS[1:] if station in middle]
    honest = len(firsts) == len(STATIONS) - 1 and firsts == sorted(firsts)
    assert outcomes(gate.say("cell.exited")) == ["conforms" if honest else "deviates"]


def test_the_pass_before_rework_does_not_count(gate):
    gate.through_cell(without=STATIONS[4:])
    gate.say("mfg.rejected")
    gate.through_cell()
    assert outcomes(gate.say("cell.exited")) == ["conforms"]


def test_nor_does_it_help(gate):
    """What a unit passed before its rework must be passed again."""
    gate.through_cell()
    gate.say("mfg.rejected")
    gate.through_cell(without=["cell.tested"])
    assert is_found(gate.say("cell.exited"), "without cell.tested")


def test_an_exit_that_names_no_session_cannot_be_judged(gate):
    gate.through_cell()
    assert outcomes(gate.say("cell.exited", {"session_id": None})) == ["not_evaluable"]


def test_leaving_twice_on_one_pass_is_found(gate):
    gate.through_cell()
    gate.say("cell.exited")
    assert outcomes(gate.say("cell.exited")) == ["deviates"]


COUNTS = st.integers(0, 6)


@st.composite
def balances(draw):
    """The numbers of an honest session."""
    number = {name: draw(COUNTS) for name in ("exited", "reworked", "scrapped", "keys_bound", "keys_destroyed")}
    number |= {name: draw(COUNTS) for name in ("seals_applied", "seals_voided", "seals_returned")}
    return number | {
        "entered": number["exited"] + number["reworked"] + number["scrapped"],
        "still_inside": 0,
        "keys_generated": number["keys_bound"] + number["keys_destroyed"],
        "seals_issued": number["seals_applied"] + number["seals_voided"] + number["seals_returned"],
    }


def shift(counts, *, opened=START, closed=START + MINUTE):
    telling = Telling("AN-05")
    if opened is not None:
        telling.say("cell.session_opened", at=opened)
    telling.say("cell.session_reconciled", counts, at=closed)
    return telling


def walk(telling, counts):
    """Meters whose chains tell what the session counted."""
    number = 100
    for word in ("exited", "reworked", "scrapped"):
        for _ in range(counts[word]):
            number += 1
            telling.say("cell.entered", identity(meter(number)), about=meter(number))
            if word == "exited":
                telling.say("cell.exited", about=meter(number))
            else:
                telling.say(
                    "mfg.rejected", {"outcome": word.removesuffix("ed").replace("scrapp", "scrap")}, about=meter(number)
                )


@settings(deadline=None)
@given(balances())
def test_even_balances_never_deviate(counts):
    telling = shift(counts)
    assert "deviates" not in outcomes(telling.examined())
    walk(telling, counts)
    assert outcomes(telling.examined()) == ["conforms"]


@settings(deadline=None)
@given(balances(), st.data())
def test_any_number_off_by_one_is_found(counts, data):
    name = data.draw(st.sampled_from(sorted(counts)))
    step = data.draw(st.sampled_from([1, -1] if counts[name] else [1]))
    telling = shift(counts | {name: counts[name] + step})
    assert outcomes(telling.examined()) == ["deviates"]


def test_a_unit_still_inside_at_the_close_is_found_though_the_sum_is_even():
    telling = shift(NONE | {"entered": 1, "still_inside": 1})
    assert is_found(telling.examined(), "1 units still inside")


@pytest.mark.parametrize("outcome", ["exited", "reworked", "scrapped"])
def test_more_on_the_chains_than_counted_is_found_at_once(outcome):
    """The ghost shift: units left the cell that no count knows."""
    telling = shift(NONE)
    walk(telling, {"exited": 0, "reworked": 0, "scrapped": 0, outcome: 1})
    assert is_found(telling.examined(), "0 entered by its count, 1 by the meters' chains")


@pytest.mark.parametrize(("late", "outcome"), [(timedelta(0), "not_evaluable"), (MINUTE / 60, "deviates")])
def test_fewer_on_the_chains_is_waited_for_a_week(late, outcome):
    telling = shift(NONE | {"entered": 1, "exited": 1})
    telling.say("ops.attested", at=START + MINUTE + LATE + late)
    assert outcomes(telling.examined()) == [outcome]


@pytest.mark.parametrize(("late", "outcome"), [(timedelta(0), "conforms"), (MINUTE / 60, "deviates")])
def test_a_shift_is_twelve_hours(late, outcome):
    assert outcomes(shift(NONE, closed=START + SHIFT + late).examined()) == [outcome]


@pytest.mark.parametrize(("late", "outcome"), [(timedelta(0), "not_evaluable"), (MINUTE / 60, "deviates")])
@pytest.mark.parametrize("author", ["elster", "stadtwerk"])
def test_a_session_never_closed_is_found_when_its_time_is_over(late, outcome, author):
    """By our clock, whoever speaks."""
    telling = Telling("AN-05")
    telling.say("cell.session_opened", at=START)
    telling.say("ops.attested", author=author, at=START + SHIFT + late)
    assert outcomes(telling.examined()) == [outcome]


def test_what_its_own_people_say_since_tells_the_time_too():
    """A year's events handed in at once: our clock stands still, theirs does not."""
    telling = Telling("AN-05")
    came_at = START + timedelta(days=90)
    telling.say("cell.session_opened", at=START, came_at=came_at)
    telling.say("ops.attested", author="stadtwerk", at=START + timedelta(days=80), came_at=came_at)
    assert outcomes(telling.examined()) == ["not_evaluable"]
    telling.say("mfg.calibrated", at=START + timedelta(days=80), came_at=came_at)
    assert is_found(telling.examined(), "never reconciled, more than 12 hours")


def test_a_close_without_an_opening_is_judged_by_its_numbers():
    assert outcomes(shift(NONE, opened=None).examined()) == ["not_evaluable"]
    assert is_found(shift(NONE | {"keys_generated": 56}, opened=None).examined(), "56 keys generated, 60 bound")


def test_nobody_else_closes_a_session():
    """A stranger's even numbers do not cover up uneven ones, and his uneven ones accuse nobody."""
    telling = shift(NONE | {"keys_generated": 61})
    telling.say("cell.session_reconciled", NONE, author="friend")
    assert outcomes(telling.examined()) == ["deviates"]
    telling = shift(NONE)
    telling.say("cell.session_reconciled", NONE | {"keys_generated": 61}, author="rival")
    telling.say("cell.session_opened", about=OTHER, author="rival")
    assert outcomes(telling.examined()) == ["conforms"]


def test_each_session_by_itself():
    telling = shift(NONE)
    telling.say("cell.session_opened", about=OTHER)
    telling.say("cell.session_reconciled", NONE | {"seals_voided": 3}, about=OTHER)
    assert sorted(outcomes(telling.examined())) == ["conforms", "deviates"]
