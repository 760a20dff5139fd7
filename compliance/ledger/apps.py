"""The append-only log."""

from typing import Any

from django.apps import AppConfig
from django.core.checks import Tags, register
from django.db.models.signals import post_migrate


class LedgerConfig(AppConfig):
    """The append-only log."""

    name = "compliance.ledger"
    label = "ledger"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Fence the insert-only tables after every migrate, check the fences, register the jobs."""
        from compliance.ledger import checks, guards, row_security, tasks  # noqa: F401 (registers the jobs)
        from compliance.ledger.models import INSERT_ONLY

        for model in INSERT_ONLY:
            guards.protect(model)
        guards.register(row_security)
        row_security.leave("one log serves all; whose entry it is, only the entry says", "ledger")
        row_security.leave("the platform's own work; payloads name rows and hold none", "jobs")
        post_migrate.connect(_install_guards, sender=self, dispatch_uid="ledger.guards")
        register(checks.check_guards, Tags.database)
        register(checks.check_state, Tags.database)
        register(checks.check_role, Tags.database, deploy=True)
        register(checks.check_row_security, Tags.database, deploy=True)


def _install_guards(using: str, **_kwargs: Any) -> None:
    from compliance.ledger import guards

    guards.install(using)
