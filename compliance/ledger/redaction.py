"""Redaction: by order of law the bytes of one entry go; its leaf hash stays, and an entry says who ordered it.

Chain, tree and every proof stand, because they are made of hashes. The envelope of its batch and its receipt stay, too:
they hold the event's id and hash, not its text.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.conf import settings
from django.db import ProgrammingError, transaction

from compliance.ledger import guards, mirror, selectors, signer, tiles
from compliance.ledger.errors import LedgerError, Refused
from compliance.ledger.models import Entry
from compliance.ledger.platform_log import platform_batch
from compliance.proof import subject as subjects
from compliance.proof.errors import ProofError
from compliance.proof.event import NEVER_REDACTED
from compliance.proof.facts import REDACTED

# Decisions of the platform about things it keeps itself; fsck compares its rows with them.
OF_THE_PLATFORM: Final = ("evidence", "engagement", "finding", "report", "person_role")


@dataclass(frozen=True, slots=True)
class Redaction:
    """What an `entry.redacted` says of an entry, when it was recorded and in whose name."""

    subject: str
    seq: int
    leaf: int
    hash: str
    authority: str
    reason: str
    recorded_at: datetime
    actor: Mapping[str, str]


def redact(
    subject: str,
    seq: int,
    *,
    authority: str,
    reason: str,
    actor: Mapping[str, str],
    follow: Callable[[], object],
) -> Redaction:
    """Say that the entry is redacted and remove its bytes, from the row and from published files.

    `follow` runs in the same transaction, after the bytes are gone: what rooms above made from them goes with them. An
    interrupted redaction is gone on with by asking for it again: then only what is left is done. Raises Refused for an
    entry that is not there, not published yet, or never redacted; LedgerError without the rights of the tables' owner.
    """
    if not authority.strip() or not reason.strip():
        raise Refused("redaction.reason", "who ordered it and why is said in the log for ever")
    _require_redactable(subject)
    if mirror.is_mirror():
        raise LedgerError("This is a mirror: a redaction is an entry of the log itself. Import the log again after it.")
    with signer.exclusive(wait=True):  # no bundle is written while its bytes go
        stored = selectors.entry(subject, seq)
        leaf = selectors.leaf_index(subject, seq)
        published = selectors.latest_checkpoint()
        if stored is None:
            raise Refused("entry.unknown", f"{subject} has no entry {seq}")
        if leaf is None or published is None or leaf >= published.size:
            raise Refused("redaction.early", "it is not published yet; ask again after the next checkpoint")
        if stored.body:
            data = {
                "subject": subject,
                "seq": seq,
                "hash": stored.hash.hex(),
                "leaf": leaf,
                "authority": authority,
                "reason": reason,
            }
            _remove(data, actor, follow)
        tiles.redact(leaf)
    return next(found for found in redactions(subject) if found.seq == seq)


def redactions(subject: str) -> list[Redaction]:
    """The redacted entries of `subject`, in the order of its chain.

    An entry of the log's chain whose bytes cannot be read says nothing here; fsck, which asks, names it in its place.
    """
    found: list[Redaction] = []
    for stored in selectors.chain(_log()):
        with suppress(ProofError, ValueError, KeyError, TypeError):
            event = stored.event
            if event["type"] == REDACTED and event["data"]["subject"] == subject:
                found.append(Redaction(**event["data"], recorded_at=stored.recorded_at, actor=event["actor"]))
    return sorted(found, key=lambda one: one.seq)


def _require_redactable(subject: str) -> None:
    try:
        kind = subjects.parse(subject).kind
    except ProofError as error:
        raise Refused("subject.form", error.detail) from None
    if kind in NEVER_REDACTED:
        raise Refused("redaction.never", "without entries of organisations, signing keys and the log nothing is proven")
    if kind in OF_THE_PLATFORM:
        raise Refused("redaction.never", f"an entry of {kind} is the platform's own and holds no statement of others")


def _remove(data: Mapping[str, Any], actor: Mapping[str, str], follow: Callable[[], object]) -> None:
    try:
        with transaction.atomic(), guards.lifted(Entry):  # locks first, so that no append waits for us halfway
            with platform_batch(actor=actor) as log:
                log.record(_log(), REDACTED, data)
            rows = Entry.objects.filter(subject=subjects.key_of(data["subject"]), seq=data["seq"])
            if rows.update(body=b"") != 1:
                raise LedgerError("The entry is gone. Look with: manage.py fsck")
            follow()
    except ProgrammingError as error:
        raise LedgerError(
            f"The database refused ({error}). Whoever redacts must own the tables, as for migrate; the role of web and "
            "worker may not."
        ) from error


def _log() -> str:
    return subjects.log(settings.METERPROOF["ORIGIN"])
