"""Evidence: files by digest, links and review."""

from django.apps import AppConfig


class EvidenceConfig(AppConfig):
    """Evidence: files by digest, links and review."""

    name = "compliance.evidence"
    label = "evidence"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Fence the tables, register the jobs and the comparison of rows and bytes with the log."""
        from compliance.evidence import consistency, storage, tasks  # noqa: F401 (registers the jobs)
        from compliance.evidence import guards as evidence_guards
        from compliance.evidence.models import Evidence, EvidenceFile, EvidenceLink
        from compliance.ledger import fsck, guards, mirror, row_security

        guards.protect(EvidenceFile)
        guards.protect(EvidenceLink)
        guards.register(evidence_guards)
        row_security.own(Evidence, "organisation_id", everywhere=["evidence.read", "coverage.read"])
        row_security.own_through(EvidenceFile, "evidence_id", Evidence)
        row_security.own_through(EvidenceLink, "evidence_id", Evidence)
        fsck.register_fsck(consistency.compare, beyond_the_log=True)
        mirror.register_evidence(mirror.EvidenceFiles(find=storage.find, keep=storage.keep_bytes))
