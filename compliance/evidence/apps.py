"""Evidence: files by digest, links and review."""

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, Error, Tags, register
from django.db import connections
from django.db.models.signals import post_migrate


class EvidenceConfig(AppConfig):
    """Evidence: files by digest, links and review."""

    name = "compliance.evidence"
    label = "evidence"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Fence the tables, register the jobs and the comparison of rows and bytes with the log."""
        from compliance.evidence import consistency, tasks  # noqa: F401 (registers the jobs)
        from compliance.evidence.models import EvidenceFile, EvidenceLink
        from compliance.ledger import fsck, guards

        guards.protect(EvidenceFile)
        guards.protect(EvidenceLink)
        post_migrate.connect(_install_guards, sender=self, dispatch_uid="evidence.guards")
        register(_check_guards, Tags.database)
        fsck.register_fsck(consistency.compare)


def _install_guards(using: str, **_kwargs: Any) -> None:
    from compliance.evidence import guards

    guards.install(using)


def _check_guards(databases: Sequence[str] | None = None, **_kwargs: Any) -> list[CheckMessage]:
    from compliance.evidence import guards
    from compliance.evidence.models import Evidence

    table = Evidence._meta.db_table
    return [
        Error(
            f"The database lets recorded evidence be changed: {name} is missing.",
            hint="Put the guards up again with: manage.py migrate. Then look with: manage.py fsck",
            id="evidence.E001",
        )
        for using in databases or []
        if table in connections[using].introspection.table_names()
        for name in guards.missing(using)
    ]
