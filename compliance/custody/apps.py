"""Meters and their chain of custody."""

from typing import Any

from django.apps import AppConfig
from django.db import connections
from django.db.models.signals import post_migrate


class CustodyConfig(AppConfig):
    """Meters and their chain of custody."""

    name = "compliance.custody"
    label = "custody"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Project every batch that is appended; load the vocabulary once, so that a contradiction stops the start."""
        from compliance.custody import (  # tasks registers the jobs
            fact_locks,
            profiles,
            projection,
            rebuild,
            tasks,  # noqa: F401
            vocabulary,
        )
        from compliance.ledger import row_security
        from compliance.ledger.append import register_applier, register_lock
        from compliance.ledger.fsck import register_fsck
        from compliance.ledger.mirror import register_rebuild

        vocabulary.load()
        profiles.active()
        register_lock(fact_locks.hold_facts)
        register_applier("", projection.apply)
        register_fsck(rebuild.compare)
        register_rebuild(rebuild.rebuild)
        row_security.leave(
            "a projection of the log: a meter is shared by all that were a party to it, and a batch is judged by all "
            "of its chain",
            "custody",
        )
        post_migrate.connect(_leave_room, sender=self, dispatch_uid="custody.leave_room")


def _leave_room(using: str, **_kwargs: Any) -> None:
    """Let each page of meters keep room for the next versions of its rows: an update then touches no index."""
    connection = connections[using]
    if connection.vendor == "postgresql" and "custody_meter" in connection.introspection.table_names():
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE custody_meter SET (fillfactor = 60)")
