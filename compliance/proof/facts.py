"""What the later steps of a verification need to know of each leaf, small enough to keep for every leaf of a log."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from compliance.proof import entry, event, merkle
from compliance.proof.errors import ProofError

PACKED: Final = "delivery.packed"
REDACTED: Final = "entry.redacted"
LINKED: Final = "custody.linked"


@dataclass(frozen=True, slots=True)
class Fact:
    """One leaf whose entry was read. `data` is kept only for the types the verifier reads."""

    leaf: int
    hash: bytes
    subject: str
    seq: int
    prev: str | None
    batch: str
    index: int
    recorded_at: str
    event_hash: bytes
    event_id: str
    type: str
    named: str
    corrects: str | None
    joined: tuple[tuple[str, str], ...]
    signers_rule: str | None
    data: Mapping[str, Any] | None

    @property
    def place(self) -> str:
        """How messages name this leaf."""
        return f"leaf {self.leaf} ({self.subject} seq {self.seq})"


@dataclass(frozen=True, slots=True)
class Gone:
    """One leaf whose bytes were redacted; subject and seq are those its `entry.redacted` states."""

    leaf: int
    hash: bytes
    subject: str
    seq: int

    @property
    def place(self) -> str:
        """How messages name this leaf."""
        return f"leaf {self.leaf} ({self.subject} seq {self.seq}, redacted)"


Leaf = Fact | Gone


def read_fact(leaf: int, data: bytes) -> Fact:
    """The fact of leaf `leaf` with the entry bytes `data`. Raises ProofError, place `leaf N`."""
    value = entry.read(data, place=f"leaf {leaf}")
    stated = value["event"]
    code = stated["type"]
    identifiers = stated["data"].get("identifiers", ())
    return Fact(
        leaf=leaf,
        hash=merkle.leaf_hash(data),
        subject=value["subject"],
        seq=value["seq"],
        prev=value["prev"],
        batch=value["batch"],
        index=value["index"],
        recorded_at=value["recorded_at"],
        event_hash=merkle.leaf_hash(entry.event_bytes(data)),
        event_id=stated["id"],
        type=code,
        named=stated["subject"],
        corrects=stated.get("corrects"),
        joined=tuple((item["scheme"], item["value"]) for item in identifiers),
        signers_rule=event.required_signers(stated),
        data=stated["data"] if code in event.DATA or code == PACKED else None,
    )


def explain_redactions(facts: Iterable[Fact], bare: Mapping[int, bytes]) -> list[Gone]:
    """Step 5: for each bare hash its one `entry.redacted`, which gives subject and seq.

    Raises `redaction.unexplained`, `redaction.mismatch`.
    """
    facts = list(facts)
    statements: dict[int, Fact] = {}
    shown = {fact.leaf: fact for fact in facts}
    for fact in facts:
        if fact.type != REDACTED or fact.data is None:
            continue
        leaf = fact.data["leaf"]
        if leaf in statements or leaf >= fact.leaf:
            raise ProofError("redaction.mismatch", f"leaf {leaf} is named twice or comes later", place=fact.place)
        statements[leaf] = fact
        target = shown.get(leaf)
        if target is not None:
            _require_same(fact, target.hash, (target.subject, target.seq))
    gone: list[Gone] = []
    for leaf, leaf_hash in sorted(bare.items()):
        statement = statements.get(leaf)
        if statement is None or statement.data is None:
            raise ProofError("redaction.unexplained", "the bytes are gone and no entry says why", place=f"leaf {leaf}")
        _require_same(statement, leaf_hash, None)
        gone.append(Gone(leaf, leaf_hash, statement.data["subject"], statement.data["seq"]))
    return gone


def _require_same(statement: Fact, leaf_hash: bytes, named: tuple[str, int] | None) -> None:
    data = statement.data or {}
    if data["hash"] != leaf_hash.hex() or (named is not None and named != (data["subject"], data["seq"])):
        raise ProofError(
            "redaction.mismatch", f"it names another entry than leaf {data['leaf']}", place=statement.place
        )
