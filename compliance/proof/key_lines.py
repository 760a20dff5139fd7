"""Step 8 of a verification: the line of each signing key back to the first key of its organisation, and your pins.

A key is good if it was registered with possession (its own signature) and leads, by the keys of its organisation that
signed its registration and those that signed theirs, to a `first_key`. Two keys that only sign for each other lead
nowhere. A pin covers a key and those it brought in, not those before it.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from compliance.proof.errors import ProofError
from compliance.proof.event import KEY_REGISTERED, KEY_REVOKED
from compliance.proof.facts import Fact
from compliance.proof.keys import PublicKey
from compliance.proof.subject import signing_key
from compliance.proof.times import format_time, parse_time

PINNED: Final = "key pinned by your trust file"
VOUCHED_LOG: Final = "vouched for by the operator's log only"
VOUCHED_PLATFORM: Final = "vouched by the platform"
ORGANISATION_REGISTERED: Final = "org.registered"


@dataclass(frozen=True, slots=True)
class Registration:
    """A registered key. Times are texts of six digits, so that comparing texts compares instants."""

    keyid: str
    organisation: str
    holder: tuple[str, str]
    key: PublicKey
    valid_from: str
    valid_until: str | None
    recorded_at: str
    batch: str
    place: str
    leaf: int


@dataclass(frozen=True, slots=True)
class Revocation:
    """The end of a key."""

    keyid: str
    recorded_at: str
    effective_at: str
    reason_code: str
    leaf: int


class KeyRegister:
    """The keys that the entries shown register and revoke, and the first keys of organisations."""

    def __init__(self, facts: Iterable[Fact]) -> None:
        self.registrations: dict[str, Registration] = {}
        self.revocations: dict[str, Revocation] = {}
        self.first_keys: dict[str, set[str]] = defaultdict(set)
        for fact in facts:
            if fact.data is None:
                continue
            if fact.type == KEY_REGISTERED:
                self._register(fact, fact.data)
            elif fact.type == KEY_REVOKED:
                self._revoke(fact, fact.data)
            elif fact.type == ORGANISATION_REGISTERED:
                self.first_keys[fact.subject.rpartition(":")[2]].add(fact.data["first_key"])

    def require_valid(self, keyid: str, fact: Fact) -> str | None:
        """Raise ProofError unless the key is valid for the entry `fact`; else a note if it was stated lost before."""
        registration = self.registrations[keyid]
        at = fact.recorded_at
        if at < registration.recorded_at or at < registration.valid_from:
            raise ProofError("key.not_valid", f"{keyid} was not valid yet at {at}", place=fact.place)
        if registration.valid_until is not None and at >= registration.valid_until:
            raise ProofError("key.not_valid", f"{keyid} was no longer valid at {at}", place=fact.place)
        revocation = self.revocations.get(keyid)
        if revocation is None or fact.leaf == revocation.leaf:
            return None
        if at >= revocation.recorded_at:
            raise ProofError("key.revoked", f"{keyid} was revoked at {revocation.recorded_at}", place=fact.place)
        if at >= revocation.effective_at:
            return (
                f"{fact.place}: signed after the stated loss of {keyid} "
                f"({revocation.reason_code}, effective {revocation.effective_at})"
            )
        return None

    def cosigners(self, keyid: str, signers: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
        """Other keys of the same organisation that signed the batch which registered `keyid`."""
        registration = self.registrations[keyid]
        return tuple(
            other
            for other in signers.get(registration.batch, ())
            if other != keyid and self._organisation_of(other) == registration.organisation
        )

    def _organisation_of(self, keyid: str) -> str | None:
        registration = self.registrations.get(keyid)
        return None if registration is None else registration.organisation

    def _register(self, fact: Fact, data: Mapping[str, object]) -> None:
        key = PublicKey.from_object(data["key"], place=fact.place)
        if fact.seq != 0 or fact.subject != signing_key(key.keyid):
            raise ProofError("key.line", "a registration is always seq 0 of its key's chain", place=fact.place)
        holder = data["holder"]
        kind, name = next(iter(holder.items())) if isinstance(holder, dict) else ("", "")
        until = data["valid_until"]
        self.registrations[key.keyid] = Registration(
            keyid=key.keyid,
            organisation=str(data["organisation"]),
            holder=(kind, name),
            key=key,
            valid_from=_six_digits(data["valid_from"]),
            valid_until=None if until is None else _six_digits(until),
            recorded_at=fact.recorded_at,
            batch=fact.batch,
            place=fact.place,
            leaf=fact.leaf,
        )

    def _revoke(self, fact: Fact, data: Mapping[str, object]) -> None:
        keyid = fact.subject.partition(":")[2]
        effective_at, reason = _six_digits(data["effective_at"]), str(data["reason_code"])
        self.revocations[keyid] = Revocation(keyid, fact.recorded_at, effective_at, reason, fact.leaf)


class KeyLines:
    """Which keys are good, and which of them a pin covers."""

    def __init__(self, register: KeyRegister, signers: Mapping[str, tuple[str, ...]]) -> None:
        """`signers` gives, for each batch id, the key ids whose signatures on it verified."""
        self._register = register
        self._signers = signers
        self._require_possession()
        self._good = self._find_good()

    def require_good(self) -> None:
        """Raise ProofError `key.line` at the first registered key that leads nowhere."""
        for registration in self._register.registrations.values():
            if registration.keyid not in self._good:
                raise ProofError(
                    "key.line",
                    f"{registration.keyid} has no way to a first key of {registration.organisation}",
                    place=registration.place,
                )

    def standing(self, keyid: str, pins: Mapping[str, frozenset[str]]) -> str:
        """What vouches for a good key. Raises `key.pin` if its organisation is pinned with other keys only."""
        registration = self._register.registrations[keyid]
        pinned = pins.get(registration.organisation)
        if pinned is None:
            return VOUCHED_LOG
        if not self._has_way_by(keyid, pinned):
            raise ProofError(
                "key.pin",
                f"{keyid} does not come from the keys of {registration.organisation} that you pinned",
                place=registration.place,
            )
        return PINNED

    def _require_possession(self) -> None:
        for registration in self._register.registrations.values():
            if registration.keyid not in self._signers.get(registration.batch, ()):
                raise ProofError(
                    "key.line", f"{registration.keyid} did not sign its own registration", place=registration.place
                )

    def _is_first(self, keyid: str) -> bool:
        organisation = self._register.registrations[keyid].organisation
        return keyid in self._register.first_keys.get(organisation, ())

    def _find_good(self) -> set[str]:
        good = {keyid for keyid in self._register.registrations if self._is_first(keyid)}
        signed_by = {keyid: self._register.cosigners(keyid, self._signers) for keyid in self._register.registrations}
        followers: dict[str, list[str]] = defaultdict(list)
        for keyid, cosigners in signed_by.items():
            for cosigner in cosigners:
                followers[cosigner].append(keyid)
        todo = list(good)
        while todo:
            for follower in followers[todo.pop()]:
                if follower not in good:
                    good.add(follower)
                    todo.append(follower)
        return good

    def _has_way_by(self, keyid: str, pinned: frozenset[str]) -> bool:
        """Whether a way from `keyid` to a first key, no key twice, meets a pinned key.

        Ways go to earlier registrations; only keys of one batch can sign for each other, at most eight of them.
        """
        todo: list[tuple[str, frozenset[str], bool]] = [(keyid, frozenset(), keyid in pinned)]
        seen = set(todo)
        while todo:
            current, group, met = todo.pop()
            if met and self._is_first(current):
                return True
            batch = self._register.registrations[current].batch
            for cosigner in self._register.cosigners(current, self._signers):
                if cosigner not in self._good or cosigner in group:
                    continue
                same = self._register.registrations[cosigner].batch == batch
                state = cosigner, (group | {current}) if same else frozenset(), met or cosigner in pinned
                if state not in seen:
                    seen.add(state)
                    todo.append(state)
        return False


def _six_digits(text: object) -> str:
    return format_time(parse_time(text))
