"""Which builder makes which kind of report."""

from compliance.reports.builders.drafts import Draft
from compliance.reports.models import Kind, Report


def build(report: Report) -> Draft:
    """The draft of `report`, from the record as it is now."""
    if report.kind == Kind.METER_CERTIFICATE:
        from compliance.reports.builders import meter_certificate

        return meter_certificate.build(report)
    from compliance.reports.builders import framework_audit

    return framework_audit.build(report)
