"""The simulated factory and field: reproducible, lawful where it is honest, and planted as it says."""

import json
from collections import Counter

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from compliance.custody import shapes
from compliance.demo.parameters import Parameters
from compliance.demo.people import KEYS
from compliance.demo.scenario import Scenario, generate, honest
from compliance.demo.statements import Statement, plan
from compliance.proof import event as events
from tests.demo.chains import ROLES, batches, chains, fold

PARAMETERS = Parameters.load()
DETECTORS = {"AN-01", "AN-02", "AN-04", "AN-05", "AN-06", "AN-07", "AN-08", "AN-10", "AN-14", "AN-15", "AN-23"}
sizes = st.integers(min_value=PARAMETERS.plants.smallest_run, max_value=90)
seeds = st.integers(min_value=0, max_value=99_999)
few = settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # a smaller failing run says no more than a larger one
)


def scenario(meters: int = 120, seed: int = 3) -> Scenario:
    """A run of the usual shape."""
    return generate(PARAMETERS, meters=meters, seed=seed)


def as_sent(found: Scenario) -> list[str]:
    """Every event and file of a run as text."""
    return [json.dumps(one.event(), sort_keys=True) for one in found.statements] + [one.sha256 for one in found.papers]


def test_the_same_seed_gives_the_same_bytes() -> None:
    """A demo that was seen can be seen again."""
    assert as_sent(scenario()) == as_sent(scenario())
    assert scenario().truth == scenario().truth


def test_another_seed_gives_other_events_and_no_common_name() -> None:
    """Two runs can share one platform: no event id, meter, unit or session of one is in the other."""
    first, second = scenario(seed=3), scenario(seed=4)
    for name in ("id", "subject"):
        mine = {getattr(one, name) for one in first.statements}
        assert not mine & {getattr(one, name) for one in second.statements}


@few
@given(meters=sizes, seed=seeds)
def test_what_is_honest_breaks_no_rule(meters: int, seed: int) -> None:
    """Without plants every chain is legal, by the product's own engine: claimed and assured state never part."""
    world = honest(PARAMETERS, meters=meters, seed=seed)
    for subject, chain in chains(world.timeline.in_order()).items():
        folded = fold(chain)
        assert not folded.violations, (subject, folded.violations)


@few
@given(meters=sizes, seed=seeds)
def test_every_detector_is_planted_and_nothing_else_is_touched(meters: int, seed: int) -> None:
    """A plant and its consequences stay on the chains the truth names."""
    found = scenario(meters, seed)
    assert {plant.detector for plant in found.truth.plants} == DETECTORS
    assert {decoy.detector for decoy in found.truth.decoys} <= DETECTORS
    for subject, chain in chains(found.statements).items():
        if subject not in found.truth.touched:
            assert not fold(chain).violations, subject


@few
@given(meters=sizes, seed=seeds)
def test_every_event_is_one_the_platform_takes(meters: int, seed: int) -> None:
    """Form, data of its type, and a role that may send it."""
    from compliance.custody import vocabulary

    words = vocabulary.load()
    for statement in scenario(meters, seed).statements:
        events.check_event(statement.event())
        kind = words.events[statement.type]
        assert not shapes.of(statement.type).problems(statement.data), (statement.type, statement.data)
        if statement.corrects is None:
            assert kind.emitted_by & ROLES[statement.desk.organisation], statement.type
            assert statement.subject.split(":")[0] in kind.kinds
        else:
            assert statement.corrects.desk.organisation == statement.desk.organisation


def test_a_large_run_plants_three_of_each_and_decoys_of_each() -> None:
    """The size of the usual demo."""
    truth = scenario(300, 7).truth
    assert Counter(plant.detector for plant in truth.plants) == dict.fromkeys(DETECTORS, 3)
    assert {decoy.detector for decoy in truth.decoys} == DETECTORS


def test_plants_and_decoys_keep_off_each_other() -> None:
    """No decoy of a detector lies on a chain where the same detector is planted."""
    truth = scenario(300, 7).truth
    for decoy in truth.decoys:
        for plant in truth.plants:
            assert decoy.detector != plant.detector or not decoy.subjects & plant.subjects


def test_a_run_that_is_too_small_says_so() -> None:
    """Better no demo than one whose plants crowd out the honest meters."""
    with pytest.raises(ValueError, match="at least"):
        generate(PARAMETERS, meters=PARAMETERS.plants.smallest_run - 1, seed=1)


@few
@given(meters=sizes, seed=seeds)
def test_batches_keep_the_order_of_every_chain(meters: int, seed: int) -> None:
    """Wherever batches of one wave are interleaved, each chain still reads in the order in which it was said."""
    statements = scenario(meters, seed).statements
    order = {statement.number: position for position, statement in enumerate(statements)}
    last: dict[str, tuple[int, int, str]] = {}
    for number, wave in enumerate(plan(statements)):
        for lane in wave:
            for batch in lane:
                assert len({one.desk for one in batch.statements}) == 1
                for statement in batch.statements:
                    for subject in (statement.subject, *statement.members):
                        said, earlier_wave, queue = last.get(subject, (-1, number, statement.desk.queue))
                        assert said < order[statement.number]
                        assert earlier_wave < number or queue == statement.desk.queue
                        last[subject] = (order[statement.number], number, statement.desk.queue)


def test_what_reaches_a_meter_by_link_is_sent_before_what_the_meter_says_next() -> None:
    """Links come after the batch of their cause, so a meter's own next event must be in a later batch."""
    linked: dict[str, int] = {}
    for number, batch in enumerate(batches(scenario().statements)):
        for statement in batch.statements:
            if not statement.members:
                assert linked.get(statement.subject, -1) < number
        for statement in batch.statements:
            linked.update(dict.fromkeys(statement.members, number))


def test_keys_of_desks_are_keys_of_people_who_exist() -> None:
    """Each signature of a batch is of a key that is registered."""
    used = {name for statement in scenario().statements for name in statement.desk.signers}
    assert used <= set(KEYS)


def test_nothing_is_dated_after_the_end() -> None:
    """The end date is a parameter, so that the events never lie in the future of whoever runs it."""
    found = scenario(300, 7)
    assert all(statement.at <= found.world.hours.end for statement in found.statements)


def test_the_sent_order_of_a_late_upload() -> None:
    """What waited in a hand-held goes out when it got network, but says when it happened."""
    found: list[Statement] = []
    for seed in range(40):
        found += [one for one in scenario(200, seed).statements if one.sent_at is not None]
        if found:
            break
    assert found
    assert all(one.sent_at is not None and one.sent_at > one.at for one in found)
