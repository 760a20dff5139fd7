"""The chains a scenario leads to, folded by the product's own life-cycle engine without a server."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from compliance.custody import lifecycle, profiles, vocabulary
from compliance.custody.lifecycle import Fact, Folded, Signer
from compliance.demo.people import KEYS, ORGANISATIONS
from compliance.demo.statements import PlannedBatch, Statement, plan

ROLES = {organisation.id: frozenset(organisation.roles) for organisation in ORGANISATIONS}
SIGNERS = {
    name: Signer(key.organisation, key.holder.id if key.holder.kind == "person" else None) for name, key in KEYS.items()
}


def batches(statements: Iterable[Statement]) -> Iterator[PlannedBatch]:
    """All batches in an order in which they may be sent."""
    for wave in plan(statements):
        for lane in wave:
            yield from lane


def chains(statements: Iterable[Statement]) -> Mapping[str, list[tuple[Statement, Fact]]]:
    """Every meter's chain: its own events, and after each batch those that reach it by a link."""
    found: dict[str, list[tuple[Statement, Fact]]] = defaultdict(list)
    for batch in batches(statements):
        for statement in batch.statements:
            if statement.subject.startswith("meter:"):
                found[statement.subject].append((statement, fact(statement)))
        for statement in batch.statements:
            for member in statement.members:
                found[member].append((statement, fact(statement)))
    return found


def fact(statement: Statement) -> Fact:
    """What the fold sees of `statement`."""
    return Fact(
        type=statement.type,
        author=statement.desk.organisation,
        data=statement.data,
        hash=statement.stand_in,
        signers=tuple(SIGNERS[name] for name in statement.desk.signers),
        roles=ROLES[statement.desk.organisation],
        corrects=statement.corrects.stand_in if statement.corrects else None,
    )


def fold(chain: Iterable[tuple[Statement, Fact]]) -> Folded:
    """The state after `chain` and what was wrong on the way."""
    facts = [one for _, one in chain]
    return lifecycle.fold(facts, words=vocabulary.load(), profiles=profiles.active())
