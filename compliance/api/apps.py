"""The REST interface."""

from django.apps import AppConfig


class ApiConfig(AppConfig):
    """The REST interface."""

    name = "compliance.api"
    label = "api"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Answers that were given belong to whoever owns the credential."""
        from compliance.accounts.models import ApiKey
        from compliance.api.models import AnsweredRequest
        from compliance.ledger import row_security

        row_security.own_through(AnsweredRequest, "owner", ApiKey)
