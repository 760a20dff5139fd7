"""Organisations, people, keys and the policy matrix."""

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    """Organisations, people, keys and the policy matrix."""

    name = "compliance.accounts"
    label = "accounts"
    default_auto_field = "django.db.models.BigAutoField"
