"""From a batch to a finding in the log, on a real log: seen at once, told once, the same however it came."""

import pytest
from django.db import DatabaseError, transaction

from compliance.accounts.policy import NotAllowed
from compliance.checks import actions, registry, selectors, sweep
from compliance.checks.models import CheckResult, CheckRun, Finding, FindingMeter, FindingState, Suspicion
from compliance.checks.registry import EventCheck, Severity
from compliance.custody import rebuild
from compliance.jobs import selectors as jobs
from compliance.jobs import worker
from compliance.ledger import selectors as ledger
from compliance.ledger.errors import Refused
from compliance.ledger.integrate import integrate
from compliance.ledger.models import LogState
from compliance.proof import subject as subjects
from tests.accounts import world as accounts
from tests.checks import crime
from tests.checks.crime import HONEST, METERS, SESSION
from tests.custody import world

pytestmark = pytest.mark.django_db
both_engines = pytest.mark.both_engines


@pytest.fixture
def week(parties):
    """The week, sent."""
    crime.week(parties).send(1_000)
    return parties


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


@both_engines
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


@both_engines
def test_a_second_run_says_the_same_and_adds_nothing(week):
    told()
    actions.run()
    told()
    integrate()
    size = LogState.objects.get().size
    findings = ids(Finding)
    first = actions.run(size=size)
    assert not Suspicion.objects.exists()
    again = actions.run(size=size)
    assert told() == 0
    assert (ids(Finding), LogState.objects.get().size) == (findings, size)
    digests = [{result.detector: result.digest for result in run.results.all()} for run in (first, again)]
    assert digests[0] == digests[1]
    assert first.root == again.root == LogState.objects.get().root.hex()


@both_engines
def test_the_sweep_as_a_job(week, auditor):
    first, second = actions.request_run(by=auditor), actions.request_run(by=auditor)
    assert first.pk == second.pk, "one sweep at a time"
    worker.run_until_idle()
    job = jobs.get(str(first.pk))
    run = CheckRun.objects.get()
    assert job.result["run"] == run.public_id
    assert job.result["deviations"] == len(crime.TRUTH)
    assert run.log_size == job.result["log_size"]
    assert set(crime.as_truth(Finding.objects.all())) == crime.TRUTH
    results = {result.detector: result for result in run.results.all()}
    assert results.keys() == {check.id for check in registry.checks()}
    assert (results["AN-04"].population, results["AN-04"].deviations) == (len(METERS), 1)
    assert results["AN-08"].population == results["AN-08"].not_evaluable == len(METERS) - 1
    assert results["AN-08"].reasons == [
        {"reason": f"no certificate of {crime.TYPE} was recorded by then", "count": len(METERS) - 1}
    ]
    assert selectors.latest_results().keys() == results.keys()


@both_engines
def test_a_finding_cites_its_entry_and_the_log_cites_the_finding(week):
    integrate()
    actions.run()
    told()
    integrate()
    for finding in Finding.objects.all():
        entry = ledger.entry(finding.subject, finding.seq)
        assert (entry.hash, entry.event["type"]) == (bytes(finding.hash), finding.event_type)
        assert ledger.leaf_index(finding.subject, finding.seq) < finding.log_size
        (opening,) = ledger.chain(finding.chain)
        data = opening.event["data"]
        assert opening.event["type"] == "check.finding_opened"
        assert data["entry"]["hash"] == entry.hash.hex()
        check = registry.check(finding.detector)
        assert (data["version"], data["parameters"]) == (check.version, dict(check.parameters))
        named = set(FindingMeter.objects.filter(finding=finding.pk).values_list("meter_key", flat=True))
        assert {bytes(key) for key in named} == {subjects.key_of(meter) for meter in finding.meters}
        assert ledger.leaf_index(finding.chain, 0) is not None


def test_a_finding_is_seen_on_the_log_of_its_size_and_on_no_smaller(week):
    """Whoever has the log can ask the question again, years later."""
    told()
    for finding in Finding.objects.exclude(detector__in=crime.SWEPT):
        assert finding.pk in {id_of(each) for each in sweep.sweep(finding.log_size).deviations}
        assert finding.pk not in {id_of(each) for each in sweep.sweep(finding.log_size - 1).deviations}


def test_what_has_no_place_in_the_log_yet_waits(week):
    seen = Suspicion.objects.count()
    assert actions.tell() == 0
    assert Suspicion.objects.count() == seen
    assert told() == seen


@both_engines
def test_findings_are_a_projection_of_the_log(week, auditor):
    told()
    actions.close_finding(finding=Finding.objects.first(), by=auditor, resolution="explained", reason="a test rig")
    before = list(Finding.objects.order_by("pk").values())
    assert list(rebuild.compare()) == []
    Finding.objects.filter(detector="AN-02").delete()
    Finding.objects.filter(detector="AN-07").update(detail="nothing to see")
    assert {problem.place.split()[0] for problem in rebuild.compare()} == {"checks_finding"}
    rebuild.rebuild()
    assert list(Finding.objects.order_by("pk").values()) == before


# Closing.


@both_engines
def test_a_finding_is_closed_once_with_a_reason_and_stays_closed(week, auditor):
    told()
    finding = Finding.objects.get(detector="AN-02")
    closed = actions.close_finding(finding=finding, by=auditor, resolution="fixed", reason=" Both keys rotated. ")
    assert (closed.state, closed.resolution, closed.reason) == (FindingState.CLOSED, "fixed", "Both keys rotated.")
    assert closed.closed_by == auditor.actor["person"]
    last = ledger.chain(finding.chain)[-1].event
    assert (last["type"], last["actor"]) == ("check.finding_closed", auditor.actor)
    assert last["data"] == {"resolution": "fixed", "reason": "Both keys rotated."}
    with accounts.refused("finding.state"):
        actions.close_finding(finding=finding, by=auditor, resolution="fixed", reason="again")
    integrate()
    actions.run()
    told()
    assert Finding.objects.get(detector="AN-02").state == FindingState.CLOSED
    assert selectors.open_findings_by_check().keys() == {check_id for check_id, *_ in crime.TRUTH} - {"AN-02"}


def test_a_decision_without_its_reason_is_refused(week, auditor):
    told()
    finding = Finding.objects.first()
    for resolution, reason, code in (
        ("gone", "because", "finding.resolution"),
        ("fixed", " ", "finding.reason"),
        ("fixed", "x" * 2_001, "finding.reason"),
        ("fixed", "a\0b", "finding.reason"),
    ):
        with accounts.refused(code, Refused):
            actions.close_finding(finding=finding, by=auditor, resolution=resolution, reason=reason)
    assert len(ledger.chain(finding.chain)) == 1


def test_only_who_may_runs_the_checks_and_only_an_auditor_closes(week):
    told()
    maker = week["elster"].api_key.organisation
    manager, member = accounts.person("mia", maker, "manager"), accounts.person("max", maker, "member")
    for actor in (manager, member, week["elster"].api_key):
        with pytest.raises(NotAllowed):
            actions.request_run(by=actor)
    for actor in (manager, member):
        with pytest.raises(NotAllowed):
            actions.close_finding(finding=Finding.objects.first(), by=actor, resolution="fixed", reason="fine")


def test_who_sees_a_finding(week, auditor):
    """Everyone what his own statements and the chains of his meters showed; an auditor all."""
    integrate()
    actions.run()
    told()
    assert selectors.findings_visible_to(auditor).count() == len(crime.TRUTH)
    seen = {name: set(selectors.findings_visible_to(party.api_key)) for name, party in week.items()}
    assert {each.detector for each in seen["recycler"]} == set()
    assert {each.detector for each in seen["installateur"]} == {"AN-14"}
    assert {"AN-15", "AN-23"} <= {each.detector for each in seen["stadtwerk"]}
    assert "AN-07" not in {each.detector for each in seen["stadtwerk"]}
    assert {"AN-01", "AN-02", "AN-04", "AN-05", "AN-06", "AN-07", "AN-10"} <= {each.detector for each in seen["elster"]}
    about_honest = set(selectors.findings_of_meter(HONEST, auditor).values_list("detector", flat=True))
    assert about_honest == {"AN-02", "AN-06", "AN-10", "AN-23"}
    hidden = Finding.objects.get(detector="AN-07")
    assert selectors.finding(hidden.public_id, week["stadtwerk"].api_key) is None
    assert selectors.finding(hidden.public_id, auditor) == hidden


# Corrections.


def void(party, result, place=0):
    """Declare that the statement at `place` of an accepted batch did not occur."""
    gone = result.appended.entries[place]
    named = {"corrects": gone.hash.hex()}
    data = {**named, "reason": "did_not_occur"}
    return party.send(world.event("record.corrected", gone.subject, data, **named))


def live_and_swept():
    """What both say of what the log holds: they must agree."""
    live = {(each.detector, each.subject) for each in Suspicion.objects.all()}
    integrate()
    swept = sweep.sweep(LogState.objects.get().size).deviations
    assert live == {(each.check.id, each.step.subject) for each in swept if each.check.id not in crime.SWEPT}
    return {(each.check.id, each.step.subject) for each in swept}


def keyed(meter, number):
    return world.event("cell.keys_provisioned", meter, {"keys": [crime._key("GUEK", number)]})


@both_engines
@pytest.mark.parametrize("is_void", [False, True])
def test_a_key_that_was_never_there_is_free(parties, is_void):
    elster = parties["elster"]
    elster.send(world.born(1), world.born(2))
    mistaken = elster.send(keyed(world.title(1), "k"), keys=2)
    if is_void:
        void(elster, mistaken)
    elster.send(keyed(world.title(2), "k"), keys=2)
    assert live_and_swept() == (set() if is_void else {("AN-02", world.title(2))})


@pytest.mark.parametrize("is_void", [False, True])
def test_a_seal_that_was_never_put_on_is_free(parties, is_void):
    elster = parties["elster"]
    elster.send(world.born(1), world.born(2))
    mistaken = elster.send(world.event("cell.sealed", world.title(1)))
    if is_void:
        void(elster, mistaken)
    elster.send(world.event("cell.sealed", world.title(2)))
    assert live_and_swept() == (set() if is_void else {("AN-10", world.title(2))})


def test_a_second_birth_stays_found_though_it_is_taken_back(parties):
    """What the log said at that size it says for ever; somebody closes the finding with the reason."""
    elster = parties["elster"]
    elster.send(world.born(1))
    void(elster, elster.send(world.born(1)))
    elster.send(world.event("mfg.calibrated", world.title(1)))
    assert live_and_swept() == {("AN-01", world.title(1))}


def test_nobody_takes_back_what_another_said(parties):
    parties["elster"].send(world.born(1), world.born(2))
    mistaken = parties["elster"].send(keyed(world.title(1), "k"), keys=2)
    void(parties["stadtwerk"], mistaken)
    parties["elster"].send(keyed(world.title(2), "k"), keys=2)
    assert live_and_swept() == {("AN-02", world.title(2))}


@both_engines
def test_a_corrected_count_evens_the_session(parties):
    """A short count declared wrong and stated anew is no deviation."""
    elster = parties["elster"]
    none = {"entered": 0, "exited": 0, "reworked": 0}
    elster.send(world.event("cell.session_opened", SESSION), keys=2)
    wrong = elster.send(world.event("cell.session_reconciled", SESSION, {**none, "seals_voided": 9}), keys=2)
    assert live_and_swept() == {("AN-05", SESSION)}
    void(elster, wrong)
    assert live_and_swept() == set()
    elster.send(world.event("cell.session_reconciled", SESSION, none), keys=2)
    assert live_and_swept() == set()


# What may go wrong.


def test_a_check_that_fails_costs_nobody_his_batch(parties, monkeypatch, caplog):
    class Broken(EventCheck):
        """XX-01: Is it broken?"""

        id, name, severity, speaks_to, listens_to = "XX-01", "broken", Severity.LOW, (), ("mfg.assembled",)

        def judge(self, step, knowledge):
            raise LookupError(step.subject)

    monkeypatch.setitem(registry._checks, "XX-01", Broken())
    parties["elster"].send(world.born(1))
    assert ledger.head(world.title(1)) is not None
    assert "check XX-01 failed" in caplog.text


@both_engines
def test_what_a_run_saw_is_never_changed(week):
    integrate()
    run = actions.run()
    before = list(CheckResult.objects.order_by("pk").values())
    for write in (
        lambda: CheckRun.objects.filter(pk=run.pk).update(log_size=0),
        lambda: CheckResult.objects.update(deviations=0),
        lambda: CheckResult.objects.filter(run=run)._raw_delete("default"),
    ):
        with pytest.raises(DatabaseError), transaction.atomic():
            write()
    assert list(CheckResult.objects.order_by("pk").values()) == before
