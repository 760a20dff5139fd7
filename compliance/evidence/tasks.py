"""Periodic work on the blob store."""

import logging

from compliance.evidence import storage
from compliance.evidence.models import EvidenceFile
from compliance.jobs.registry import periodic
from compliance.ledger import mirror

log = logging.getLogger(__name__)


@periodic("evidence.sweep_orphans", every_seconds=3600)
def sweep_orphans() -> list[str]:
    """Remove what broken uploads left in the store. A mirror's files came with an export, and no row names them."""
    if mirror.is_mirror():
        return []
    removed = storage.sweep_orphans(set(EvidenceFile.objects.values_list("sha256", flat=True)))
    if removed:
        log.info("removed %d files that no evidence names", len(removed))
    return removed


@periodic("evidence.scrub", every_seconds=24 * 3600)
def scrub() -> list[storage.Damage]:
    """Re-hash every stored blob and complain loudly about each damaged one."""
    damages = list(storage.scrub())
    for damage in damages:
        log.error(
            "evidence damaged: %s at %s. Restore it from a backup; manage.py fsck names its evidence.",
            damage.sha256,
            damage.place,
        )
    return damages
