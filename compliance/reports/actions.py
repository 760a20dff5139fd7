"""Writes to reports: ask for one, move it on, issue it. Issuing moves the row and the log in one transaction."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from compliance.accounts import policy
from compliance.accounts.models import ApiKey, Organisation, Person
from compliance.accounts.policy import Actor
from compliance.custody.models import Meter
from compliance.frameworks.models import Framework
from compliance.frameworks.selectors import framework
from compliance.jobs import clock, failpoints
from compliance.jobs.actions import enqueue
from compliance.ledger.platform_log import platform_batch
from compliance.ledger.transactions import unit_of_work
from compliance.reports.models import Kind, Report, SealStatus, State

if TYPE_CHECKING:  # pages and signatures are loaded where reports are made, not in every web process
    from compliance.reports.builders.drafts import Draft
    from compliance.reports.sealing import SealedPdf

TASK = "reports.produce"
LANGUAGES = frozenset({"en"})
MAX_FAILURE_CHARACTERS = 1000
_FRAMEWORK_KEY = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_METER_ID = re.compile(r"mtr_[0-9a-f]{32}")


class RequestRefused(Exception):
    """The report cannot be asked for like this. `parameter` says what to mend."""

    code = "report.parameters"

    def __init__(self, parameter: str, detail: str) -> None:
        super().__init__(detail)
        self.parameter = parameter
        self.detail = detail


@dataclass(frozen=True, slots=True)
class DrawnPdf:
    """What drawing made of a draft."""

    draft: "Draft"
    sha256: str
    pages: int


@unit_of_work()
def request_report(*, by: Actor, kind: str, parameters: Mapping[str, Any], language: str = "en") -> Report:
    """Ask for a report; a job makes it. The same question again, while the first is being answered, is the same report.

    Parameters: `{"framework": key}` for a framework audit, `{"meter": public id}` for a meter certificate.
    Raises NotAllowed, RequestRefused.
    """
    policy.require(by, "report.request")
    if kind not in Kind.values:
        raise RequestRefused("kind", f"the kinds are {', '.join(Kind.values)}")
    if language not in LANGUAGES:
        raise RequestRefused("language", f"reports are written in {', '.join(sorted(LANGUAGES))}")
    asked, organisation = _checked(Kind(kind), parameters)
    same = Report.objects.filter(
        kind=kind, parameters=asked, language=language, state__in=[State.REQUESTED, State.RENDERING, State.SEALING]
    ).first()
    if same is not None:
        return same
    report = Report(
        kind=kind,
        parameters=asked,
        language=language,
        organisation=organisation,
        requested_by=by if isinstance(by, Person) else None,
        requested_with=by if isinstance(by, ApiKey) else None,
        actor=dict(by.actor),
        requested_at=clock.now(),
    )
    report.save()
    report.job = enqueue(TASK, {"report": report.public_id}, dedupe_key=report.public_id).pk
    report.save(update_fields=["job"])
    return report


def begin(report: Report) -> None:
    """Say that the report is being drawn."""
    _move(report, {State.REQUESTED, State.RENDERING}, state=State.RENDERING, failure="")


def drawn(report: Report, pdf: DrawnPdf) -> None:
    """Keep what was drawn: from here on only the seal is missing."""
    draft = pdf.draft
    _move(
        report,
        {State.RENDERING},
        state=State.SEALING,
        title=draft.title[:300],
        log_size=draft.checkpoint.size,
        log_root=draft.checkpoint.root,
        input_digest=draft.digest,
        unsigned_sha256=pdf.sha256,
        pages=pdf.pages,
        attachments=[
            {"name": file.name, "media_type": file.media_type, "size": len(file.content), "sha256": file.sha256}
            for file in draft.files
        ],
    )


def await_time_stamp(report: Report, reason: str) -> None:
    """Say that no time stamp authority answered. The report stays unsealed until one does."""
    _move(
        report,
        {State.SEALING},
        seal_status=SealStatus.AWAITING_TIME_STAMP,
        failure=f"No time stamp authority answered: {reason}"[:MAX_FAILURE_CHARACTERS],
    )


def issue(report: Report, sealed: "SealedPdf", *, sha256: str, signed_fields: list[str]) -> Report:
    """Issue `report`: the row and the log say so together. Doing it twice issues it once."""
    with platform_batch(actor=report.actor) as log:
        locked = Report.objects.select_for_update().get(pk=report.pk)
        if locked.state == State.ISSUED:
            return locked
        if locked.state != State.SEALING:
            raise RuntimeError(f"{locked.public_id} is {locked.state}, not waiting for its seal")
        locked.state = State.ISSUED
        locked.failure = ""
        locked.pdf_sha256 = sha256
        locked.pdf_path = f"{sha256}.pdf"
        locked.pdf_size = len(sealed.data)
        locked.signed_fields = signed_fields
        locked.seal_status = SealStatus.VERIFIED
        locked.seal_certificate_sha256 = sealed.certificate_sha256
        locked.time_stamp_by = sealed.time_stamp_by
        locked.sealed_by_development_authority = sealed.is_development
        locked.issued_at = clock.now()
        locked.save()
        log.record(locked.subject, "report.issued", issued_data(locked))
        failpoints.reach("reports.issued")
    return locked


def fail(report: Report, reason: str) -> None:
    """Give the report up, and say why."""
    _move(
        report,
        {State.REQUESTED, State.RENDERING, State.SEALING},
        state=State.FAILED,
        failure=reason[:MAX_FAILURE_CHARACTERS],
    )


def issued_data(report: Report) -> dict[str, Any]:
    """What the log holds of an issued report; `fsck` compares it with the row."""
    return {
        "number": report.number,
        "kind": report.kind,
        "title": report.title,
        "log_size": report.log_size,
        "log_root": report.log_root,
        "input_sha256": report.input_digest,
        "unsigned_sha256": report.unsigned_sha256,
        "pdf_sha256": report.pdf_sha256,
        "pages": report.pages,
        "attachments": [{"name": item["name"], "sha256": item["sha256"]} for item in report.attachments],
        "signed_fields": list(report.signed_fields),
        "seal_certificate_sha256": report.seal_certificate_sha256,
        "time_stamp_by": report.time_stamp_by,
    }


def _move(report: Report, start: set[str], **changes: Any) -> None:
    """Change the row if it still is in one of the states `start`; a report that moved on meanwhile is left alone."""
    if Report.objects.filter(pk=report.pk, state__in=start).update(**changes):
        report.refresh_from_db()


def _checked(kind: Kind, parameters: Mapping[str, Any]) -> tuple[dict[str, str], Organisation | None]:
    wanted = "framework" if kind == Kind.FRAMEWORK_AUDIT else "meter"
    value = parameters.get(wanted)
    if set(parameters) != {wanted} or not isinstance(value, str):
        raise RequestRefused("parameters", f"a {kind.label.lower()} takes the parameter `{wanted}` alone")
    if kind == Kind.FRAMEWORK_AUDIT:
        return {"framework": _framework_key(value)}, None
    key = bytes.fromhex(value.removeprefix("mtr_")) if _METER_ID.fullmatch(value) else b""
    meter = Meter.objects.filter(subject_key=key).first()
    if meter is None:
        raise RequestRefused("meter", "no meter has this id; it begins with mtr_")
    return {"meter": value}, Organisation.objects.filter(pk=meter.owner or meter.manufacturer).first()


def _framework_key(value: str) -> str:
    try:
        if _FRAMEWORK_KEY.fullmatch(value) is None:
            raise Framework.DoesNotExist
        return str(framework(value).key)
    except Framework.DoesNotExist:
        raise RequestRefused("framework", "no framework has this key; GET /api/v1/frameworks lists them") from None
