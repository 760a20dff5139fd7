"""Trust policies of C2SP (https://c2sp.org/tlog-policy): which logs count, which witnesses, and how many of them.

Lines `log <vkey> [url]`, `witness <name> <vkey> [url]`, `group <name> all|any|<k> <member>...`, `quorum <name>|none`.
Logs sign with Ed25519 or ML-DSA-44, witnesses with a cosignature of either. A key of a type not known here is kept by
name; its lines are never counted.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

from compliance.proof.errors import NotCheckable, ProofError
from compliance.proof.note import COSIGNATURES, TYPE_ED25519, TYPE_MLDSA44, NoteVerifier

NONE: Final = "none"
MAX_POLICY_BYTES: Final = 1_000_000
_BLANKS = re.compile(r"[ \t]+")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Group:
    """At least `threshold` of `members`, which are witnesses or groups defined before."""

    threshold: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Policy:
    """A parsed policy. `urls` holds the addresses of those witnesses that have one, by name."""

    logs: tuple[NoteVerifier, ...]
    witnesses: Mapping[str, NoteVerifier | None]
    groups: Mapping[str, Group]
    quorum: str
    urls: Mapping[str, str] = field(default_factory=dict)

    @property
    def verifiers(self) -> tuple[NoteVerifier, ...]:
        """Every key known here, of logs and of witnesses."""
        return (*self.logs, *(verifier for verifier in self.witnesses.values() if verifier is not None))

    def require_quorum(self, cosigners: Collection[NoteVerifier]) -> list[str]:
        """Names of the witnesses among `cosigners`. Raises ProofError `policy.quorum` if they are too few."""
        seen = self._names(cosigners)
        if not self._is_quorum(seen):
            present = ", ".join(seen) or "nobody"
            raise ProofError("policy.quorum", f"the policy asks for {self.quorum}; {present} cosigned")
        return seen

    def witnessed_since(self, times: Mapping[NoteVerifier, int]) -> int | None:
        """The latest posix time at or after which a quorum cosigned; None without a quorum, or if none is asked for."""
        if self.quorum == NONE:
            return None
        for time in sorted(set(times.values()), reverse=True):
            if self._is_quorum(self._names([verifier for verifier, at in times.items() if at >= time])):
                return time
        return None

    def _names(self, cosigners: Collection[NoteVerifier]) -> list[str]:
        return [name for name, verifier in self.witnesses.items() if verifier is not None and verifier in cosigners]

    def _is_quorum(self, names: Collection[str]) -> bool:
        return self.quorum == NONE or self._witnessed(self.quorum, set(names))

    def _witnessed(self, name: str, seen: Collection[str]) -> bool:
        group = self.groups.get(name)
        if group is None:
            return name in seen
        return sum(self._witnessed(member, seen) for member in group.members) >= group.threshold


def parse_policy(data: bytes) -> Policy:
    """The policy in `data`. Raises NotCheckable `trust.form`, place `policy line N`."""
    if len(data) > MAX_POLICY_BYTES:
        raise NotCheckable("trust.form", f"a policy of {len(data)} bytes", place="policy")
    reader = _PolicyReader()
    for number, line in enumerate(data.decode("utf-8", "surrogateescape").split("\n"), start=1):
        place = f"policy line {number}"
        if _CONTROL.search(line):
            raise NotCheckable("trust.form", "a control character", place=place)
        words = _BLANKS.split(line.strip(" \t"))
        if words[0] and not words[0].startswith("#"):
            try:
                reader.read(words)
            except ProofError as error:
                raise NotCheckable("trust.form", error.detail, place=place) from None
    return reader.policy()


class _PolicyReader:
    def __init__(self) -> None:
        self.logs: list[NoteVerifier] = []
        self.witnesses: dict[str, NoteVerifier | None] = {}
        self.groups: dict[str, Group] = {}
        self.urls: dict[str, str] = {}
        self.members: set[str] = set()
        self.keys: set[str] = set()
        self.quorum: str | None = None

    def read(self, words: list[str]) -> None:
        match words:
            case ["log", vkey] | ["log", vkey, _]:
                verifier = self._verifier(vkey, (TYPE_ED25519, TYPE_MLDSA44))
                if verifier is not None:
                    self.logs.append(verifier)
            case ["witness", name, vkey, *url] if len(url) <= 1:
                self._require_new(name)
                self.witnesses[name] = self._verifier(vkey, COSIGNATURES)
                if url:
                    self.urls[name] = url[0]
            case ["group", name, threshold, *members] if members:
                self._require_new(name)
                for member in members:
                    self._require_defined(member)
                    if member in self.members:
                        raise ProofError("trust.form", f"{member} is a member of a group already")
                    self.members.add(member)
                self.groups[name] = Group(_threshold(threshold, len(members)), tuple(members))
            case ["quorum", name] if self.quorum is None:
                if name != NONE:
                    self._require_defined(name)
                self.quorum = name
            case _:
                raise ProofError("trust.form", f"not a line of a policy: {' '.join(words)[:120]}")

    def policy(self) -> Policy:
        if self.quorum is None:
            raise NotCheckable("trust.form", "no quorum line", place="policy")
        return Policy(tuple(self.logs), self.witnesses, self.groups, self.quorum, self.urls)

    def _verifier(self, vkey: str, wanted: Collection[int]) -> NoteVerifier | None:
        if vkey in self.keys:
            raise ProofError("trust.form", "the same key twice")
        self.keys.add(vkey)
        if NoteVerifier.is_of_unknown_type(vkey):
            return None
        verifier = NoteVerifier.from_vkey(vkey)
        if verifier.key.keyid in self.keys:
            raise ProofError("trust.form", "the same key twice")
        self.keys.add(verifier.key.keyid)
        return verifier if verifier.type in wanted else None

    def _require_new(self, name: str) -> None:
        if name == NONE or name in self.witnesses or name in self.groups:
            raise ProofError("trust.form", f"the name {name} is taken")

    def _require_defined(self, name: str) -> None:
        if name not in self.witnesses and name not in self.groups:
            raise ProofError("trust.form", f"{name} is not defined on a line before")


def _threshold(text: str, members: int) -> int:
    if text in ("all", "any"):
        return members if text == "all" else 1
    if re.fullmatch(r"[1-9][0-9]{0,3}", text) is None or int(text) > members:
        raise ProofError("trust.form", f"a threshold {text} of {members} members")
    return int(text)
