"""The secured cell, the firmware register and the key registry."""

from django.apps import AppConfig


class ProvisioningConfig(AppConfig):
    """The secured cell, the firmware register and the key registry."""

    name = "compliance.provisioning"
    label = "provisioning"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Index every batch that is appended, after custody has judged it; be rebuilt with custody."""
        from compliance.custody import rebuild
        from compliance.ledger import row_security
        from compliance.ledger.append import register_applier
        from compliance.provisioning import projection
        from compliance.provisioning.models import PROJECTIONS

        register_applier("", projection.apply)
        rebuild.register(projection.apply_statements, PROJECTIONS)
        row_security.leave(
            "a projection of the log, asked by the checks whether a key, a seal or an image was seen anywhere",
            "provisioning",
        )
