"""Meters and their chain of custody."""

from django.apps import AppConfig


class CustodyConfig(AppConfig):
    """Meters and their chain of custody."""

    name = "compliance.custody"
    label = "custody"
    default_auto_field = "django.db.models.BigAutoField"
