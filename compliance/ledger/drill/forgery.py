"""A whole second history by whoever has database, key and signer's memory: only a checkpoint kept outside tells.

It is tried on a log that the drill makes for itself, with an origin and keys of its own that are thrown away with the
copy. The keys of the installation sign nothing here: a second history under them would be the very evidence against it.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from django.apps import apps
from django.conf import settings
from django.db import connection, transaction

from compliance.ledger import integrate, publish, setup, signer, startup
from compliance.ledger.drill import histories
from compliance.ledger.drill.trial import follows_from, problems, shown_checkpoint
from compliance.ledger.errors import LedgerError
from compliance.ledger.models import Checkpoint, LeafRange
from compliance.ledger.platform_log import platform_batch
from compliance.proof import subject as subjects
from compliance.proof.keys import ED25519, PrivateKey

ORIGIN: Final = "drill.invalid/log"  # of nobody (RFC 6761), whatever becomes of the files
OWN: Final = ("LOG_DIR", "SIGNER_DIR", "SECRETS_DIR", "TRUST_DIR")
# Nothing outside is asked: no witness, no token, no second key.
ALONE: Final = {"ORIGIN": ORIGIN, "LOG_KEY": "", "POST_QUANTUM": False}


@dataclass(frozen=True, slots=True)
class Forgery:
    """What was said about a history rewritten with key and memory."""

    inside: bool  # whether anything inside spoke
    kept_checkpoint: bool  # whether one kept from before still fits

    @property
    def as_promised(self) -> bool:
        """Silent inside, and found by who kept a checkpoint."""
        return not self.inside and not self.kept_checkpoint


def rewrite_with_key() -> Forgery:
    """Sign a history, keep its checkpoint outside, rewrite everything and sign it again. Leaves no row and no file.

    Only for a copy whose guards are down, in a transaction of its own that is rolled back.
    """
    with _log_of_its_own():
        setup.create_log()
        _record("drill_first")
        _record("drill_true")
        kept = shown_checkpoint()
        if kept is None or not follows_from(kept) or problems():
            raise LedgerError("The log that the drill made for itself is not sound, so nothing was tried on it.")
        _forget_the_last()
        _record("drill_forged")
        startup.compare_with_signer()
        return Forgery(bool(problems()), follows_from(kept))


@contextmanager
def _log_of_its_own() -> Iterator[None]:
    """Empty tables and folders until the block ends."""
    before = settings.METERPROOF
    with tempfile.TemporaryDirectory(prefix="meterproof-drill-") as place, transaction.atomic():
        folders = {name: Path(place) / name for name in OWN}
        no_witnesses = Path(place) / "witness.policy"
        settings.METERPROOF = {**before, **ALONE, **folders, "WITNESS_POLICY": no_witnesses}
        try:
            _empty_tables()
            yield
        finally:
            settings.METERPROOF = before
            transaction.set_rollback(True)


def _empty_tables() -> None:
    quote = connection.ops.quote_name
    with connection.cursor() as cursor:
        for model in apps.get_models():
            if model._meta.managed and model._meta.app_label not in {"contenttypes", "auth"}:
                cursor.execute(f"DELETE FROM {quote(model._meta.db_table)}")  # noqa: S608


def _record(organisation: str) -> None:
    """One more organisation, under a checkpoint."""
    first_key = PrivateKey.generate(ED25519).public.keyid
    with platform_batch(actor=setup.PLATFORM_ACTOR) as log:
        data = {"name": organisation, "roles": [], "first_key": first_key}
        log.record(subjects.organisation(organisation), "org.registered", data)
    integrate.integrate()
    publish.publish()


def _forget_the_last() -> None:
    """The end of the log gone from rows, files and the signer's memory."""
    histories.cut([LeafRange.objects.order_by("-first_index")[0].batch])
    Checkpoint.objects.all().delete()
    histories.forge_state()
    shutil.rmtree(settings.METERPROOF["LOG_DIR"])
    (settings.METERPROOF["SIGNER_DIR"] / signer.MEMORY).unlink()
