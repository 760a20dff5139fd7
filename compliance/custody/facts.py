"""From entries of the log to what the fold sees: author, signers, roles of the day, and the event behind each link."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

import msgspec
from django.db.models import Q

from compliance.accounts import selectors as accounts
from compliance.accounts.models import SigningKey
from compliance.custody import profiles, vocabulary
from compliance.custody.lifecycle import Fact, Signer
from compliance.custody.models import OrganisationRoles, TypeRegistration
from compliance.custody.vocabulary import LINKED
from compliance.ledger.models import Batch, Entry
from compliance.proof import batch as batches
from compliance.proof import dsse
from compliance.proof import subject as subjects

BIRTH = vocabulary.load().birth_type
_AT_ONCE = 400  # conditions in one statement


class Statement(msgspec.Struct, frozen=True, gc=False):
    """One entry of the log, read."""

    subject: str
    key: bytes  # of the subject
    seq: int
    hash: bytes
    recorded_at: datetime
    event: Mapping[str, Any]
    author: str
    keyids: tuple[str, ...]

    @property
    def type(self) -> str:
        """The event's type."""
        code: str = self.event["type"]
        return code

    @property
    def data(self) -> Mapping[str, Any]:
        """The event's data."""
        data: Mapping[str, Any] = self.event["data"]
        return data

    @property
    def cause(self) -> tuple[str, int] | None:
        """Subject and seq of the entry that a link names."""
        if self.event["type"] != LINKED:
            return None
        cause = self.event["data"]["cause"]
        return cause["subject"], cause["seq"]


def chain(subject: str, *, to_seq: int | None = None) -> list[Statement]:
    """The chain of `subject` in order, up to and including `to_seq`."""
    rows = Entry.objects.filter(subject=subjects.key_of(subject)).order_by("seq")
    return read_entries(list(rows if to_seq is None else rows.filter(seq__lte=to_seq)))


def statements(places: Iterable[tuple[str, int]]) -> dict[tuple[str, int], Statement]:
    """The entries at (subject, seq), those that exist."""
    keys = {(subjects.key_of(subject), seq): (subject, seq) for subject, seq in places}
    wanted, found = sorted(keys), {}
    for first in range(0, len(wanted), _AT_ONCE):
        condition = Q()
        for key, seq in wanted[first : first + _AT_ONCE]:
            condition |= Q(subject=key, seq=seq)
        for statement in read_entries(list(Entry.objects.filter(condition))):
            found[statement.subject, statement.seq] = statement
    return found


def read_entries(rows: Sequence[Entry]) -> list[Statement]:
    """Decode stored entries; they were checked when they were appended."""
    said = batch_headers({row.batch for row in rows})
    read = []
    for row in rows:
        if not row.body:  # redacted: nobody knows any more what it said
            continue
        entry = msgspec.json.decode(row.body)
        author, keyids = said[row.batch]
        read.append(
            Statement(
                subject=entry["subject"],
                key=row.subject,
                seq=row.seq,
                hash=row.hash,
                recorded_at=row.recorded_at,
                event=entry["event"],
                author=author,
                keyids=keyids,
            )
        )
    return read


def batch_headers(ids: Iterable[bytes]) -> dict[bytes, tuple[str, tuple[str, ...]]]:
    """Author and key ids of stored batches."""
    rows = Batch.objects.filter(id__in=list(ids)).values_list("id", "envelope")
    return {id_: _header(bytes(envelope)) for id_, envelope in rows}


@lru_cache(maxsize=2_048)
def _header(envelope: bytes) -> tuple[str, tuple[str, ...]]:
    statement = dsse.read_envelope(envelope, payload_type=dsse.BATCH_TYPE)
    payload = msgspec.json.decode(statement.payload)
    return batches.author_of(payload), tuple(keyid for keyid, _ in statement.signatures)


class Witnesses:
    """Who signed, and which roles an author had: read once for a batch or a chain, then asked from memory."""

    def __init__(
        self, *, keyids: Iterable[str], authors: Iterable[str], known: Mapping[str, SigningKey] | None = None
    ) -> None:
        known = known or {}
        registered = {**known, **accounts.signing_keys(set(keyids) - known.keys())}
        self._signers = {
            keyid: Signer(key.organisation_id, key.holder_id if key.holder_kind == "person" else None)
            for keyid, key in registered.items()
        }
        self._signers_of: dict[tuple[str, ...], tuple[Signer, ...]] = {}
        self._roles: dict[str, list[tuple[datetime, frozenset[str]]]] = defaultdict(list)
        self._roles_then: dict[tuple[str, datetime], frozenset[str]] = {}
        wanted = list(set(authors))
        marks = ",".join(["%s"] * len(wanted)) or "NULL"
        statement = f"SELECT * FROM custody_organisationroles WHERE organisation IN ({marks}) ORDER BY seq"  # noqa: S608
        for row in OrganisationRoles.objects.raw(statement, wanted):
            self._roles[row.organisation].append((row.recorded_at, frozenset(row.roles)))

    @classmethod
    def of(cls, told: Iterable[Statement], *, known: Mapping[str, SigningKey] | None = None) -> "Witnesses":
        """Those of all these entries. The rows of keys in `known` were read before."""
        by_batch = {(statement.keyids, statement.author) for statement in told}
        return cls(
            keyids={keyid for keyids, _ in by_batch for keyid in keyids},
            authors={author for _, author in by_batch},
            known=known,
        )

    def signers(self, keyids: tuple[str, ...]) -> tuple[Signer, ...]:
        """Holders of the keys; a key that nobody registered is left out."""
        found = self._signers_of.get(keyids)
        if found is None:
            found = tuple(self._signers[keyid] for keyid in keyids if keyid in self._signers)
            self._signers_of[keyids] = found
        return found

    def roles(self, author: str, at: datetime) -> frozenset[str]:
        """Market roles of `author` at the moment `at`."""
        found = self._roles_then.get((author, at))
        if found is None:
            history = self._roles.get(author, [])
            place = bisect_right(history, at, key=lambda item: item[0])
            found = self._roles_then[author, at] = history[place - 1][1] if place else frozenset()
        return found

    def fact(self, statement: Statement, registrations: "Registrations | None" = None) -> Fact:
        """What the fold sees of an entry that is no link; a birth needs to know the `registrations`."""
        maker, profile, name = None, "", None
        if registrations is not None and statement.event["type"] == BIRTH:
            maker, profile = registrations.at_birth(statement)
            about = subjects.parse(statement.subject)
            name = (about.scheme, about.value)
        event = statement.event
        return Fact(
            event["type"],
            statement.author,
            event["data"],
            statement.hash.hex(),
            self.signers(statement.keyids),
            self.roles(statement.author, statement.recorded_at),
            event.get("corrects"),
            maker,
            profile,
            name,
        )


class Registrations:
    """Which manufacturer registered which letters and types: asked when a meter is born."""

    def __init__(self, births: Iterable[Statement]) -> None:
        births = list(births)
        flags = {flag for birth in births if (flag := _flag(birth.subject))}
        authors = {birth.author for birth in births}
        found: list[TypeRegistration] = []
        if births:
            of_makers = Q(flag__in=flags) | Q(organisation__in=authors)
            found = list(TypeRegistration.objects.filter(of_makers).order_by("recorded_at", "subject_key", "seq"))
        self._by_flag: dict[str, list[TypeRegistration]] = defaultdict(list)
        self._by_type: dict[tuple[str, str], list[TypeRegistration]] = defaultdict(list)
        for registration in found:
            self._by_flag[registration.flag].append(registration)
            self._by_type[registration.organisation, registration.type_code].append(registration)
        self._at_birth: dict[tuple[str | None, str, str, datetime], tuple[str | None, str]] = {}

    def at_birth(self, statement: Statement) -> tuple[str | None, str]:
        """The organisation whose serial range the meter lies in (None: nobody's), and the id of its profile.

        Letters belong to the organisation that first registered a type with them.
        """
        asked = _flag(statement.subject), statement.author, str(statement.data.get("type_code")), statement.recorded_at
        found = self._at_birth.get(asked)
        if found is None:
            found = self._at_birth[asked] = self._maker(asked[0], asked[3]), self._profile(*asked[1:])
        return found

    def _maker(self, flag: str | None, at: datetime) -> str | None:
        claims = self._by_flag.get(flag or "", [])
        return next((claim.organisation for claim in claims if claim.recorded_at <= at), None)

    def _profile(self, author: str, type_code: str, at: datetime) -> str:
        for registration in reversed(self._by_type.get((author, type_code), [])):
            if registration.recorded_at <= at:
                meant = [name for name in registration.profiles if name in profiles.active()]
                return meant[0] if meant else profiles.default().id
        return profiles.default().id


def owners_of_letters(letters: Iterable[str]) -> dict[str, str]:
    """The organisation that first registered a type with each of these makers' letters, where one did."""
    asked = set(letters)
    if not asked:
        return {}
    claims = TypeRegistration.objects.filter(flag__in=asked).order_by("recorded_at", "subject_key", "seq")
    owners: dict[str, str] = {}
    for flag, organisation in claims.values_list("flag", "organisation"):
        owners.setdefault(flag, organisation)
    return owners


def chain_facts(subject: str, *, to_seq: int | None = None) -> tuple[list[Statement], list[Fact | None]]:
    """The chain of a meter, and what the fold sees of each entry: of a link, the event of its cause."""
    told = chain(subject, to_seq=to_seq)
    causes = statements({cause for statement in told if (cause := statement.cause)})
    witnesses = Witnesses.of([*told, *causes.values()])
    words = vocabulary.load()
    registrations = Registrations([statement for statement in told if statement.type == BIRTH])
    seen: list[Fact | None] = []
    for statement in told:
        if (place := statement.cause) is not None:
            seen.append(witnesses.fact(causes[place]) if place in causes else None)
        elif statement.type in words.events:
            seen.append(witnesses.fact(statement, registrations))
        else:
            seen.append(None)
    return told, seen


def _flag(subject: str) -> str | None:
    about = subjects.parse(subject)
    return vocabulary.load().flag(about.scheme, about.value)
