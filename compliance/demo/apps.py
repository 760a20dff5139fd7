"""The simulated factory and field."""

from django.apps import AppConfig


class DemoConfig(AppConfig):
    """The simulated factory and field."""

    name = "compliance.demo"
    label = "demo"
    default_auto_field = "django.db.models.BigAutoField"
