"""The append-only log."""

from django.apps import AppConfig


class LedgerConfig(AppConfig):
    """The append-only log."""

    name = "compliance.ledger"
    label = "ledger"
    default_auto_field = "django.db.models.BigAutoField"
