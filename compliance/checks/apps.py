"""Detectors, findings and coverage."""

from django.apps import AppConfig


class ChecksConfig(AppConfig):
    """Detectors, findings and coverage."""

    name = "compliance.checks"
    label = "checks"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the detectors and the jobs, judge every batch that is appended, follow the findings of the log."""
        from compliance.checks import detectors, live, projection, tasks  # noqa: F401 (registers checks and jobs)
        from compliance.checks.models import PROJECTIONS, CheckResult, CheckRun, Finding
        from compliance.custody import rebuild
        from compliance.ledger import guards, row_security
        from compliance.ledger.append import register_applier

        register_applier("", live.judge_appended)
        register_applier("check.", projection.apply)
        rebuild.register(projection.apply_statements, PROJECTIONS)
        for model in (CheckRun, CheckResult):
            guards.protect(model)
        row_security.own(
            Finding,
            *("author", "subject_key", "seq"),
            everywhere=["finding.read", "coverage.read"],
            shared="EXISTS (SELECT 1 FROM {custody.Visibility} seen WHERE seen.organisation = ANY ({words}) "
            "AND seen.subject_key = $2 AND seen.from_seq <= $3 AND (seen.to_seq IS NULL OR seen.to_seq >= $3))",
        )
        row_security.leave("what the checks found in the log as a whole, and what waits to be told to it", "checks")
