"""Evidence: files by digest, links and review."""

from django.apps import AppConfig


class EvidenceConfig(AppConfig):
    """Evidence: files by digest, links and review."""

    name = "compliance.evidence"
    label = "evidence"
    default_auto_field = "django.db.models.BigAutoField"
