"""Catalogues, requirements and mappings."""

from django.apps import AppConfig


class FrameworksConfig(AppConfig):
    """Catalogues, requirements and mappings."""

    name = "compliance.frameworks"
    label = "frameworks"
    default_auto_field = "django.db.models.BigAutoField"
