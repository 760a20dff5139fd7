"""The applier of custody: judges the entries of a batch and writes the projections, inside the append transaction.

Meters take the fast way: what the fold remembers of them comes with the heads of their chains, every event is judged
in memory, and all is written with a few statements a batch. The row of a meter is written only if something that it
shows has changed. Everything here can be made again from the log by `rebuild`, which calls the same `apply_statements`.
"""

from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec
import orjson

from compliance.accounts.models import SigningKey
from compliance.accounts.projection import registered_signers
from compliance.custody import bulk, facts, links, meter_memory, profiles, rows, side_chains, vocabulary
from compliance.custody.facts import Statement, Witnesses
from compliance.custody.lifecycle import Fact, State, advance, fold, parties_among, profile_of
from compliance.custody.lifecycle import Violation as Found
from compliance.custody.models import Identifier, Meter, Violation, Visibility
from compliance.custody.vocabulary import CORRECTED, LINKED
from compliance.ledger.append import AppendContext, AppendedEntry
from compliance.ledger.errors import Refused

METER = "meter:"
PUBLIC_PREFIX = "mtr_"

_BORN = ("subject_key", "manufacturer", "profile")
_TYPED = ("subject_key", "meter_type")
_SHOWN = (
    "subject_key",
    "claimed_state",
    "assured_state",
    "holder",
    "owner",
    "controller",
    "key_state",
    "seal_state",
    "data_state",
    "trust",
)
_ROW = ("public_id", "subject", "first_recorded_at", "violation_count", "meter_type", *_BORN, *_SHOWN[1:])


_VISIBILITY = ("subject_key", "organisation", "from_seq", "to_seq", "last_seen")


def apply(context: AppendContext, entries: Sequence[AppendedEntry]) -> None:
    """Project the entries of a batch that is being appended. Raises Refused `batch.reach`."""
    told = statements_of(context, entries)
    reached = apply_statements(told, context.memory, read=context.facts, signers=registered_signers(context))
    if reached > links.MAX_REACH:
        raise Refused(
            "batch.reach",
            f"events on units, shipments and key bundles reach {reached:,} meters in all, at most {links.MAX_REACH:,}",
        )


def statements_of(context: AppendContext, entries: Sequence[AppendedEntry]) -> list[Statement]:
    """The entries of a batch that is being appended, as they will be read later."""
    recorded_at, author, signers = context.recorded_at, context.author, context.signers
    return [
        Statement(entry.subject, entry.key, entry.seq, entry.hash, recorded_at, entry.event, author, signers)
        for entry in entries
    ]


def apply_statements(
    told: Sequence[Statement],
    memory: MutableMapping[bytes, bytes],
    *,
    read: dict[bytes, Fact] | None = None,
    signers: Mapping[str, SigningKey] | None = None,
) -> int:
    """Project entries of one batch, in order; what they say of types and roles counts for its own meters too.

    `memory` holds what is remembered of each chain of theirs, by its key, empty where that is nothing; there the new
    memory of meters is put.
    What the events of meters are to the fold is put into `read`, for the appliers that come later. `signers` are rows
    of keys that were read before. Returns how many meters are reached by its events on units, shipments and key
    bundles, each event counted by itself.
    """
    others = [statement for statement in told if not statement.subject.startswith(METER)]
    reached = side_chains.apply(others) if others else 0
    if len(others) < len(told):
        meters = [statement for statement in told if statement.subject.startswith(METER)] if others else told
        _Meters(meters, memory, {} if read is None else read, signers or {}).project()
    return reached


class _Row(msgspec.Struct, gc=False):
    """A meter while a batch is projected."""

    key: bytes
    subject: str
    state: State
    remembered: bytes  # empty for a new one
    meter_type: str = ""
    last_seq: int = -1
    last_type: str = ""
    last_occurred_at: str = ""
    last_recorded_at: datetime | None = None
    further_violations: int = 0
    was_typed: bool = False
    was_refolded: bool = False


@dataclass(slots=True)
class _Changes:
    """Rows to write at the end."""

    identifiers: list[bulk.Row] = field(default_factory=list)
    violations: list[bulk.Row] = field(default_factory=list)
    settled: list[bulk.Row] = field(default_factory=list)
    opened: dict[tuple[bytes, str], list[Any]] = field(default_factory=dict)
    came_and_went: list[bulk.Row] = field(default_factory=list)
    closed: list[bulk.Row] = field(default_factory=list)
    links: list[bulk.Row] = field(default_factory=list)


class _Meters:
    """The entries of one batch on chains of meters."""

    def __init__(
        self,
        told: Sequence[Statement],
        memory: MutableMapping[bytes, bytes],
        read: dict[bytes, Fact],
        signers: Mapping[str, SigningKey],
    ) -> None:
        self._told = told
        self._memory = memory
        self._read = read
        self._words = vocabulary.load()
        self._profiles = profiles.active()
        self._causes = facts.statements({cause for statement in told if (cause := statement.cause)})
        self._witnesses = Witnesses.of([*told, *self._causes.values()], known=signers)
        births = [statement for statement in told if statement.type == facts.BIRTH]
        self._registrations = facts.Registrations(births)
        self._linked: dict[tuple[str, int], Fact] = {}
        self._rows = _load(told, memory)
        self._aliases = _own_aliases(told, self._rows)
        self._changes = _Changes()

    def project(self) -> None:
        """Judge every entry, then write."""
        for statement in self._told:
            row = self._rows[statement.subject]
            state = row.state
            fact = self._fact(statement)
            before = state.holder, state.owner, state.controller
            violations: Sequence[Found] = ()
            standing = True
            if fact is not None and fact.type == CORRECTED:
                self._refold(row, statement)
                state = row.state
            elif fact is not None:
                profile = profile_of(state, fact, self._profiles)
                violations, standing = advance(state, fact, words=self._words, profile=profile)
            self._move_row(row, statement, violations)
            if statement.seq == 0 or (standing and "identifiers" in statement.event["data"]):
                self._join(row, statement, standing)
            if statement.event["type"] == LINKED:
                self._changes.links.append((statement.seq, *links.place(statement), row.key))
            after = state.holder, state.owner, state.controller
            if after != before:
                self._see(row, parties_among(before), parties_among(after))
        self._write()

    def _fact(self, statement: Statement) -> Fact | None:
        code = statement.event["type"]
        if code == LINKED:
            place = statement.cause
            if place is not None and place not in self._linked and place in self._causes:
                self._linked[place] = self._witnesses.fact(self._causes[place])
            return self._linked.get(place)  # type: ignore[arg-type]
        if code not in self._words.events:
            return None
        fact = self._read[statement.hash] = self._witnesses.fact(statement, self._registrations)
        return fact

    def _move_row(self, row: _Row, statement: Statement, violations: Sequence[Found]) -> None:
        event = statement.event
        row.last_seq = statement.seq
        row.last_type = event["data"]["effect"] if event["type"] == LINKED else event["type"]
        row.last_occurred_at = event["occurred_at"]
        row.last_recorded_at = statement.recorded_at
        if event["type"] == facts.BIRTH and row.state.maker == statement.author and not row.meter_type:
            row.meter_type = str(event["data"].get("type_code", ""))
            row.was_typed = True
        if violations:
            row.further_violations += len(violations)
            stated = self._causes.get(statement.cause or ("", 0), statement)
            self._changes.violations += rows.violations(statement, violations, key=row.key, stated=stated)

    def _join(self, row: _Row, statement: Statement, standing: bool) -> None:
        """The name the chain was born with, and those that an event with standing gives it."""
        names = list(statement.data.get("identifiers", ())) if standing else []
        if statement.seq == 0:
            names.insert(0, rows.own_name(row.subject))
        known = self._aliases.setdefault(row.subject, set())
        for name in names:
            alias = rows.alias_of(row.subject, name)
            if alias not in known:
                known.add(alias)
                self._changes.identifiers.append(rows.identifier(row.subject, row.key, name, statement, alias=alias))

    def _see(self, row: _Row, before: frozenset[str], after: frozenset[str]) -> None:
        changes = self._changes
        for organisation in after - before:
            changes.opened[row.key, organisation] = [row.key, organisation, row.last_seq, None, ""]
        for organisation in before - after:
            seen = _last_seen(row)
            opened = changes.opened.pop((row.key, organisation), None)
            if opened is None:
                changes.closed.append((row.last_seq, seen, row.key, organisation))
            else:
                opened[3:] = row.last_seq, seen
                changes.came_and_went.append(opened)

    def _refold(self, row: _Row, statement: Statement) -> None:
        """A correction changes what is true of the past: fold the chain again up to here, and settle what fell away."""
        self._write()  # violations of this batch so far are compared with those of the new fold
        told, seen = facts.chain_facts(row.subject, to_seq=statement.seq)
        causes = facts.statements({cause for entry in told if (cause := entry.cause)})
        folded = fold(seen, words=self._words, profiles=self._profiles)
        row.state = folded.state
        row.was_refolded = True
        fresh = {
            (told[place].seq, found.code, found.detail[: rows.MAX_DETAIL])
            for place, founds in folded.violations.items()
            for found in founds
        }
        before = Violation.objects.filter(subject_key=row.key, settled_seq=None)
        kept = {(violation.seq, violation.code, violation.detail): violation.ordinal for violation in before}
        self._changes.settled += [
            (statement.seq, row.key, place[0], ordinal) for place, ordinal in sorted(kept.items()) if place not in fresh
        ]
        row.further_violations += len(fresh - kept.keys()) - len(kept.keys() - fresh)
        for place, founds in sorted(folded.violations.items()):
            entry = told[place]
            new = [found for found in founds if (entry.seq, found.code, found.detail[: rows.MAX_DETAIL]) not in kept]
            self._changes.violations += rows.violations(
                entry,
                new,
                key=row.key,
                stated=causes.get(entry.cause or ("", 0), entry),
                first=Violation.objects.filter(subject_key=row.key, seq=entry.seq).count() if new else 0,
                recorded_at=statement.recorded_at,
            )

    def _write(self) -> None:
        changes, self._changes = self._changes, _Changes()
        touched = [row for row in self._rows.values() if row.last_recorded_at is not None]
        for row in touched:
            self._memory[row.key] = meter_memory.spell(row.state, row.last_type)
        bulk.insert(Meter, _ROW, [_whole(row) for row in touched if not row.remembered])
        known = [row for row in touched if row.remembered]
        moved = [row for row in known if row.remembered != self._memory[row.key] and _shows_something_else(row)]
        bulk.update(Meter, _SHOWN, [(row.key, *_shown(row.state)) for row in moved], key="subject_key")
        born = [_born(row) for row in known if row.was_typed or row.was_refolded]
        bulk.update(Meter, _BORN, born, key="subject_key")
        typed = [(row.key, row.meter_type) for row in known if row.was_typed]
        bulk.update(Meter, _TYPED, typed, key="subject_key")
        _count_violations([row for row in known if row.further_violations])
        for row in touched:
            row.remembered, row.further_violations = self._memory[row.key], 0
            row.was_typed = row.was_refolded = False
        rows.write_identifiers(changes.identifiers)
        rows.write_violations(changes.violations)
        bulk.insert(Visibility, _VISIBILITY, [*changes.opened.values(), *changes.came_and_went])
        bulk.execute_many(
            "UPDATE custody_visibility SET to_seq = %s, last_seen = %s "
            "WHERE subject_key = %s AND organisation = %s AND to_seq IS NULL",
            changes.closed,
        )
        bulk.execute_many(
            "UPDATE custody_violation SET settled_seq = %s WHERE subject_key = %s AND seq = %s AND ordinal = %s",
            changes.settled,
        )
        links.mark_done(changes.links)


def _load(told: Sequence[Statement], memory: Mapping[bytes, bytes]) -> dict[str, _Row]:
    """All meters of the batch as they are remembered; nothing is remembered of those that are new."""
    rows: dict[str, _Row] = {}
    born_again: dict[bytes, _Row] = {}
    for statement in told:
        row = rows.get(statement.subject)
        if row is None:
            remembered = memory[statement.key]
            state = meter_memory.read(remembered).state if remembered else State()
            row = rows[statement.subject] = _Row(statement.key, statement.subject, state, remembered)
        if row.remembered and statement.type == facts.BIRTH:
            born_again[row.key] = row
    if born_again:
        for key, meter_type in bulk.fetch(Meter, _TYPED, key="subject_key", values=list(born_again)):
            born_again[key].meter_type = meter_type
    return rows


def _whole(row: _Row) -> bulk.Row:
    public_id = PUBLIC_PREFIX + row.key.hex()
    beside = (public_id, row.subject, row.last_recorded_at, row.further_violations, row.meter_type)
    return (*beside, *_born(row), *_shown(row.state))


def _born(row: _Row) -> bulk.Row:
    return row.key, row.state.maker or "", row.state.profile


def _shows_something_else(row: _Row) -> bool:
    return _shown(meter_memory.read(row.remembered).state) != _shown(row.state)


def _shown(state: State) -> tuple[str, ...]:
    return (
        state.claimed,
        state.assured,
        state.holder or "",
        state.owner or "",
        state.controller or "",
        state.key_state,
        state.seal_state,
        state.data_state,
        state.trust,
    )


def _count_violations(rows: Sequence[_Row]) -> None:
    columns = ("subject_key", "violation_count")
    counted = dict(bulk.fetch(Meter, columns, key="subject_key", values=[row.key for row in rows])) if rows else {}
    bulk.update(
        Meter, columns, [(row.key, counted[row.key] + row.further_violations) for row in rows], key="subject_key"
    )


def _last_seen(row: _Row) -> str:
    state = row.state
    return orjson.dumps(
        {
            "claimed_state": state.claimed,
            "assured_state": state.assured,
            "holder": state.holder or "",
            "owner": state.owner or "",
            "controller": state.controller or "",
            "key_state": state.key_state,
            "seal_state": state.seal_state,
            "data_state": state.data_state,
            "trust": state.trust,
            "last_seq": row.last_seq,
            "last_type": row.last_type,
            "last_occurred_at": row.last_occurred_at,
            "last_recorded_at": row.last_recorded_at,
        }
    ).decode()


def _own_aliases(told: Sequence[Statement], rows: Mapping[str, _Row]) -> dict[str, set[str]]:
    """Names that chains already have, of those that are given further ones here."""
    named = {
        rows[statement.subject].key
        for statement in told
        if "identifiers" in statement.data and rows[statement.subject].remembered
    }
    found: dict[str, set[str]] = {}
    if named:
        for subject, alias in Identifier.objects.filter(subject_key__in=named).values_list("subject", "alias"):
            found.setdefault(subject, set()).add(alias)
    return found
