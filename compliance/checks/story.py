"""What the chain of one meter has told so far, as far as checks must remember it: a fold, entry by entry.

Who holds it and how its seals stand is custody's own fold (`lifecycle`), kept inside; beside it stand the names, seals,
keys, cell visits and deaths that its state does not keep.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

from compliance.custody import lifecycle, profiles, vocabulary
from compliance.custody.facts import BIRTH, Statement
from compliance.custody.lifecycle import Fact, Signer, State
from compliance.custody.vocabulary import LINKED
from compliance.proof import identifiers
from compliance.proof import subject as subjects
from compliance.proof.times import parse_time

DEATHS = {"eol.decommissioned": "decommissioned", "eol.disposed": "disposed"}
TERMINAL = frozenset({"disposed", "scrapped"})
CELL_ENTRY = "cell.entered"
_OUTCOMES = {"mfg.rejected": "outcome", "exception.released": "decision", "eol.triaged": "outcome"}
_SCRAPPED = frozenset({("mfg.rejected", "scrap"), ("exception.released", "scrapped")})
_DESTROYING = {"mfg.rejected": "keys_destroyed", "eol.sanitised": "keys_erased"}
_CELL_EVENTS = frozenset(vocabulary.load().cell_steps)
SEALS_SEEN = {"install.installed": "seals_seen", "eol.removed": "seals_seen"}
SEALS_APPLIED = {"cell.sealed": "seals", "install.installed": "seals_applied"}
KEYING = frozenset({"cell.keys_provisioned", "keys.rotated"})


@dataclass(frozen=True)
class Step:
    """One entry of the log as a check sees it: `fact` is the event, that of the cause where the entry is a link."""

    told: Statement
    fact: Fact

    @property
    def subject(self) -> str:
        """The chain it stands in."""
        return self.told.subject

    @property
    def seq(self) -> int:
        """Its place there."""
        return self.told.seq

    @property
    def type(self) -> str:
        """The event's type."""
        return self.fact.type

    @property
    def author(self) -> str:
        """The organisation that states it."""
        return self.fact.author

    @property
    def signers(self) -> tuple[Signer, ...]:
        """Holders of the keys that signed it."""
        return self.fact.signers

    @property
    def data(self) -> Mapping[str, Any]:
        """What it states."""
        return self.fact.data

    @property
    def is_link(self) -> bool:
        """Whether the platform put it here because of an event elsewhere."""
        return self.told.type == LINKED

    @property
    def is_by_namesake(self) -> bool:
        """Whether the organisation that the chain is named after says it.

        Others can speak there too; that is on record, and moves nothing. A chain with a public number is nobody's own.
        """
        about = subjects.parse(self.subject)
        return about.scheme == self.author or identifiers.is_known(about.scheme)

    @cached_property
    def occurred_at(self) -> datetime:
        """When it happened, as claimed."""
        return parse_time(self.told.event["occurred_at"])

    @property
    def recorded_at(self) -> datetime:
        """When it came."""
        return self.told.recorded_at


@dataclass(slots=True)
class MeterStory:
    """A meter before the entry that is judged next."""

    subject: str
    state: State = field(default_factory=State)
    births: int = 0
    maker: str = ""
    type_code: str = ""
    names: dict[str, set[str]] = field(default_factory=dict)
    dead: str = ""
    session: str = ""
    steps: list[tuple[str, str]] = field(default_factory=list)
    seals: dict[str, str] = field(default_factory=dict)
    loose: set[str] = field(default_factory=set)
    keys: dict[str, set[str]] = field(default_factory=dict)
    destroyed: set[str] = field(default_factory=set)

    @property
    def meter_type(self) -> str:
        """The subject of its type, empty while nobody said of which type it is."""
        return subjects.make("meter_type", self.maker, self.type_code).text if self.maker and self.type_code else ""

    def known_names(self) -> set[str]:
        """Every value it is known by, the one its chain is named by included."""
        return {subjects.parse(self.subject).value}.union(*self.names.values())

    def take(self, step: Step) -> None:
        """Go on by one entry."""
        fact = step.fact
        profile = lifecycle.profile_of(self.state, fact, profiles.active())
        lifecycle.advance(self.state, fact, words=vocabulary.load(), profile=profile)
        if fact.type == BIRTH:
            self._be_born(fact)
        for scheme, value in stated_names(fact):
            self.names.setdefault(scheme, set()).add(value)
        self._visit_cell(fact)
        self._live_or_die(fact)
        self._keep_seals(fact)
        self._keep_keys(fact)

    def seal_at(self, point: str) -> str | None:
        """The number last applied at `point`, None if none is on record there."""
        return self.seals.get(point)

    def _be_born(self, fact: Fact) -> None:
        self.births += 1
        if self.births == 1:
            self.maker, self.type_code = fact.author, str(fact.data.get("type_code") or "")

    def _visit_cell(self, fact: Fact) -> None:
        if fact.type in _CELL_EVENTS:
            session = str(fact.data.get("session_id") or "")
            if fact.type == CELL_ENTRY:
                self.session, self.steps = session, []
            self.steps.append((fact.type, session))
        elif fact.type in ("cell.exited", "mfg.rejected"):
            self.session, self.steps = "", []

    def _live_or_die(self, fact: Fact) -> None:
        if self.dead in TERMINAL:
            return
        outcome = str(fact.data.get(_OUTCOMES.get(fact.type, ""), ""))
        if fact.type in DEATHS:
            self.dead = DEATHS[fact.type]
        elif (fact.type, outcome) in _SCRAPPED:
            self.dead = "scrapped"
        elif fact.type == "eol.triaged":
            self.dead = "decommissioned" if outcome == "dispose" else ""

    def _keep_seals(self, fact: Fact) -> None:
        if fact.type == CELL_ENTRY:
            self.seals, self.loose = {}, set()
        elif fact.type == "ops.tamper_alerted" and fact.data.get("cover_state") == "open":
            self.loose = set(self.seals)
        for seen in seals_seen(fact, self.subject):
            self._see(seen["point"], seen["number"])
        for applied in seals_applied(fact):
            self.seals[applied["point"]] = applied["number"]
            self.loose.discard(applied["point"])

    def _see(self, point: str, number: str) -> None:
        """A seal found after an opening is the one that was put there then."""
        if point in self.loose:
            self.seals[point] = number
            self.loose.discard(point)

    def _keep_keys(self, fact: Fact) -> None:
        if fact.type in KEYING:
            for key in fact.data["keys"]:
                if value := key_value(key):
                    self.keys.setdefault(value, set()).add(str(key.get("role")))
        elif fact.data.get(_DESTROYING.get(fact.type, "")) is True:
            self.destroyed |= self.keys.keys()


def key_value(key: Mapping[str, Any]) -> str:
    """What equal keys have in common: the registry tag, or the digest of the public key. Empty if neither is there."""
    return str(key.get("registry_tag") or key.get("public_key_sha256") or "")


def stated_names(fact: Fact) -> Iterator[tuple[str, str]]:
    """Identifiers that the event gives the meter, as (scheme, value)."""
    names = fact.data.get("identifiers")
    for name in names if isinstance(names, list) else ():
        if isinstance(name, dict) and isinstance(name.get("scheme"), str) and isinstance(name.get("value"), str):
            yield name["scheme"], name["value"]


def seals_seen(fact: Fact, subject: str) -> list[Mapping[str, Any]]:
    """Seals that the event says were found on the meter `subject`."""
    if fact.type == "delivery.inspected":
        return [seen for seen in fact.data["seal_results"] if seen["subject"] == subject]
    return list(fact.data[SEALS_SEEN[fact.type]]) if fact.type in SEALS_SEEN else []


def seals_applied(fact: Fact) -> list[Mapping[str, Any]]:
    """Seals that the event says were put on."""
    return list(fact.data[SEALS_APPLIED[fact.type]]) if fact.type in SEALS_APPLIED else []
