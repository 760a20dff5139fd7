"""Alarms of the ledger are findings: opened once, closed when they are over."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from compliance.checks import actions, alarms
from compliance.checks.models import Finding, FindingState, Suspicion
from compliance.custody import rebuild
from compliance.jobs import clock
from compliance.jobs.registry import periodic_tasks
from compliance.ledger import anchors, integrate, publish, witnesses
from compliance.ledger.errors import WitnessAlarm
from compliance.proof import subject as subjects
from tests.services.lying_witness import lying_witness, says
from tests.services.time_stamps import time_stamp_authority
from tests.witness.logs import witness_signer

pytestmark = [pytest.mark.django_db, pytest.mark.both_engines]


def look() -> None:
    """What the worker does: look at the alarms, give entries their place, tell the log."""
    next(each for each in periodic_tasks() if each.name == "checks.alarms").run()
    integrate.integrate()
    while actions.tell():
        pass


def states() -> list[tuple[str, str, str]]:
    """Detector, severity and state of each finding, the oldest first."""
    return list(Finding.objects.order_by("opened_at").values_list("detector", "severity", "state"))


def test_a_witness_alarm_is_a_finding_until_the_operator_goes_on(log: Path, folders: Path, settings: Any) -> None:
    """An alarm raised anew is another finding. Reading it again, or closing it first, changes nothing."""
    with lying_witness(says(422, b"another history\n")) as witness:
        policy = folders / "witness.policy"
        policy.write_text(f"witness liar {witness_signer().vkey} {witness.url}\nquorum none\n")
        settings.METERPROOF = {**settings.METERPROOF, "WITNESS_POLICY": policy, "WITNESS_TIMEOUT_SECONDS": 30}
        integrate.integrate()
        for number, reason in enumerate(["their disk was restored", "again"], start=1):
            with pytest.raises(WitnessAlarm):
                publish.publish(hurry=True)
            look()
            look()
            assert states()[-1] == (alarms.WITNESS, "critical", FindingState.OPEN)
            newest = Finding.objects.order_by("opened_at").last()
            assert newest is not None
            assert newest.subject == subjects.log(settings.METERPROOF["ORIGIN"])
            assert "liar" in newest.detail
            witnesses.go_on(reason)
            look()
            look()
            newest.refresh_from_db()
            assert (newest.state, newest.closed_by) == (FindingState.CLOSED, "meterproof")
            assert newest.reason.endswith(f": {reason}")
            assert Finding.objects.count() == number
            assert not Suspicion.objects.exists()
    assert list(rebuild.compare()) == []


def test_time_stamps_that_do_not_come_are_one_finding_until_they_do(log: Path, tmp_path: Path, settings: Any) -> None:
    with time_stamp_authority(tmp_path / "outside") as desk:
        entry = {"url": desk.address, "root": str(desk.root), "timeout": 20}
        settings.METERPROOF = {**settings.METERPROOF, "TIME_STAMP_AUTHORITIES": [entry]}
        desk.answer = lambda _request: None
        integrate.integrate()
        publish.publish()
        started = clock.now()
        for minutes in (0, 30, 61, 130):
            with clock.use(lambda late=minutes: started + timedelta(minutes=late)):  # type: ignore[misc]
                anchors.anchor()
                look()
                assert states() == [(alarms.ANCHOR, "high", FindingState.OPEN)] * (minutes > 60)
        desk.answer = None
        with clock.use(lambda: started + timedelta(minutes=140)):
            anchors.anchor()
            look()
        assert states() == [(alarms.ANCHOR, "high", FindingState.CLOSED)]
    assert list(rebuild.compare()) == []
