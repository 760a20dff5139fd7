"""Rules of key lines: which `org.*` statements about organisations and their keys may enter the log.

A key is registered by its own organisation, in a batch signed by the key itself (possession) and by a key of that
organisation that is valid then, unless it is a `first_key`, the one the platform vouches for. So every key leads back
to a first key, and who pins that one needs to trust nobody else. Source: docs/formats, "Data of the types every
verifier must read".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from compliance.accounts import selectors
from compliance.accounts.roles import PLATFORM, MarketRole
from compliance.proof.errors import ProofError
from compliance.proof.keys import PublicKey
from compliance.proof.times import parse_time

REGISTERED = "org.registered"
KEY_REGISTERED = "org.key_registered"
KEY_REVOKED = "org.key_revoked"

Event = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class KeyProblem:
    """Why a statement is refused: reason code, sentence, and where in the event."""

    code: str
    detail: str
    pointer: str


def signer_keys(*, keyids: Sequence[str], events: Sequence[Event], at: datetime) -> dict[str, tuple[str, PublicKey]]:
    """Organisation and public key of each signer of a batch received at `at`, as `proof.batch.verify_signatures` asks.

    A key that the batch itself registers counts, since its registration must be signed by it. Raises ProofError
    key.unknown, key.not_valid or key.revoked.
    """
    registered = selectors.signing_keys(keyids)
    in_batch = _registrations(events)
    found: dict[str, tuple[str, PublicKey]] = {}
    for keyid in keyids:
        if known := registered.get(keyid):
            if code := known.why_not_valid(at):
                raise ProofError(code, f"{keyid} may not sign now", place=keyid)
            found[keyid] = (known.organisation_id, PublicKey.from_object(known.key_object))
        elif event := in_batch.get(keyid):
            data = event["data"]
            found[keyid] = (data["organisation"], PublicKey.from_object(data["key"]))
        else:
            raise ProofError("key.unknown", f"{keyid} is not registered here", place=keyid)
    return found


class KeyLines:
    """Judges the `org.*` events of one batch, in order, against what is registered and what came before in the batch.

    The database rows it relies on must be held by the caller's transaction.
    """

    def __init__(
        self, *, issuer: str, author: str, signers: Sequence[str], events: Sequence[Event], at: datetime
    ) -> None:
        self._issuer = issuer
        self._author = author
        self._signers = frozenset(signers)
        self._at = at
        self._registrations = _registrations(events)
        self._first_keys = {
            event["subject"].rpartition(":")[2]: event["data"]["first_key"]
            for event in events
            if event["type"] == REGISTERED
        }
        self._known = selectors.signing_keys([*signers, *self._registrations, *_revoked(events)])
        self._taken: set[str] = set()
        self._closed: set[str] = set()

    def judge(self, event: Event) -> KeyProblem | None:
        """Why `event` must be refused, or None. Events that say nothing about keys pass."""
        match event["type"]:
            case "org.registered":
                return self._judge_organisation(event)
            case "org.key_registered":
                return self._judge_registration(event)
            case "org.key_revoked":
                return self._judge_revocation(event)
        return None

    def _judge_organisation(self, event: Event) -> KeyProblem | None:
        if self._issuer != PLATFORM or self._author != PLATFORM:
            return KeyProblem("event.authority", "only the platform registers organisations", "/type")
        organisation = event["subject"].rpartition(":")[2]
        unknown = sorted(set(event["data"]["roles"]) - set(MarketRole.values))
        if unknown and organisation != PLATFORM:
            return KeyProblem("event.data", f"no market role is called {', '.join(unknown)}", "/data/roles")
        return None

    def _judge_registration(self, event: Event) -> KeyProblem | None:
        data = event["data"]
        keyid, organisation = data["key"]["keyid"], data["organisation"]
        if event["subject"] != f"signing_key:{keyid}":
            return KeyProblem("event.data", "the subject is another key than data.key", "/subject")
        if organisation != self._issuer or self._author != self._issuer:
            return KeyProblem("event.authority", "a key is registered by its own organisation", "/data/organisation")
        first_keys = self._first_keys_of(organisation)
        if not first_keys:
            return KeyProblem("key.line", f"{organisation} is not registered here", "/data/organisation")
        if keyid in self._known or keyid in self._taken:
            return KeyProblem("key.line", "the key is registered already", "/data/key/keyid")
        if keyid not in self._signers:
            return KeyProblem("key.line", "the batch is not signed by the new key itself", "/data/key/keyid")
        if not self._leads_to_first_key(organisation, first_keys):
            return KeyProblem(
                "key.line",
                f"neither the first key of {organisation} nor signed by a valid key of it",
                "/data/key/keyid",
            )
        if parse_time(data["valid_from"]) > self._at:
            return KeyProblem("key.not_valid", "the key signs before its own valid_from", "/data/valid_from")
        if data["valid_until"] is not None and parse_time(data["valid_until"]) <= self._at:
            return KeyProblem("key.not_valid", "the key signs after its own valid_until", "/data/valid_until")
        self._taken.add(keyid)
        return None

    def _judge_revocation(self, event: Event) -> KeyProblem | None:
        keyid = event["subject"].removeprefix("signing_key:")
        key = self._known.get(keyid)
        owner = key.organisation_id if key else self._owner_in_batch(keyid)
        if owner is None:
            return KeyProblem("key.unknown", f"{keyid} is not registered here", "/subject")
        if (key and key.revoked_at is not None) or keyid in self._closed:
            return KeyProblem("chain.closed", "the key is revoked already", "/subject")
        if self._issuer not in {owner, PLATFORM} or self._author != self._issuer:
            return KeyProblem("event.authority", "a key is revoked by its organisation or the platform", "/type")
        self._closed.add(keyid)
        return None

    def _first_keys_of(self, organisation: str) -> set[str]:
        known = selectors.organisation(organisation)
        first_keys = set(known.first_keys) if known else set()
        if organisation in self._first_keys:
            first_keys.add(self._first_keys[organisation])
        return first_keys

    def _leads_to_first_key(self, organisation: str, first_keys: set[str]) -> bool:
        """One signer that is good makes all registrations of the batch good; new keys alone vouch for nobody."""
        for keyid in self._signers:
            if keyid in first_keys and keyid in self._registrations:
                return True
            key = self._known.get(keyid)
            if key and key.organisation_id == organisation and key.why_not_valid(self._at) is None:
                return True
        return False

    def _owner_in_batch(self, keyid: str) -> str | None:
        return self._registrations[keyid]["data"]["organisation"] if keyid in self._taken else None


def _registrations(events: Sequence[Event]) -> dict[str, Event]:
    return {
        event["data"]["key"]["keyid"]: event
        for event in events
        if event.get("type") == KEY_REGISTERED and _has_key(event)
    }


def _has_key(event: Event) -> bool:
    data = event.get("data")
    key = data.get("key") if isinstance(data, Mapping) else None
    return isinstance(key, Mapping) and isinstance(key.get("keyid"), str)


def _revoked(events: Sequence[Event]) -> list[str]:
    return [event["subject"].removeprefix("signing_key:") for event in events if event["type"] == KEY_REVOKED]
