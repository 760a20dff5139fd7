"""Catalogues, requirements and mappings."""

from django.apps import AppConfig


class FrameworksConfig(AppConfig):
    """Catalogues, requirements and mappings."""

    name = "compliance.frameworks"
    label = "frameworks"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Let the database itself keep loaded editions as they are."""
        from compliance.ledger import guards, row_security

        for model in self.get_models():
            guards.protect(model)
        row_security.leave("published catalogues, for everybody", "frameworks")
