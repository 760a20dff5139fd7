"""One trial: something is done to the ledger, fsck is asked, and it is taken back."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from django.db import connection, transaction

from compliance.ledger import fsck, tiles
from compliance.ledger.fsck import Problem
from compliance.ledger.models import Entry, LeafRange
from compliance.proof import merkle, note
from compliance.proof.checkpoint import Checkpoint

ROWS_AND_CHAINS: Final = "rows, chains"
COLUMNS: Final = "columns"
TREE: Final = "tiles, root"
SIGNED: Final = "signer"
KEPT: Final = "kept checkpoint"
MECHANISMS: Final = (ROWS_AND_CHAINS, COLUMNS, TREE, SIGNED, KEPT)

_OF_CODE: Final = {
    "entry.hash": ROWS_AND_CHAINS,
    "entry.form": ROWS_AND_CHAINS,
    "entry.missing": ROWS_AND_CHAINS,
    "batch.path": ROWS_AND_CHAINS,
    "batch.root": ROWS_AND_CHAINS,
    "batch.id": ROWS_AND_CHAINS,
    "chain": ROWS_AND_CHAINS,
    "head": ROWS_AND_CHAINS,
    "tile": TREE,
    "entries": TREE,
    "batch.file.missing": TREE,
    "batch.file.wrong": TREE,
    "file": TREE,
    "leaf_range": TREE,
    "log_state": TREE,
    "checkpoint": SIGNED,
    "note": SIGNED,
    "time_token": SIGNED,
    "signer": SIGNED,
}


@dataclass(frozen=True, slots=True)
class Trial:
    """`do` is one thing a thief does. fsck must say one of `names`; with `found` False nothing inside can tell. With
    `everywhere` the other rooms are asked too. Files that it changes are in `touches`."""

    kind: str
    target: str
    what: str
    do: Callable[[], object]
    names: tuple[str, ...]
    touches: tuple[Path, ...] = ()
    found: bool = True
    everywhere: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a trial."""

    trial: Trial
    problems: Sequence[Problem]
    mechanisms: frozenset[str]

    @property
    def named(self) -> bool:
        """Whether a problem says where."""
        places = " ".join(f"{problem.place} {problem.detail}" for problem in self.problems)
        return any(name in places for name in self.trial.names)

    @property
    def as_promised(self) -> bool:
        """Found with its place if it can be found, and nothing said if it cannot."""
        return bool(self.problems) and self.named if self.trial.found else not self.problems


class RefusedByDatabase(Exception):
    """A unique index or a constraint did not let the trial happen."""


def problems(*, everywhere: bool = False) -> list[Problem]:
    """What fsck finds in the ledger, besides the guards that the drill takes down."""
    result = fsck.run(comparisons=None if everywhere else ())
    return [problem for problem in result.problems if problem.code != "guard.missing"]


def run(trial: Trial, kept: str | None = None) -> Outcome:
    """Do it, ask, take it back. `kept` is a checkpoint that somebody outside kept from before."""
    with undone(*trial.touches):
        trial.do()
        found = problems(everywhere=trial.everywhere)
        mechanisms = {mechanism_of(problem.code) for problem in found}
        if kept is not None and not follows_from(kept):
            mechanisms.add(KEPT)
    return Outcome(trial, found, frozenset(mechanisms))


@contextmanager
def undone(*touched: Path) -> Iterator[None]:
    """Take back what happens inside: rows by a savepoint, the files `touched` by writing them again."""
    before = {path: path.read_bytes() if path.exists() else None for path in touched}
    with transaction.atomic():
        point = transaction.savepoint()
        try:
            yield
        finally:
            transaction.savepoint_rollback(point)
            for path, data in before.items():
                if data is None:
                    path.unlink(missing_ok=True)
                else:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(data)


def mechanism_of(code: str) -> str:
    """Which mechanism speaks by this code: the longest beginning that is known, else columns against bytes."""
    return _OF_CODE.get(code) or _OF_CODE.get(code.partition(".")[0]) or COLUMNS


def follows_from(kept: str) -> bool:
    """Whether the log of today continues the checkpoint `kept`: what anybody can ask who has the entries."""
    checkpoint = Checkpoint.from_text(note.split(kept)[0])
    leaves: list[bytes] = []
    for batch in LeafRange.objects.order_by("first_index").values_list("batch", flat=True):
        bodies = Entry.objects.filter(batch=batch).order_by("index").values_list("body", flat=True)
        leaves += [merkle.leaf_hash(bytes(body)) for body in bodies]
    return len(leaves) >= checkpoint.size and merkle.root(leaves[: checkpoint.size]) == checkpoint.root


def shown_checkpoint() -> str | None:
    """The checkpoint that is published, as somebody outside would keep it."""
    return tiles.read_checkpoint()


def take_down_guards() -> None:
    """What a database administrator can do: drop every trigger that keeps rows from being changed."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT tgname, tgrelid::regclass FROM pg_trigger WHERE NOT tgisinternal AND tgparentid = 0")
            statements = [f'DROP TRIGGER "{name}" ON {table}' for name, table in cursor.fetchall()]
        else:
            cursor.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")
            statements = [f'DROP TRIGGER "{name}"' for (name,) in cursor.fetchall()]
        for statement in statements:
            cursor.execute(statement)
