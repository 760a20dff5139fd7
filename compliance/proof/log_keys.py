"""The keys of a log over time: which signed its checkpoints and receipts, from where to where in the log.

Read from the log's own chain: `log.created`, `log.key_added`, `log.key_revoked` (docs/formats, "Data of the types every
verifier must read"). A key signs checkpoints that lie over its own entry and not over that of its revocation.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from compliance.proof.errors import ProofError
from compliance.proof.facts import Fact
from compliance.proof.keys import PublicKey
from compliance.proof.note import NoteVerifier
from compliance.proof.times import format_time, parse_time

LOG_CREATED: Final = "log.created"
KEY_ADDED: Final = "log.key_added"
KEY_REVOKED: Final = "log.key_revoked"
# A reason that begins with one of these words says that nobody else had the key (RFC 5280 section 5.3.1 draws the same
# line). What it signed and nothing dates then still counts; after any other reason it does not.
HARMLESS: Final = ("superseded", "ceased")

Use = Literal["log", "receipt"]


@dataclass(frozen=True, slots=True)
class Revocation:
    """The end of a key. `leaf` is None while the entry waits for its place. Times are texts of six digits."""

    leaf: int | None
    effective_at: str
    reason: str

    @property
    def is_harmless(self) -> bool:
        """Whether the key was given up, not lost."""
        return self.reason.startswith(HARMLESS)


@dataclass(frozen=True, slots=True)
class KeyOfLog:
    """A key with its place in the log. `id` is 8 hex digits for a log key, a key id for a receipt key."""

    use: Use
    id: str
    key: PublicKey
    verifier: NoteVerifier | None  # of log keys
    added: int | None
    recorded_at: str
    revocation: Revocation | None = None

    def signs_at(self, size: int) -> bool:
        """Whether its line belongs on a checkpoint over `size` entries."""
        if self.added is None or self.added >= size:
            return False
        return self.revocation is None or self.revocation.leaf is None or self.revocation.leaf >= size


@dataclass(frozen=True, slots=True)
class Statement:
    """An entry of the log's own chain, as far as it matters here."""

    leaf: int | None
    type: str
    data: Mapping[str, Any]
    recorded_at: str


class LogKeys:
    """Every key the log ever had, in the order in which they came."""

    def __init__(self, statements: Iterable[Statement]) -> None:
        """Raises ProofError `key.unknown` for the revocation of a key that was never added."""
        self._keys: dict[tuple[str, str], KeyOfLog] = {}
        self.platform_key = ""
        for said in statements:
            if said.type == LOG_CREATED:
                self.platform_key = said.data["platform_key"]
                self._add("log", said.data["log_key"], said)
                self._add("receipt", said.data["receipt_key"], said)
            elif said.type == KEY_ADDED:
                self._add(said.data["use"], said.data["key"], said)
            elif said.type == KEY_REVOKED:
                self._revoke(said)

    @classmethod
    def of_facts(cls, facts: Iterable[Fact], subject: str) -> "LogKeys":
        """From the entries of `subject`, the log, that a verifier has read, in the order of the log."""
        return cls(
            Statement(fact.leaf, fact.type, fact.data, fact.recorded_at)
            for fact in facts
            if fact.subject == subject and fact.data is not None
        )

    def of_use(self, use: Use) -> Iterator[KeyOfLog]:
        """The keys of one use."""
        return (key for key in self._keys.values() if key.use == use)

    def find(self, use: Use, id: str) -> KeyOfLog | None:  # noqa: A002 (the format's word)
        """A key by its id."""
        return self._keys.get((use, id))

    @property
    def verifiers(self) -> tuple[NoteVerifier, ...]:
        """Every log key, also the revoked."""
        return tuple(key.verifier for key in self.of_use("log") if key.verifier is not None)

    def verifiers_at(self, size: int) -> tuple[NoteVerifier, ...]:
        """The log keys whose lines count on a checkpoint over `size` entries."""
        return tuple(key.verifier for key in self.of_use("log") if key.verifier is not None and key.signs_at(size))

    @property
    def receipt_keys(self) -> dict[str, PublicKey]:
        """Every receipt key by its id, also the revoked."""
        return {key.id: key.key for key in self.of_use("receipt")}

    @property
    def revoked(self) -> dict[tuple[Use, str], Revocation]:
        """The revocations."""
        return {(key.use, key.id): key.revocation for key in self._keys.values() if key.revocation is not None}

    def _add(self, use: Use, said: Any, statement: Statement) -> None:
        if use == "log":
            verifier = NoteVerifier.from_vkey(said)
            if not isinstance(verifier.key, PublicKey):
                raise ProofError("key.form", "the log names Ed25519 keys alone", place="log keys")
            key = KeyOfLog(
                use, verifier.id.hex(), verifier.key, verifier, statement.leaf, _six_digits(statement.recorded_at)
            )
        else:
            public = PublicKey.from_object(said)
            key = KeyOfLog(use, public.keyid, public, None, statement.leaf, _six_digits(statement.recorded_at))
        self._keys.setdefault((use, key.id), key)

    def _revoke(self, statement: Statement) -> None:
        place = statement.data["use"], statement.data["keyid"]
        key = self._keys.get(place)
        if key is None:
            raise ProofError("key.unknown", f"the log revokes {place[1]}, which it never named", place="log keys")
        if key.revocation is None:
            end = Revocation(statement.leaf, _six_digits(statement.data["effective_at"]), statement.data["reason"])
            self._keys[place] = replace(key, revocation=end)


def _six_digits(text: str) -> str:
    return format_time(parse_time(text))
