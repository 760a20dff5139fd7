"""Step 9 of a verification: `custody.linked` entries and their causes.

An event on a unit, shipment or key bundle reaches its meters through linked entries, one in each meter's chain. Each
must name an entry that is shown, and say its type.
"""

from collections.abc import Callable, Iterable, Mapping

from compliance.proof.chains import aliases_of
from compliance.proof.errors import ProofError
from compliance.proof.facts import LINKED, PACKED, Fact, Gone, Leaf
from compliance.proof.subject import Subject
from compliance.proof.subject import parse as parse_subject


def check_links(
    links: Iterable[Fact], *, chains: Mapping[str, list[Leaf]], note: Callable[[str], None]
) -> tuple[int, set[int]]:
    """Number of links checked, and the leaves of their causes. Raises `link.cause`, `link.effect`, `link.member`."""
    by_hash = {leaf.hash.hex(): leaf for leaves in chains.values() for leaf in leaves}
    count, causes = 0, set()
    for link in links:
        if link.type != LINKED or link.data is None:
            continue
        count += 1
        stated = link.data["cause"]
        cause = by_hash.get(stated["hash"])
        if cause is None:
            raise ProofError(
                "link.cause", f"the cause {stated['subject']} seq {stated['seq']} is not shown", place=link.place
            )
        if (cause.subject, cause.seq) != (stated["subject"], stated["seq"]) or cause.leaf >= link.leaf:
            raise ProofError("link.cause", f"the cause is {cause.place}, not what the link says", place=link.place)
        causes.add(cause.leaf)
        if isinstance(cause, Gone):
            note(f"{link.place}: its cause was redacted, so its effect could not be checked")
            continue
        if link.data["effect"] != cause.type:
            raise ProofError("link.effect", f"says {link.data['effect']}, the cause is {cause.type}", place=link.place)
        if cause.type == PACKED:
            _require_member(link, cause, chains[link.subject])
    return count, causes


def _require_member(link: Fact, cause: Fact, chain: list[Leaf]) -> None:
    children = (cause.data or {}).get("children")
    kind = parse_subject(link.subject).kind
    names = {link.subject} | {Subject(kind, scheme, value).text for scheme, value in aliases_of(chain)}
    if type(children) is not list or not any(type(child) is str and child in names for child in children):
        raise ProofError("link.member", f"{cause.place} does not list this meter", place=link.place)
