"""Organisations, people, keys and the policy matrix."""

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    """Organisations, people, keys and the policy matrix."""

    name = "compliance.accounts"
    label = "accounts"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Follow the log: keys are locked in the append, and its `org.*` entries become rows."""
        from compliance.accounts import fsck, locks, projection, selectors
        from compliance.ledger import append, mirror, setup
        from compliance.ledger.fsck import register_fsck

        append.register_lock(locks.hold_signing_keys)
        append.register_applier("org.", projection.follow)
        append.register_applier("", projection.check_signers)
        setup.register_pins(selectors.pins)
        register_fsck(fsck.compare)
        mirror.register_rebuild(fsck.rebuild)
