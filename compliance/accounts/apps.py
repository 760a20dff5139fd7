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
        from compliance.accounts.models import ApiKey, Membership
        from compliance.ledger import append, mirror, row_security, setup
        from compliance.ledger.fsck import register_fsck

        append.register_lock(locks.hold_signing_keys)
        append.register_applier("org.", projection.follow)
        append.register_applier("", projection.check_signers)
        setup.register_pins(selectors.pins)
        register_fsck(fsck.compare)
        mirror.register_rebuild(fsck.rebuild)
        row_security.own(Membership, "organisation_id", everywhere=["person.read"])
        row_security.own(ApiKey, "organisation_id", everywhere=["api_key.read", "evidence.read"])  # evidence names one
        row_security.leave(
            "a projection of the log: the public keys and roles by which everybody's statements are verified",
            "accounts.Organisation",
            "accounts.SigningKey",
        )
        row_security.leave(
            "asked for before it is known who is asking, or without anything of an organisation",
            "accounts",
            "auth",
            "axes",
            "contenttypes",
            "sessions",
        )
