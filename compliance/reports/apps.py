"""Signed PDF reports."""

from django.apps import AppConfig


class ReportsConfig(AppConfig):
    """Signed PDF reports."""

    name = "compliance.reports"
    label = "reports"
    default_auto_field = "django.db.models.BigAutoField"
