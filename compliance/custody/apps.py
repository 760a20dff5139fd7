"""Meters and their chain of custody."""

from django.apps import AppConfig


class CustodyConfig(AppConfig):
    """Meters and their chain of custody."""

    name = "compliance.custody"
    label = "custody"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Project every batch that is appended; load the vocabulary once, so that a contradiction stops the start."""
        from compliance.custody import profiles, projection, rebuild, tasks, vocabulary  # noqa: F401 (registers the jobs)
        from compliance.ledger.append import register_applier
        from compliance.ledger.fsck import register_fsck

        vocabulary.load()
        profiles.active()
        register_applier("", projection.apply)
        register_fsck(rebuild.compare)
