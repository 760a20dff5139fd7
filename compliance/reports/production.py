"""Making a report: gather, draw, seal, verify, issue. Each step can be repeated after a crash."""

from collections.abc import Mapping

from django.conf import settings

from compliance.custody.models import Meter
from compliance.frameworks.models import Framework
from compliance.jobs import clock, failpoints
from compliance.jobs import selectors as jobs
from compliance.jobs.registry import JobContext
from compliance.proof.report import Expected, verify_report
from compliance.proof.trust import TrustFolder
from compliance.reports import actions, archive, authority, builders, rendering, sealing
from compliance.reports.actions import DrawnPdf
from compliance.reports.builders.record import RecordBroken
from compliance.reports.models import Report, State
from compliance.reports.sealing import SealedPdf

STEPS = 5
# What another try would not mend.
LASTING = (
    authority.AuthorityMissing,
    archive.ArchiveDamaged,
    Framework.DoesNotExist,
    Meter.DoesNotExist,
    RecordBroken,
    rendering.RenderFailed,
    sealing.SealRefused,
)


class NotVerified(Exception):
    """The sealed file does not pass our own verifier. It is not issued."""


def produce(job: JobContext, report: str) -> Mapping[str, object]:
    """Make the report with the public id `report`."""
    asked = Report.objects.get(public_id=report)
    try:
        if asked.state in {State.REQUESTED, State.RENDERING}:
            _draw(job, asked)
        if asked.state == State.SEALING:
            _seal_and_issue(job, asked)
    except (*LASTING, NotVerified) as error:
        actions.fail(asked, str(error))
    except authority.TimeStampUnavailable as error:
        actions.await_time_stamp(asked, str(error))
        raise
    except Exception as error:
        if _is_last_attempt(job):
            actions.fail(asked, f"{type(error).__name__}: {error}")
        raise
    asked.refresh_from_db()
    return {"report": asked.public_id, "number": asked.number, "state": asked.state, "pdf_sha256": asked.pdf_sha256}


def _draw(job: JobContext, report: Report) -> None:
    job.progress(0, STEPS, "Gathering the record and its proof")
    actions.begin(report)
    draft = builders.build(report)
    job.progress(1, STEPS, "Drawing the pages")
    pdf = rendering.render(draft.html, attachments=draft.files, made_at=draft.made_at)
    name = archive.store(pdf.data)
    failpoints.reach("reports.drawn")
    actions.drawn(report, DrawnPdf(draft, name.removesuffix(".pdf"), pdf.pages))


def _seal_and_issue(job: JobContext, report: Report) -> None:
    job.progress(2, STEPS, "Sealing and time stamping")
    unsigned = archive.read(report.unsigned_sha256)
    sealed = sealing.seal(unsigned)
    authority.publish_roots()
    job.progress(3, STEPS, "Verifying the sealed file")
    _require_verified(report, sealed)
    sha256 = archive.store(sealed.data).removesuffix(".pdf")
    failpoints.reach("reports.sealed")
    job.progress(4, STEPS, "Entering it in the log")
    issued = actions.issue(report, sealed, sha256=sha256, signed_fields=[sealing.FIELD])
    archive.forget(issued.unsigned_sha256)  # it is the leading part of the issued file
    job.progress(STEPS, STEPS, "Issued")


def _require_verified(report: Report, sealed: SealedPdf) -> None:
    trust = TrustFolder.load(settings.METERPROOF["TRUST_DIR"])
    expected = Expected(number=str(report.number), signed_fields=(sealing.FIELD,))
    last = verify_report(sealed.data, trust, expected, now=clock.now())
    failed = [step for step in last if step.status != "ok"]
    if failed:
        raise NotVerified(f"{failed[0].title}: {'; '.join(failed[0].lines)}")


def _is_last_attempt(job: JobContext) -> bool:
    row = jobs.get(job.job_id)
    return row is None or row.attempts >= row.max_attempts
