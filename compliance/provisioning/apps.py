"""The secured cell, the firmware register and the key registry."""

from django.apps import AppConfig


class ProvisioningConfig(AppConfig):
    """The secured cell, the firmware register and the key registry."""

    name = "compliance.provisioning"
    label = "provisioning"
    default_auto_field = "django.db.models.BigAutoField"
