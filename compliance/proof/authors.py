"""Step 7 of a verification: the batches that the entries name, their signatures, and who may say what.

For each batch: id, payload, log, count, the place of each event in it, then signatures, keys valid at the time, issuer,
and the authority of platform types.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from compliance.proof import batch as batches
from compliance.proof import dsse, event
from compliance.proof.errors import ProofError
from compliance.proof.facts import Fact
from compliance.proof.key_lines import KeyRegister
from compliance.proof.subject import PLATFORM

RequirePlace = Callable[[Fact, Mapping[str, Any]], None]
"""Raises ProofError unless the event of the fact is at its place in the batch with this payload."""


@dataclass(slots=True)
class Authors:
    """What step 7 found: per batch its payload, its signers, and the leaves that name it."""

    payloads: dict[str, dict[str, Any]] = field(default_factory=dict)
    signers: dict[str, tuple[str, ...]] = field(default_factory=dict)
    facts: dict[str, list[Fact]] = field(default_factory=dict)
    signatures: int = 0


def check_batches(
    facts: Iterable[Fact],
    *,
    envelopes: Callable[[str], dsse.Envelope | None],
    register: KeyRegister,
    origin: str,
    require_place: RequirePlace,
    unknown_key: str,
    note: Callable[[str], None],
) -> Authors:
    """Check every batch that `facts` name, in the order of their first leaves.

    `unknown_key` is the code for a signing key whose registration is not shown: in a log `key.unknown`, in a bundle
    `bundle.incomplete`.
    """
    authors = Authors()
    by_batch: dict[str, list[Fact]] = defaultdict(list)
    for fact in facts:
        by_batch[fact.batch].append(fact)
    authors.facts = dict(by_batch)
    keys = {keyid: (item.organisation, item.key) for keyid, item in register.registrations.items()}
    ids: dict[tuple[str, str], Fact] = {}
    for batch_id, members in by_batch.items():
        place = f"batch {batch_id}"
        envelope = envelopes(batch_id)
        if envelope is None:
            raise ProofError("batch.missing", f"named by {members[0].place}", place=place)
        payload = batches.read_payload(envelope, place=place)
        if payload["log"] != origin:
            raise ProofError("batch.log", f"meant for the log {payload['log']}", place=place)
        _check_positions(members, payload, require_place)
        for keyid in envelope.keyids:
            if keyid not in keys:
                raise ProofError(unknown_key, f"the registration of {keyid} is not shown", place=place)
        batches.verify_signatures(envelope, payload, keys, place=place)
        for fact in members:
            _check_entry(fact, envelope, payload, register, ids, note)
        authors.payloads[batch_id] = payload
        authors.signers[batch_id] = envelope.keyids
        authors.signatures += len(envelope.keyids)
    return authors


def _check_positions(members: list[Fact], payload: Mapping[str, Any], require_place: RequirePlace) -> None:
    positions: set[int] = set()
    for fact in members:
        if fact.index in positions:
            raise ProofError("batch.index_twice", f"position {fact.index} has another entry", place=fact.place)
        positions.add(fact.index)
        if fact.index >= payload["count"]:
            raise ProofError("batch.path", f"position {fact.index} in a batch of {payload['count']}", place=fact.place)
        require_place(fact, payload)


def _check_entry(
    fact: Fact,
    envelope: dsse.Envelope,
    payload: Mapping[str, Any],
    register: KeyRegister,
    ids: dict[tuple[str, str], Fact],
    note: Callable[[str], None],
) -> None:
    author = batches.author_of(payload)
    for keyid in envelope.keyids:
        said = register.require_valid(keyid, fact)
        if said:
            note(said)
    twin = ids.setdefault((author, fact.event_id), fact)
    if twin is not fact:
        raise ProofError("event.id_twice", f"{author} used the id {fact.event_id} at {twin.place}", place=fact.place)
    event.check_authority({"type": fact.type, "data": fact.data}, author, place=fact.place)
    if fact.type == event.KEY_REVOKED:
        _check_revoker(fact, author, register)
    if fact.signers_rule:
        _note_missing_signer(fact, envelope.keyids, register, note)


def _check_revoker(fact: Fact, author: str, register: KeyRegister) -> None:
    registration = register.registrations.get(fact.subject.partition(":")[2])
    if registration is not None and author not in (registration.organisation, PLATFORM):
        raise ProofError(
            "event.authority", f"a key of {registration.organisation} revoked by {author}", place=fact.place
        )


def _note_missing_signer(fact: Fact, keyids: Iterable[str], register: KeyRegister, note: Callable[[str], None]) -> None:
    signers = [register.registrations[keyid] for keyid in keyids]
    if fact.signers_rule == "two_organisations":
        different = {signer.organisation for signer in signers}
        asked = "two organisations"
    else:
        different = {f"{signer.organisation}:{signer.holder[1]}" for signer in signers if signer.holder[0] == "person"}
        asked = "two people"
    if len(different) < 2:
        note(f"violation.second_signature: {fact.place}: {fact.type} asks for {asked}")
