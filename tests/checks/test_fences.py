"""F30: a guard that an administrator took down is a finding by the next hour, told in the log."""

import pytest
from django.conf import settings

from compliance.checks import actions, fences, tasks
from compliance.checks.models import Finding, FindingState, Suspicion
from compliance.custody import rebuild
from compliance.jobs.registry import periodic_tasks
from compliance.ledger import guards, integrate
from compliance.ledger.drill.trial import take_down_guards
from compliance.proof import subject as subjects

pytestmark = [pytest.mark.django_db, pytest.mark.both_engines]


def test_a_vanished_guard_is_a_finding_by_the_next_hour(log):
    integrate.integrate()
    hourly = next(each for each in periodic_tasks() if each.name == "checks.guards")
    assert hourly.every_seconds <= 3_600
    hourly.run()
    assert not Suspicion.objects.exists(), "all guards stand"
    take_down_guards()
    gone = guards.missing()
    assert gone
    hourly.run()
    hourly.run()
    assert Suspicion.objects.count() == len(gone), "each is told once a day"
    while actions.tell():
        pass
    chain = subjects.log(settings.METERPROOF["ORIGIN"])
    for finding in Finding.objects.all():
        assert (finding.detector, finding.severity, finding.state) == (fences.DETECTOR, "critical", FindingState.OPEN)
        assert finding.subject == chain
        assert any(name in finding.detail for name in gone)
    assert Finding.objects.count() == len(gone)
    assert fences.suspect_missing() == 0
    assert list(rebuild.compare()) == [], "findings are made again from the log alike"
    guards.install()
    tasks.look_at_guards()
    assert not Suspicion.objects.exists()
