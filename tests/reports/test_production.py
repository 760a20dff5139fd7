"""The job: what it leaves behind when it fails, and that trying again makes one report, not two."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import transaction
from django.test import override_settings

from compliance.custody.models import Meter
from compliance.jobs import clock, failpoints, worker
from compliance.jobs import selectors as jobs
from compliance.jobs.models import Job, JobState
from compliance.ledger import selectors as ledger
from compliance.reports import actions, archive, authority, selectors, tasks
from compliance.reports.actions import DrawnPdf
from compliance.reports.models import Report, SealStatus, State
from tests.conftest import FOLDERS
from tests.reports import house
from tests.reports.house import House
from tests.reports.making import Workshop


@pytest.fixture(scope="module")
def inside(
    django_db_setup: None, django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, House]]:
    """A log with meters, made once for this module; its folder and its people."""
    folder = tmp_path_factory.mktemp("house")
    paths = {name: folder / name.lower() for name in FOLDERS}
    around = transaction.atomic()
    around._from_testcase = True  # as Django marks its own: a durable block inside is not stopped by it
    with django_db_blocker.unblock(), around:
        with override_settings(METERPROOF={**settings.METERPROOF, **paths}):
            made = house.build()
        yield folder, made
        transaction.set_rollback(True)


@pytest.fixture
def here(inside: tuple[Path, House], db: None, folders: Path) -> House:
    """The house of this module, with folders of its own: its signer must not be ahead of the next test's rows."""
    folder, made = inside
    shutil.copytree(folder, folders, dirs_exist_ok=True)
    return made


def ask(here: House) -> Report:
    return actions.request_report(by=here.auditor, kind="meter_certificate", parameters={"meter": here.meter.public_id})


def job_of(report: Report) -> Job:
    job = jobs.get(report.job)
    assert job is not None
    return job


def issued_entries(report: Report) -> list[str]:
    return [entry.event["type"] for entry in ledger.chain(report.subject)]


@pytest.mark.timeout(300)  # it draws twice and seals three times
def test_interrupted_anywhere_it_is_issued_once(here: House) -> None:
    """The process dies after drawing, after sealing, and while it is entered in the log."""
    report = ask(here)
    for point in ("reports.drawn", "reports.sealed", "reports.issued"):
        died: list[str] = []

        def die(place: str = point, said: list[str] = died) -> None:
            if not said:
                said.append(place)
                raise ConnectionError(f"lost at {place}")

        with failpoints.arm(point, die):
            worker.run_until_idle()
        assert died == [point]
        report.refresh_from_db()
        assert report.is_open, "a job that will be tried again has not failed"
        assert (issued_entries(report), report.pdf_path) == ([], "")
        Job.objects.filter(pk=report.job).update(run_at=clock.now())
    worker.run_until_idle()
    report.refresh_from_db()
    assert (report.state, report.seal_status) == (State.ISSUED, SealStatus.VERIFIED), report.failure
    assert issued_entries(report) == ["report.issued"]
    tasks.produce(worker.RunningJob(job_of(report)), report=report.public_id)
    assert issued_entries(report) == ["report.issued"], "the job run once more changes nothing"
    file = selectors.open_pdf(report)
    assert file is not None
    assert file.read() == archive.read(report.pdf_sha256)


def test_without_a_time_stamp_it_waits_and_is_not_sealed(
    here: House, settings: Any, workshop: Workshop, unsigned_certificate: bytes
) -> None:
    report = ask(here)
    actions.begin(report)
    name = archive.store(unsigned_certificate)
    actions.drawn(report, DrawnPdf(workshop.certificate_draft(events=5), name.removesuffix(".pdf"), 2))
    root = str(settings.METERPROOF["TRUST_DIR"] / "tsa-root.crt")
    authority.publish_roots()
    nobody = [{"url": "http://127.0.0.1:9/tsa", "root": root}]
    settings.METERPROOF = {**settings.METERPROOF, "TIME_STAMP_AUTHORITIES": nobody}
    worker.run_until_idle()
    report.refresh_from_db()
    assert (report.state, report.seal_status) == (State.SEALING, SealStatus.AWAITING_TIME_STAMP)
    assert "127.0.0.1:9" in report.failure
    assert (selectors.open_pdf(report), issued_entries(report)) == (None, [])
    assert job_of(report).state == JobState.QUEUED, "it tries again"
    Job.objects.filter(pk=report.job).update(state=JobState.FAILED)
    tasks.ask_again_for_time_stamps()
    assert Job.objects.filter(dedupe_key=report.public_id, state=JobState.QUEUED).count() == 1


def test_without_an_authority_it_fails_and_says_so(here: House, settings: Any) -> None:
    settings.METERPROOF = {**settings.METERPROOF, "ALLOW_DEVELOPMENT_AUTHORITY": False}
    report = ask(here)
    worker.run_until_idle()
    report.refresh_from_db()
    assert report.state == State.FAILED
    assert "ALLOW_DEVELOPMENT_AUTHORITY" in report.failure
    assert job_of(report).state == JobState.DONE, "trying again would not help"


def test_a_record_that_does_not_verify_makes_no_report(here: House, settings: Any, tmp_path: Path) -> None:
    """Somebody put another log key into the trust folder."""
    other = Workshop.open(tmp_path / "other")
    settings.METERPROOF = {**settings.METERPROOF, "TRUST_DIR": other.trust_folder}
    report = ask(here)
    worker.run_until_idle()
    report.refresh_from_db()
    assert report.state == State.FAILED
    assert "does not verify" in report.failure


def test_the_last_attempt_says_what_happened(here: House) -> None:
    report = ask(here)
    Job.objects.filter(pk=report.job).update(max_attempts=1)

    def full() -> None:
        raise OSError(28, "No space left on device")

    with failpoints.arm("ledger.integrate.begin", full):
        worker.run_until_idle()
    report.refresh_from_db()
    assert report.state == State.FAILED
    assert "No space left on device" in report.failure
    asked_again = ask(here)
    assert asked_again.pk != report.pk, "a failed report can be asked for again"


def test_a_meter_that_is_gone_fails_with_its_reason(here: House) -> None:
    report = ask(here)
    Report.objects.filter(pk=report.pk).update(parameters={"meter": "mtr_" + "0" * 32})
    worker.run_until_idle()
    report.refresh_from_db()
    assert (report.state, bool(report.failure)) == (State.FAILED, True)
    assert Meter.objects.count() == house.METERS
