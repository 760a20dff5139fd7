"""Projections: what the append writes is what the fold says, and what a replay of the log makes again."""

import pytest

from compliance.custody import links
from compliance.custody.models import Violation
from tests.custody import world

pytestmark = [pytest.mark.django_db, pytest.mark.both_engines]


def test_the_honest_life_of_three_meters(parties):
    meters = [world.title(number) for number in (1, 2, 3)]
    world.live(parties, meters)
    assert list(Violation.objects.values_list("subject", "seq", "code", "detail")) == []
    for subject in meters:
        meter = world.meter(subject)
        assert (meter.claimed_state, meter.assured_state) == ("disposed", "disposed")
        assert (meter.holder, meter.owner, meter.controller) == ("", "", "")
        assert meter.manufacturer == "elster"
        assert meter.meter_type == "AS3000"
    assert not links.is_behind()
