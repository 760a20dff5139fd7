"""Step 6 of a verification: the chain of each subject, from seq 0, hash by hash, in the order of log and batch.

Chains that are not shown from the beginning (single entries in a bundle) are checked where two neighbours are shown.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from compliance.proof.errors import ProofError
from compliance.proof.event import KEY_REVOKED
from compliance.proof.facts import Fact, Leaf
from compliance.proof.subject import parse as parse_subject

CREATED: Final = "log.created"


def group_chains(leaves: Iterable[Leaf]) -> dict[str, list[Leaf]]:
    """The leaves of each subject in log order."""
    chains: dict[str, list[Leaf]] = defaultdict(list)
    for leaf in sorted(leaves, key=lambda leaf: leaf.leaf):
        chains[leaf.subject].append(leaf)
    return dict(chains)


def require_first_leaf(leaves: Iterable[Leaf], origin: str) -> None:
    """Raise ProofError `log.first` unless leaf 0 is shown and is `log.created` of the log `origin`."""
    first = next((leaf for leaf in leaves if leaf.leaf == 0), None)
    if not isinstance(first, Fact) or first.type != CREATED or first.data is None or first.seq != 0:
        raise ProofError("log.first", "leaf 0 is not the log's log.created, or is not shown", place="leaf 0")
    if first.data["origin"] != origin:
        raise ProofError("log.first", f"leaf 0 began the log {first.data['origin']}, not {origin}", place="leaf 0")


def check_chains(
    chains: Mapping[str, list[Leaf]], *, is_whole: Callable[[str], bool], note: Callable[[str], None]
) -> None:
    """Raise ProofError `chain.*` or `subject.alias` at the first link of a chain that does not hold."""
    for subject, leaves in chains.items():
        _check_chain(leaves, whole=is_whole(subject), note=note)


def aliases_of(leaves: Iterable[Leaf]) -> set[tuple[str, str]]:
    """(scheme, value) of every identifier that entries of this chain joined."""
    return {pair for leaf in leaves if isinstance(leaf, Fact) for pair in leaf.joined}


def _check_chain(leaves: list[Leaf], *, whole: bool, note: Callable[[str], None]) -> None:
    before: Leaf | None = None
    last_time, closed, some_gone = "", False, False
    joined: set[tuple[str, str]] = set()
    hashes: set[str] = set()
    positions: dict[str, int] = {}
    for leaf in leaves:
        _check_seq(leaf, before, whole=whole)
        if closed:
            raise ProofError("chain.closed", "the chain ended with the key's revocation", place=leaf.place)
        if isinstance(leaf, Fact):
            if before is not None and leaf.seq == before.seq + 1 and leaf.prev != before.hash.hex():
                raise ProofError("chain.prev", f"prev is not the hash of {before.place}", place=leaf.place)
            if leaf.recorded_at < last_time:
                raise ProofError("chain.time", f"recorded at {leaf.recorded_at}, before {last_time}", place=leaf.place)
            if leaf.index <= positions.get(leaf.batch, -1):
                raise ProofError("chain.batch_order", "stands after a later event of its batch", place=leaf.place)
            complete = whole and not some_gone
            if leaf.corrects is not None and leaf.corrects not in hashes and complete:
                raise ProofError("chain.corrects", "corrects no earlier entry of the chain", place=leaf.place)
            _check_name(leaf, joined, complete=complete, note=note)
            last_time, closed = leaf.recorded_at, leaf.type == KEY_REVOKED
            positions[leaf.batch] = leaf.index
            joined.update(leaf.joined)
        else:
            some_gone = True
        hashes.add(leaf.hash.hex())
        before = leaf


def _check_seq(leaf: Leaf, before: Leaf | None, *, whole: bool) -> None:
    expected = 0 if before is None else before.seq + 1
    if leaf.seq < expected:
        raise ProofError("chain.order", f"seq {leaf.seq} after {expected - 1}", place=leaf.place)
    if leaf.seq > expected and whole:
        raise ProofError("chain.gap", f"seq {expected} is missing", place=leaf.place)


def _check_name(leaf: Fact, joined: set[tuple[str, str]], *, complete: bool, note: Callable[[str], None]) -> None:
    if leaf.named == leaf.subject:
        return
    named, own = parse_subject(leaf.named), parse_subject(leaf.subject)
    if named.kind == own.kind and (named.scheme, named.value) in joined:
        return
    if complete or named.kind != own.kind:
        raise ProofError("subject.alias", f"named as {leaf.named}, which no earlier entry joined", place=leaf.place)
    note(f"{leaf.place}: the event names {leaf.named}; the entry that joined it is not shown")
