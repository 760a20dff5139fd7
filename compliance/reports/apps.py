"""Signed PDF reports."""

from django.apps import AppConfig
from django.core.checks import register


class ReportsConfig(AppConfig):
    """Signed PDF reports."""

    name = "compliance.reports"
    label = "reports"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the job, the check for libraries, and the comparison of files and rows with the log."""
        from compliance.ledger import anchors, fsck, row_security
        from compliance.reports import authority, consistency, system_checks, tasks  # noqa: F401 (registers the job)
        from compliance.reports.models import Report

        register(system_checks.check_libraries)
        row_security.own(Report, "organisation_id", everywhere=["report.read"])
        fsck.register_fsck(consistency.compare, beyond_the_log=True)
        anchors.register_authority(anchors.Authority(authority.stamp_checkpoint, authority.checkpoint_roots))
