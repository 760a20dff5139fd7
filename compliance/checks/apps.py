"""Detectors, findings and coverage."""

from django.apps import AppConfig


class ChecksConfig(AppConfig):
    """Detectors, findings and coverage."""

    name = "compliance.checks"
    label = "checks"
    default_auto_field = "django.db.models.BigAutoField"
