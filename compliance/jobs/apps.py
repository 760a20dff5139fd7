"""Durable background jobs."""

from django.apps import AppConfig


class JobsConfig(AppConfig):
    """Durable background jobs."""

    name = "compliance.jobs"
    label = "jobs"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the sweeper; let statements carry their row scope."""
        from compliance.jobs import row_scope, tasks  # noqa: F401 (both register themselves)
