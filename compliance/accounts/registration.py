"""The file `registration.ndjson`: an organisation's first key, registered by its own signature.

The client's `keygen` writes it, the organisation hands it to an administrator by another way than the network, and the
administrator registers both together: the platform's word for the organisation and its first key, then the key's own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings

from compliance.accounts import actions, key_lines
from compliance.accounts.models import Organisation, SignaturePolicy
from compliance.accounts.policy import Actor
from compliance.jobs import clock
from compliance.ledger.append import Appended, IncomingBatch, IncomingEvent, append_batch
from compliance.ledger.errors import Refused
from compliance.ledger.transactions import unit_of_work
from compliance.proof import batch
from compliance.proof.batch import ReceivedBatch

MAX_BYTES = 64 * 1024  # an envelope and a handful of keys


@dataclass(frozen=True, slots=True)
class RegistrationFile:
    """A signed batch of org.key_registered events, the first of which is about the first key."""

    received: ReceivedBatch
    organisation: str
    keyid: str


def read_registration(data: bytes) -> RegistrationFile:
    """The registration in `data`. Raises ProofError or Refused unless it is one, for this log, rightly signed."""
    if len(data) > MAX_BYTES:
        raise Refused("body.too_large", f"a registration has at most {MAX_BYTES} bytes")
    received = batch.read(data)
    for _, _, problem in received.problems:
        raise problem
    payload = received.payload
    if payload["log"] != settings.METERPROOF["ORIGIN"]:
        raise Refused("batch.log", f"it is meant for {payload['log']}; this log is {settings.METERPROOF['ORIGIN']}")
    events = [event.value for event in received.events]
    if any(event["type"] != key_lines.KEY_REGISTERED for event in events):
        raise Refused("event.authority", "a registration holds org.key_registered alone")
    verify(received, at=clock.now())
    return RegistrationFile(received=received, organisation=payload["issuer"], keyid=events[0]["data"]["key"]["keyid"])


@unit_of_work()
def register_with_file(
    *,
    by: Actor,
    id: str,  # noqa: A002
    name: str,
    roles: Sequence[str],
    registration: bytes,
    signature_policy: str = SignaturePolicy.REQUIRED,
) -> Organisation:
    """Register an organisation and its first key from the file, both or neither."""
    read = read_registration(registration)
    if read.organisation != id:
        raise Refused("batch.issuer", f"the file is by {read.organisation}, not by {id}", pointer="/id")
    organisation = actions.register_organisation(
        by=by, id=id, name=name, roles=roles, first_key=read.keyid, signature_policy=signature_policy
    )
    append(read.received)
    return organisation


def verify(received: ReceivedBatch, *, at: datetime) -> None:
    """Raise ProofError unless every signature verifies, by a key valid at `at`, and one is of the issuer."""
    keyids = [keyid for keyid, _ in received.signatures]
    keys = key_lines.signer_keys(keyids=keyids, events=[event.value for event in received.events], at=at)
    batch.verify_signatures(received.statement, received.payload, keys)


def append(received: ReceivedBatch) -> Appended:
    """Record a verified batch in which each event names its chain by the chain's own subject."""
    return append_batch(incoming(received))


def incoming(received: ReceivedBatch) -> IncomingBatch:
    """The form in which the ledger takes it."""
    return IncomingBatch(
        batch_id=received.batch_id,
        payload_sha256=received.payload_sha256,
        envelope=received.envelope,
        author=received.author,
        issuer=received.payload["issuer"],
        signers=tuple(keyid for keyid, _ in received.signatures),
        event_hashes=received.event_hashes or (),
        events=[
            IncomingEvent(
                index=event.index,
                value=event.value,
                canonical=event.canonical,
                event_hash=event.event_hash,
                subject=event.value["subject"],
            )
            for event in received.events
        ],
    )
