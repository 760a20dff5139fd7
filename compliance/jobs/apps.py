"""Durable background jobs."""

from django.apps import AppConfig


class JobsConfig(AppConfig):
    """Durable background jobs."""

    name = "compliance.jobs"
    label = "jobs"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the sweeper."""
        from compliance.jobs import tasks  # noqa: F401
