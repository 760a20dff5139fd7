"""Batch intake: read, verify, judge form and right, append. docs/custody.md tells a sender what is refused and what
is not.

Refused is what cannot be taken as the sender's statement: bytes that are no batch, signatures that do not verify, a
type the sender's roles do not include, data without a required field, a name that belongs to another chain. Whether
the step was legal, and whether the sender had standing, is recorded beside the event and never a reason to refuse it.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec
from django.conf import settings
from django.db import IntegrityError

from compliance.accounts import key_lines, locks, policy
from compliance.accounts.models import ApiKey, SignaturePolicy
from compliance.custody import facts, links, rows, shapes, vocabulary
from compliance.custody.models import Identifier, Meter
from compliance.custody.vocabulary import ANY_KIND, AUTHOR_ROLE, CORRECTED, EventType
from compliance.jobs import clock
from compliance.ledger import selectors as ledger
from compliance.ledger.append import Appended, IncomingBatch, IncomingEvent, append_batch, unit_of_work
from compliance.ledger.errors import Refused, WrongAboutChains
from compliance.ledger.platform_log import sign_for_platform
from compliance.proof import batch as batches
from compliance.proof import event as event_format
from compliance.proof import identifiers, merkle
from compliance.proof.canonical import read_event_line
from compliance.proof.errors import ProofError
from compliance.proof.subject import PLATFORM, key_of

Mode = Literal["atomic", "proceed"]
MAX_EVENTS = 1_000  # one transaction; larger batches come by jobs
MAX_BYTES = 5 * 1024 * 1024
MAX_PROBLEMS = 100  # in one answer; the total is told beside
MAX_ROUNDS = 5  # how often other batches may take names or ids while this one is being recorded
_FIRST_EVENT_LINE = 2
_METER = "meter:"
_FORBIDDEN = frozenset({"role.missing", "event.authority", "batch.issuer"})
_CONFLICTS = frozenset({"subject.taken", "event.conflict", "chain.moved", "chain.closed", "batch.conflict"})
_TOO_LARGE = frozenset({"body.too_large", "batch.too_many", "batch.reach", "json.size"})
_KEY_TYPES = frozenset({event_format.KEY_REGISTERED, event_format.KEY_REVOKED})


@dataclass(frozen=True, slots=True)
class LineProblem:
    """Why an event, or with no index the whole batch, was refused. `line` is None if the batch was one JSON value."""

    line: int | None
    index: int | None
    pointer: str | None
    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class IntakeResult:
    """A batch that was recorded. In mode "proceed" some of its events may have been rejected."""

    appended: Appended
    problems: list[LineProblem]
    rejected: int


class BatchRefused(Exception):
    """Nothing was recorded. `problems` holds the first hundred of `total`, `status_hint` the HTTP status they make."""

    def __init__(self, problems: Sequence[LineProblem]) -> None:
        first = problems[0]
        super().__init__(f"{first.code}: {first.detail}")
        self.problems = list(problems[:MAX_PROBLEMS])
        self.total = len(problems)
        self.status_hint = _status({problem.code for problem in problems})

    @property
    def concerns_batch(self) -> bool:
        """True if the batch as such was refused, not single events."""
        return self.problems[0].index is None


class _Candidate(msgspec.Struct, gc=False):
    """An event on its way: where it stood in what was sent, and the chain it goes to."""

    index: int
    line: int | None
    value: dict[str, Any]
    canonical: bytes
    event_hash: bytes
    chain: str = ""


@dataclass(slots=True)
class _Judged:
    """What can be recorded, and what cannot and why."""

    candidates: list[_Candidate]
    author: str
    problems: dict[int, LineProblem] = field(default_factory=dict)
    begun: frozenset[bytes] = frozenset()  # keys of chains that have entries, or are taken to
    new: frozenset[bytes] = frozenset()  # keys of chains that are taken to have none
    looks_up_meters: bool = False  # else that a meter is new at its birth, and has a chain after it, is taken as so

    def refuse(self, event: "_Candidate", pointer: str | None, code: str, detail: str) -> None:
        """Note why `event` cannot be recorded."""
        self.problems[event.index] = LineProblem(event.line, event.index, pointer, code, detail)


def receive_batch(data: bytes, *, media_type: str | None, sender: ApiKey, mode: Mode = "atomic") -> IntakeResult:
    """Take in a signed batch; events without an envelope go to `receive_unsigned` where the organisation may do that.

    Raises BatchRefused, and NotAllowed if the credential may not submit at all.
    """
    policy.require(sender, "batch.submit")
    if len(data) > MAX_BYTES:
        raise BatchRefused([_of_batch("body.too_large", f"{len(data)} bytes; a batch has at most {MAX_BYTES}")])
    if (lines := _unsigned_lines(data)) is not None:
        return receive_unsigned(lines, sender=sender, mode=mode)
    try:
        received = batches.read(data, media_type=media_type)
    except ProofError as error:
        raise BatchRefused([_of_batch(error.code, error.detail)]) from None
    if received.payload["count"] > MAX_EVENTS:
        raise BatchRefused([_of_batch("batch.too_many", f"{received.payload['count']} events, at most {MAX_EVENTS}")])
    _require_right_batch(received, sender)
    first_line = None if media_type == batches.JSON_DOCUMENT else _FIRST_EVENT_LINE
    if ledger.batch(received.batch_id) is not None:
        return _replay(received, first_line)
    _verify(received)
    judged = _Judged(
        [
            _Candidate(event.index, _line(event.index, first_line), event.value, event.canonical, event.event_hash)
            for event in received.events
        ],
        received.author,
    )
    for index, _, wrong in received.problems:
        line = _line(index, first_line)
        judged.problems[index] = LineProblem(line, index, wrong.pointer, wrong.code, wrong.detail)
    if received.event_hashes is None:  # without each event's hash the signed root cannot be checked
        raise BatchRefused(_sorted(judged))
    _judge(judged, roles=frozenset(sender.organisation.roles))
    return _record(_SignedBatch(received), judged, sender=sender, mode=mode)


def receive_unsigned(lines: Sequence[bytes], *, sender: ApiKey, mode: Mode = "atomic") -> IntakeResult:
    """Take in events of an organisation whose policy accepts unsigned ones; the platform signs and vouches for them."""
    policy.require(sender, "batch.submit")
    if sender.organisation.signature_policy != SignaturePolicy.ACCEPTED:
        detail = f"events of {sender.organisation_id} must be signed with one of its own keys"
        raise BatchRefused([_of_batch("batch.unsigned", detail)])
    if not lines:
        raise BatchRefused([_of_batch("batch.empty", "no event was sent")])
    if len(lines) > MAX_EVENTS:
        raise BatchRefused([_of_batch("batch.too_many", f"{len(lines)} events, at most {MAX_EVENTS}")])
    judged = _Judged([], sender.organisation_id)
    seen: set[str] = set()
    for index, line in enumerate(lines):
        try:
            value, canonical = read_event_line(line)
            event_format.check_event(value)
            event_format.check_authority(value, sender.organisation_id)
            if value["type"] in _KEY_TYPES:
                raise ProofError("event.authority", "a key is registered and revoked by signatures", pointer="/type")
            if value["id"] in seen:
                raise ProofError("event.id_twice", f"the id {value['id']} occurs twice in the batch", pointer="/id")
        except ProofError as error:
            judged.problems[index] = LineProblem(index + 1, index, error.pointer, error.code, error.detail)
            continue
        seen.add(value["id"])
        judged.candidates.append(_Candidate(index, index + 1, value, canonical, merkle.leaf_hash(canonical)))
    _judge(judged, roles=frozenset(sender.organisation.roles))
    return _record(_VouchedBatch(sender), judged, sender=sender, mode=mode)


class _SignedBatch:
    """A batch as an organisation signed it: refused events keep their place."""

    def __init__(self, received: batches.ReceivedBatch) -> None:
        self._received = received

    def incoming(self, judged: _Judged) -> tuple[IncomingBatch, dict[int, str]]:
        """The batch for the ledger, and the positions it leaves out."""
        received = self._received
        batch = IncomingBatch(
            batch_id=received.batch_id,
            payload_sha256=received.payload_sha256,
            envelope=received.envelope,
            author=received.author,
            issuer=received.payload["issuer"],
            signers=tuple(keyid for keyid, _ in received.signatures),
            event_hashes=received.event_hashes or (),
            events=[
                IncomingEvent(event.index, event.value, event.canonical, event.event_hash, event.chain)
                for event in judged.candidates
            ],
            begun=judged.begun,
            new=judged.new,
        )
        return batch, {index: problem.code for index, problem in judged.problems.items()}

    def by_place(self, judged: _Judged) -> dict[int | None, _Candidate]:
        """The events by their position in the batch."""
        return {event.index: event for event in judged.candidates}


class _VouchedBatch:
    """Events that the platform signs for: only those that are recorded stand in its batch."""

    def __init__(self, sender: ApiKey) -> None:
        self._sender = sender

    def incoming(self, judged: _Judged) -> tuple[IncomingBatch, dict[int, str]]:
        """The batch for the ledger; it leaves nothing out."""
        batch = sign_for_platform(
            [event.value for event in judged.candidates],
            on_behalf_of=self._sender.organisation_id,
            credential=self._sender.public_id,
        )
        events = [
            msgspec.structs.replace(signed, subject=event.chain)
            for signed, event in zip(batch.events, judged.candidates, strict=True)
        ]
        return dataclasses.replace(batch, events=events, begun=judged.begun, new=judged.new), {}

    def by_place(self, judged: _Judged) -> dict[int | None, _Candidate]:
        """The events by their position in the batch."""
        return dict(enumerate(judged.candidates))


def _require_right_batch(received: batches.ReceivedBatch, sender: ApiKey) -> None:
    payload = received.payload
    if payload["log"] != settings.METERPROOF["ORIGIN"]:
        detail = f"it is meant for {payload['log']}; this log is {settings.METERPROOF['ORIGIN']}"
        raise BatchRefused([_of_batch("batch.log", detail)])
    if payload["issuer"] == PLATFORM or "on_behalf_of" in payload:
        raise BatchRefused([_of_batch("batch.vouching", "the platform alone makes batches in its name")])
    if payload["issuer"] != sender.organisation_id:
        detail = f"the batch is by {payload['issuer']}, the credential belongs to {sender.organisation_id}"
        raise BatchRefused([_of_batch("batch.issuer", detail)])


def _verify(received: batches.ReceivedBatch) -> None:
    try:
        keys = key_lines.signer_keys(
            keyids=[keyid for keyid, _ in received.signatures],
            events=[event.value for event in received.events],
            at=clock.now(),
        )
        batches.verify_signatures(received.statement, received.payload, keys)
    except ProofError as error:
        raise BatchRefused([_of_batch(error.code, error.detail)]) from None


def _judge(judged: _Judged, *, roles: frozenset[str]) -> None:
    """Sort out the events whose form, type, role or names cannot be accepted, and find each one's chain."""
    words = vocabulary.load()
    may_send: dict[str, bool] = {}
    good: list[_Candidate] = []
    for event in judged.candidates:
        code = event.value["type"]
        if code in _KEY_TYPES:
            good.append(event)
            continue
        event_type = words.events.get(code)
        allowed = may_send.get(code)
        if allowed is None:
            allowed = event_type is None or _may_send(event_type, roles)
            may_send[code] = allowed
        problem = _problem_of(event.value, event_type, allowed)
        if problem is None:
            good.append(event)
        else:
            judged.refuse(event, *problem)
    judged.candidates = good
    _keep_to_own_names(judged)


def _keep_to_own_names(judged: _Judged) -> None:
    """Find each event's chain, and refuse those that take a name of another chain or of another maker's range."""
    good: list[_Candidate] = []
    for event, taken in _find_chains(judged):
        if taken is None:
            good.append(event)
        else:
            judged.refuse(event, taken[0], "subject.taken", taken[1])
    judged.candidates = good


def _may_send(event_type: EventType, roles: frozenset[str]) -> bool:
    return AUTHOR_ROLE in event_type.emitted_by or not event_type.emitted_by.isdisjoint(roles)


def _problem_of(value: Mapping[str, Any], event_type: EventType | None, allowed: bool) -> tuple[str, str, str] | None:
    """Pointer, code and sentence of the first thing that is wrong with an event as such."""
    code = value["type"]
    if event_type is None:
        return "/type", "event.type", f"no event type is called {code}"
    if value["schema"] != event_type.schema:
        return "/schema", "event.type", f"{code} has schema version {event_type.schema}, not {value['schema']}"
    kind = value["subject"].partition(":")[0]
    if kind not in event_type.kinds and ANY_KIND not in event_type.kinds:
        return "/subject", "event.value", f"{code} is about a {' or '.join(sorted(event_type.kinds))}, not a {kind}"
    if not allowed:
        return "/type", "role.missing", f"{code} comes from {', '.join(sorted(event_type.emitted_by))}"
    found = shapes.of(code).problems(value["data"])
    if found:
        pointer, says = found[0]
        return "/data" + pointer, "event.data", f"data{pointer} {says}"
    if code == CORRECTED and "corrects" not in value:
        return "/corrects", "event.data", "a correction names the entry in corrects"
    return None


def _find_chains(judged: _Judged) -> Iterable[tuple[_Candidate, tuple[str, str] | None]]:
    """Each event with the chain it goes to; or the place and reason if it takes a name that is another chain's."""
    events = judged.candidates
    named = {event.value["subject"] for event in events}
    joined_by = {event.index: joined for event in events if (joined := _joined(event))}
    birth = vocabulary.load().birth_type
    given = {alias for joined in joined_by.values() for _, alias in joined}
    taken_for_begun: set[str] = set()
    taken_for_new: set[str] = set()
    if not judged.looks_up_meters:
        taken_for_new.update(event.value["subject"] for event in events if event.value["type"] == birth)
        taken_for_begun.update(subject for subject in named if subject.startswith(_METER))
        taken_for_begun.difference_update(event.value["subject"] for event in events if event.index in joined_by)
        taken_for_begun -= taken_for_new | given
    unused = ledger.chains_without_entries(named - taken_for_begun - taken_for_new)
    chains = {subject: subject for subject in named - unused - taken_for_new}  # what has a chain is no name of another
    judged.begun, judged.new = frozenset(map(key_of, chains)), frozenset(map(key_of, taken_for_new))
    given_by_others = {
        alias for event in events for _, alias in joined_by.get(event.index, ()) if alias != event.value["subject"]
    }
    chains.update(rows.chains_by_name((unused | given) - (taken_for_new - given_by_others)))
    letters = _letters_of_others(events, joined_by, judged.author)
    makers = _makers(chains.get(event.value["subject"]) for event in events if event.index in letters)
    for event in events:
        subject = event.value["subject"]
        chain = chains.get(subject, subject)
        if event.value["type"] == birth and chain != subject:
            yield event, ("/subject", f"{subject} is a name of {chain}")
            continue
        joined = joined_by.get(event.index, ())
        taken = None
        for position, alias in joined:
            if chains.get(alias, chain) != chain:
                taken = f"/data/identifiers/{position}/value", f"{alias} is a name of {chains[alias]}"
                break
            owner = letters.get(event.index, {}).get(position)
            if owner is not None and owner != makers.get(chain):
                taken = f"/data/identifiers/{position}/value", f"{alias} lies in the serial range of {owner}"
                break
        if taken is None:
            event.chain = chain
            chains[subject] = chain
            for _, alias in joined:
                chains[alias] = chain
        yield event, taken


def _letters_of_others(
    events: Sequence[_Candidate], joined_by: Mapping[int, Sequence[tuple[int, str]]], author: str
) -> dict[int, dict[int, str]]:
    """Of names that events give, by event and position: the other maker to whom the letters in them belong."""
    flag = vocabulary.load().flag
    found: dict[tuple[int, int], str] = {}
    for event in events:
        for position, _ in joined_by.get(event.index, ()):
            name = event.value["data"]["identifiers"][position]
            if letters := flag(name["scheme"], name["value"]):
                found[event.index, position] = letters
    owners = facts.owners_of_letters(found.values())
    others: dict[int, dict[int, str]] = {}
    for (index, position), letters in found.items():
        if owners.get(letters, author) != author:
            others.setdefault(index, {})[position] = owners[letters]
    return others


def _makers(chains: Iterable[str | None]) -> dict[str, str]:
    keys = [key_of(chain) for chain in chains if chain is not None]
    return dict(Meter.objects.filter(subject_key__in=keys).values_list("subject", "manufacturer")) if keys else {}


def _joined(event: _Candidate) -> Sequence[tuple[int, str]]:
    """Position and text of the names in `data.identifiers` that belong to one chain only."""
    listed = event.value["data"].get("identifiers")
    if not listed:
        return ()
    return [
        (position, rows.alias_of(event.value["subject"], name))
        for position, name in enumerate(listed)
        if identifiers.is_single_valued(name["scheme"])
    ]


def _record(source: _SignedBatch | _VouchedBatch, judged: _Judged, *, sender: ApiKey, mode: Mode) -> IntakeResult:
    """Append what is left; what only the append can see is left out too, or refuses all."""
    for _ in range(MAX_ROUNDS):
        if judged.problems and (mode == "atomic" or not judged.candidates):
            raise BatchRefused(_sorted(judged))
        links.catch_up(event.chain for event in judged.candidates if event.chain.startswith(_METER))
        batch, refused = source.incoming(judged)
        try:
            appended = _append(batch, refused, sender)
        except Refused as error:
            _leave_out(error, source, judged)
            continue
        except WrongAboutChains:
            judged.looks_up_meters = True
            _keep_to_own_names(judged)
            continue
        except IntegrityError:
            if not _names_were_taken(judged):
                raise
            judged.looks_up_meters = True
            _keep_to_own_names(judged)
            continue
        return IntakeResult(appended, _sorted(judged)[:MAX_PROBLEMS], len(judged.problems))
    raise BatchRefused([_of_batch("event.conflict", "other batches keep taking the same names; send it again")])


@unit_of_work()
def _append(batch: IncomingBatch, refused: Mapping[int, str], sender: ApiKey) -> Appended:
    locks.hold_api_key(sender)
    return append_batch(batch, refused=refused)


def _leave_out(error: Refused, source: _SignedBatch | _VouchedBatch, judged: _Judged) -> None:
    """Turn refusals of the ledger into problems of their events. Raises BatchRefused where the whole batch is meant."""
    if any(problem.index is None for problem in error.problems):
        raise BatchRefused([_of_batch(error.code, error.detail)]) from error
    by_place = source.by_place(judged)
    for problem in error.problems:
        if problem.index in by_place:
            judged.refuse(by_place[problem.index], problem.pointer, problem.code, problem.detail)
    judged.candidates = [event for event in judged.candidates if event.index not in judged.problems]


def _names_were_taken(judged: _Judged) -> bool:
    """Whether another batch took a name that this one gives or is about, while this one was being recorded."""
    named = {alias for event in judged.candidates for _, alias in _joined(event)}
    named.update(event.chain for event in judged.candidates)
    return Identifier.objects.filter(alias__in=named, single_valued=True).exists()


def _replay(received: batches.ReceivedBatch, first_line: int | None) -> IntakeResult:
    """The batch is on record: answer as then. Its signatures were verified before it was recorded."""
    count = received.payload["count"]
    batch = IncomingBatch(
        batch_id=received.batch_id,
        payload_sha256=received.payload_sha256,
        envelope=received.envelope,
        author=received.author,
        issuer=received.payload["issuer"],
        signers=tuple(keyid for keyid, _ in received.signatures),
        event_hashes=(b"",) * count,
        events=(),
    )
    appended = append_batch(batch, refused=dict.fromkeys(range(count), ""))
    problems = [
        LineProblem(_line(index, first_line), index, None, code, "refused when the batch was first sent")
        for index, code in appended.refused
    ]
    return IntakeResult(appended, problems[:MAX_PROBLEMS], len(problems))


def _unsigned_lines(data: bytes) -> list[bytes] | None:
    """The lines of `data` if the first one is an event and not an envelope."""
    lines = data.removesuffix(b"\n").split(b"\n")
    try:
        value, _ = read_event_line(lines[0])
    except ProofError:
        return None
    return lines if "type" in value and "subject" in value else None


def _line(index: int, first_line: int | None) -> int | None:
    return None if first_line is None else index + first_line


def _sorted(judged: _Judged) -> list[LineProblem]:
    return [judged.problems[index] for index in sorted(judged.problems)]


def _of_batch(code: str, detail: str) -> LineProblem:
    return LineProblem(None, None, None, code, detail)


def _status(codes: set[str]) -> int:
    for group, status in ((_FORBIDDEN, 403), (_CONFLICTS, 409), (_TOO_LARGE, 413)):
        if codes <= group:
            return status
    return 400 if all(code.startswith("json.") for code in codes) else 422
