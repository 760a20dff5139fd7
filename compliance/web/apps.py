"""The pages."""

from django.apps import AppConfig


class WebConfig(AppConfig):
    """The pages."""

    name = "compliance.web"
    label = "web"
    default_auto_field = "django.db.models.BigAutoField"
