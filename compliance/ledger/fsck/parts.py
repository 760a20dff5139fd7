"""A log in parts, each a contiguous range of it: what a part is, what comes of reading one, where to cut.

Parts are cut in the same places however many processes read them, and joined in the order of the log: so the problems
and their order are the same. What a part finds depends on the tree before it. A reader of its own takes that from the
rows before the part (`edge_before`); if the part before ended otherwise, the places in the log are damaged, and
whoever joins the parts reads them again one after the other.
"""

import base64
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from compliance.ledger import rows
from compliance.ledger.fsck.event_keys import Total
from compliance.ledger.fsck.problems import FsckResult, Problem
from compliance.ledger.fsck.tree import Edge
from compliance.ledger.models import LeafRange
from compliance.proof.layout import TILE_WIDTH

ENTRIES: Final = 64 * TILE_WIDTH  # of a part, and what its last batch has beyond: a second or so of reading


@dataclass(frozen=True, slots=True)
class Part:
    """The leaf ranges that begin from `first_index` to before `end_index`."""

    first_index: int
    end_index: int


@dataclass(frozen=True, slots=True)
class Reading:
    """What all parts of one fsck share: how many entries are published, and what keys the sums of event keys."""

    published: int
    secret: bytes


@dataclass(frozen=True, slots=True)
class Redacted:
    """An entry without bytes, at this place in the log."""

    subject: bytes
    seq: int
    hash: bytes
    leaf: int
    place: str


@dataclass(frozen=True, slots=True)
class Seen:
    """A checkpoint that the tree passed. `root` is signed and to be compared with the tree whose last subtrees have
    `low_roots`; nothing if there is nothing to compare."""

    size: int
    root: bytes
    low_roots: bytes


@dataclass(slots=True)
class PartResult:
    """What reading a part gave. `begins` and `ends` are digests of the tree's edge before and after it."""

    begins: str
    ends: str = ""
    size: int = 0
    roots: list[bytes] = field(default_factory=list)
    low_roots: bytes = b""
    seen: list[Seen] = field(default_factory=list)
    redacted: list[Redacted] = field(default_factory=list)
    event_keys: Total = field(default_factory=Total)
    batch_files: int = 0
    result: FsckResult = field(default_factory=FsckResult)

    def to_object(self) -> dict[str, Any]:
        """As JSON, for a job's result."""
        return {name: _plain(item) for name, item in asdict(self).items()}

    @classmethod
    def from_object(cls, value: Mapping[str, Any]) -> "PartResult":
        """What `to_object` gave."""
        result = dict(value["result"])
        problems = [Problem(**problem) for problem in result.pop("problems")]
        return cls(
            **{
                **value,
                "roots": [_bytes(root) for root in value["roots"]],
                "low_roots": _bytes(value["low_roots"]),
                "seen": [Seen(item["size"], _bytes(item["root"]), _bytes(item["low_roots"])) for item in value["seen"]],
                "redacted": [
                    Redacted(_bytes(item["subject"]), item["seq"], _bytes(item["hash"]), item["leaf"], item["place"])
                    for item in value["redacted"]
                ],
                "event_keys": Total(value["event_keys"]["count"], _bytes(value["event_keys"]["sum"])),
                "result": FsckResult(problems=problems, **result),
            }
        )


def cut(end: int | None = None) -> Iterator[Part]:
    """The parts of the log as it is now, in order; the last ends before leaf `end`."""
    ranges = LeafRange.objects.order_by("first_index").values_list("first_index", flat=True)
    last = LeafRange.objects.order_by("-first_index").values_list("first_index", flat=True).first()
    if last is None:
        return
    limit = last + 1 if end is None else end
    first = ranges.first()
    while first is not None and first < limit:
        yield Part(first, min(first + ENTRIES, limit))
        first = ranges.filter(first_index__gte=first + ENTRIES).first()


def edge_before(part: Part) -> Edge:
    """Where the tree stands before `part`, if all before it is as it should be."""
    size = part.first_index
    edge = Edge(size)
    for leaf in rows.leaves(size - size % TILE_WIDTH, size) if size else ():
        edge.hashes.append(leaf.hash)
        edge.bodies.append(leaf.body)
    return edge


def _plain(value: Any) -> Any:
    """Bytes as base64, everything else as it is."""
    match value:
        case bytes():
            return base64.b64encode(value).decode()
        case dict():
            return {name: _plain(item) for name, item in value.items()}
        case list():
            return [_plain(item) for item in value]
        case _:
            return value


def _bytes(text: str) -> bytes:
    return base64.b64decode(text)
