"""From a batch to a finding in the log, on a real log: seen at once, told once, the same however it came."""

import pytest

from compliance.checks import actions, projection, sweep
from compliance.checks.models import CheckResult, CheckRun, Finding, FindingMeter, FindingState, Suspicion
from compliance.checks.tasks import SWEEP_SECONDS
from compliance.custody import rebuild
from compliance.jobs import worker
from compliance.ledger import selectors as ledger
from compliance.ledger.integrate import integrate
from compliance.ledger.models import LogState
from tests.checks import crime

pytestmark = [pytest.mark.django_db, pytest.mark.both_engines]


def told() -> int:
    """Everything that waits told to the log."""
    integrate()
    number = 0
    while dealt_with := actions.tell():
        number += dealt_with
    return number


def id_of(deviation):
    step = deviation.step
    check = {"detector": deviation.check.id, "version": deviation.check.version}
    return actions.finding_id(**check, subject=step.subject, seq=step.seq, about=deviation.verdict.about)


def ids(model):
    return set(model.objects.values_list("pk", flat=True))


@pytest.mark.parametrize("size", [1, 4, 1_000], ids=["singly", "in fours", "whole runs"])
def test_every_crime_is_found_and_nothing_else_however_it_is_sent(parties, size):
    """Live, while it is appended, equals the reading of the whole log afterwards; both equal the truth."""
    crime.week(parties).send(size)
    live = set(crime.as_truth(Suspicion.objects.all()))
    assert live == {crime_ for crime_ in crime.TRUTH if crime_[0] not in crime.SWEPT}
    seen_live = ids(Suspicion)

    integrate()
    swept = sweep.sweep(LogState.objects.get().size)
    from_scratch = {id_of(deviation) for deviation in swept.deviations}
    actions.run()
    assert ids(Suspicion) == from_scratch
    assert seen_live <= from_scratch
    assert set(crime.as_truth(Suspicion.objects.all())) == crime.TRUTH

    told()
    assert not Suspicion.objects.exists()
    assert set(crime.as_truth(Finding.objects.all())) == crime.TRUTH
    assert ids(Finding) == from_scratch
