"""Sending a scenario: evidence first, then the batches, wave by wave, each signed by those whose desk it is."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from datetime import UTC, datetime, time
from threading import Lock
from typing import Any

from compliance.client import Outcome
from compliance.demo.customers import Customer
from compliance.demo.papers import Paper
from compliance.demo.statements import Lane, PlannedBatch, Statement, Wave
from compliance.proof import batch

Advance = Callable[[int], None]


@dataclass(slots=True)
class Sent:
    """What was sent and answered so far. `entries` leads from event id to the hash of its entry."""

    outcomes: list[tuple[Customer, Outcome]] = field(default_factory=list)
    entries: dict[str, str] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    @property
    def recorded(self) -> int:
        """Events that became entries."""
        return sum(outcome.recorded for _, outcome in self.outcomes)

    @property
    def duplicates(self) -> int:
        """Events that an earlier run had sent."""
        return sum(outcome.duplicates for _, outcome in self.outcomes)

    def remember(self, customer: Customer) -> None:
        """Know what an earlier run was answered: its events will now be duplicates."""
        for kept in customer.session.receipts:
            for entry in kept.read().payload["entries"]:
                self.entries[entry["event_id"]] = entry["hash"]

    def take(self, customer: Customer, outcome: Outcome) -> None:
        """Note an answer."""
        with self._lock:
            self.outcomes.append((customer, outcome))
            for entry in outcome.receipt.payload["entries"]:
                self.entries[entry["event_id"]] = entry["hash"]


def send_waves(
    waves: Sequence[Wave], customers: Mapping[str, Customer], *, executor: Executor, advance: Advance
) -> Sent:
    """Send all of a wave before any of the next; within a wave, queues at the same time."""
    sent = Sent()
    for customer in customers.values():
        sent.remember(customer)

    def send_lane(lane: Lane) -> None:
        for planned in lane:
            customer = customers[planned.desk.organisation]
            sent.take(customer, customer.session.send_batch(sign(planned, customers, sent).ndjson))
            advance(len(planned.statements))

    for wave in waves:
        list(executor.map(send_lane, wave))
    return sent


def sign(planned: PlannedBatch, customers: Mapping[str, Customer], sent: Sent) -> batch.SignedBatch:
    """The batch, signed by everyone whose desk it is; a second organisation's key is its own, held by itself."""
    customer = customers[planned.desk.organisation]
    keys = [customers[name.split("/")[0]].keys[name].key for name in planned.desk.signers]
    return batch.build(
        events=[_event(statement, sent) for statement in planned.statements],
        log=customer.session.origin,
        issuer=planned.desk.organisation,
        source=planned.desk.source,
        sequence=customer.session.home.next_sequence(planned.desk.queue),
        created=datetime.now(UTC),
        keys=keys,
    )


def _event(statement: Statement, sent: Sent) -> dict[str, Any]:
    event: dict[str, Any] = statement.event()
    if statement.corrects is not None:
        event["corrects"] = event["data"]["corrects"] = sent.entries[statement.corrects.id]
    return event


def hand_in(
    papers: Sequence[Paper], customers: Mapping[str, Customer], *, executor: Executor, advance: Advance
) -> dict[str, Paper]:
    """Upload every file. Returns them by evidence id."""

    def one(paper: Paper) -> tuple[str, Paper]:
        taken = customers[paper.organisation].session.submit_evidence(
            paper.content,
            name=paper.name,
            media_type=paper.media_type,
            title=paper.title,
            kind=paper.kind,
            covers_from=datetime.combine(paper.covers_from, time.min, UTC),
            covers_to=datetime.combine(paper.covers_until, time.max, UTC),
            produced_at=paper.produced_at,
            links=paper.links,
        )
        advance(1)
        return taken["id"], paper

    return dict(executor.map(one, papers))
