"""A factory that sends signed batches, as the ledger alone sees it: verified batches whose organisations are only
text.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from django.conf import settings

from compliance.jobs import clock
from compliance.ledger import anchors, fsck
from compliance.ledger.append import Appended, IncomingBatch, IncomingEvent, append_batch
from compliance.ledger.platform_log import platform_batch
from compliance.ledger.setup import PLATFORM_ACTOR
from compliance.proof import batch as batch_format
from compliance.proof.batch import SignedBatch
from compliance.proof.keys import PrivateKey
from compliance.proof.times import format_time

OCCURRED = "2026-04-14T08:00:00Z"


def meter(number: int) -> str:
    """Subject text of a meter."""
    return f"meter:factory_serial:M{number:06d}"


def event(subject: str, id: str, type: str = "mfg.assembled", **members: Any) -> dict[str, Any]:  # noqa: A002
    """An event that says nothing in particular."""
    return {
        "v": 1,
        "id": id,
        "type": type,
        "schema": 1,
        "subject": subject,
        "occurred_at": OCCURRED,
        "actor": {"station": "line-1"},
        "data": {},
        **members,
    }


@dataclass(slots=True)
class Factory:
    """An organisation with one key. Event ids count up."""

    id: str = "acme"
    key: PrivateKey = field(default_factory=PrivateKey.generate)
    _numbers: Any = field(default_factory=count)

    def event(self, subject: str, **members: Any) -> dict[str, Any]:
        """A new event on `subject`."""
        return event(subject, members.pop("id", f"{self.id}-{next(self._numbers)}"), **members)

    def sign(self, events: Sequence[dict[str, Any]], *, keys: Sequence[PrivateKey] = ()) -> SignedBatch:
        """A batch over `events`."""
        return batch_format.build(
            events=events,
            log=settings.METERPROOF["ORIGIN"],
            issuer=self.id,
            source="line-1",
            sequence=None,
            created=clock.now(),
            keys=keys or [self.key],
        )

    def send(self, events: Sequence[dict[str, Any]]) -> Appended:
        """Sign and append `events`."""
        return append_batch(received(self.sign(events)))

    def register(self) -> None:
        """Let the platform vouch for the factory, and the factory register its key."""
        public = self.key.public
        with platform_batch(actor=PLATFORM_ACTOR) as log:
            log.record(
                f"organisation:org:{self.id}",
                "org.registered",
                {"name": self.id.title(), "roles": ["manufacturer"], "first_key": public.keyid},
            )
        registration = {
            "organisation": self.id,
            "holder": {"station": "line-1"},
            "key": public.to_object(),
            "valid_from": format_time(clock.now()),
            "valid_until": None,
        }
        self.send([self.event(f"signing_key:{public.keyid}", type="org.key_registered", data=registration)])


def stamp_all() -> None:
    """As many rounds as it takes until no checkpoint waits for its time stamp."""
    while anchors.anchor():
        pass


def found() -> list[fsck.Problem]:
    """What fsck finds in the ledger itself."""
    return fsck.run(comparisons=()).problems


def received(signed: SignedBatch, *, leave_out: Sequence[int] = (), chains: Sequence[str] = ()) -> IncomingBatch:
    """`signed` as intake hands it on: read from the wire, without the events at `leave_out`."""
    read = batch_format.read(signed.ndjson)
    return IncomingBatch(
        batch_id=read.batch_id,
        payload_sha256=read.payload_sha256,
        envelope=read.envelope,
        author=read.author,
        issuer=read.payload["issuer"],
        signers=tuple(keyid for keyid, _ in read.signatures),
        event_hashes=read.event_hashes or (),
        events=[
            IncomingEvent(item.index, item.value, item.canonical, item.event_hash, subject)
            for item, subject in zip(
                read.events, chains or [item.value["subject"] for item in read.events], strict=True
            )
            if item.index not in leave_out
        ],
    )
