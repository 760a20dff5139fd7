"""What the platform says itself: batches of its own, signed with its key, and those it signs for an organisation."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import uuid4

from django.conf import settings

from compliance.jobs import clock
from compliance.ledger import keys
from compliance.ledger.append import Appended, IncomingBatch, IncomingEvent, append_batch
from compliance.ledger.transactions import unit_of_work
from compliance.proof import batch as batch_format
from compliance.proof.canonical import encode
from compliance.proof.keys import SigningKey
from compliance.proof.merkle import leaf_hash
from compliance.proof.subject import PLATFORM
from compliance.proof.times import format_time


@dataclass(slots=True)
class PlatformLog:
    """Collects what the platform has to say in one batch. `appended` is None until the block has ended, or without
    a word.
    """

    actor: Mapping[str, str]
    keys: Sequence[SigningKey] = ()
    appended: Appended | None = None
    _events: list[dict[str, Any]] = field(default_factory=list)

    def record(
        self,
        subject: str,
        type: str,  # noqa: A002 (the format's word)
        data: Mapping[str, Any],
        *,
        occurred_at: datetime | None = None,
        evidence: Sequence[Mapping[str, Any]] | None = None,
        corrects: bytes | None = None,
    ) -> None:
        """Say that `type` happened to `subject`."""
        event: dict[str, Any] = {
            "v": 1,
            "id": str(uuid4()),
            "type": type,
            "schema": 1,
            "subject": subject,
            "occurred_at": format_time(occurred_at or clock.now()),
            "actor": dict(self.actor),
            "data": dict(data),
        }
        if evidence:
            event["evidence"] = [dict(file) for file in evidence]
        if corrects is not None:
            event["corrects"] = corrects.hex()
        self._events.append(event)

    def _append(self) -> None:
        if self._events:
            self.appended = append_batch(sign_for_platform(self._events, signing_keys=self.keys))


@contextmanager
def platform_batch(*, actor: Mapping[str, str], keys: Sequence[SigningKey] = ()) -> Iterator[PlatformLog]:
    """A transaction whose decisions become one batch of the platform, signed when the block ends without an exception.

    Reading and deciding belong inside the block, so that decision and entry commit together. `keys` are given where
    the platform's present key does not sign alone.
    """
    with unit_of_work():
        log = PlatformLog(actor, keys)
        yield log
        log._append()


def sign_for_platform(
    events: Sequence[dict[str, Any]],
    *,
    on_behalf_of: str | None = None,
    credential: str | None = None,
    signing_keys: Sequence[SigningKey] = (),
) -> IncomingBatch:
    """A batch of issuer `platform` over `events`, each going to the chain of the subject it names.

    With `on_behalf_of` and `credential` the platform vouches for events that an organisation sent unsigned.
    """
    signers = sorted(signing_keys or [keys.platform_key()], key=lambda key: key.public.keyid)
    signed = batch_format.build(
        events=events,
        log=settings.METERPROOF["ORIGIN"],
        issuer=PLATFORM,
        source=PLATFORM,
        sequence=None,
        created=clock.now(),
        keys=signers,
        on_behalf_of=on_behalf_of,
        credential=credential,
    )
    hashes = tuple(leaf_hash(line) for line in signed.event_lines)
    return IncomingBatch(
        batch_id=signed.batch_id,
        payload_sha256=hashlib.sha256(encode(signed.payload)).digest(),
        envelope=signed.envelope,
        author=on_behalf_of or PLATFORM,
        issuer=PLATFORM,
        signers=tuple(key.public.keyid for key in signers),
        event_hashes=hashes,
        events=[
            IncomingEvent(index, event, line, hash_, event["subject"])
            for index, (event, line, hash_) in enumerate(zip(events, signed.event_lines, hashes, strict=True))
        ],
    )
