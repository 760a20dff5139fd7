"""Files of the published log and the signer's memory damaged, exchanged, added and set back."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

from django.conf import settings

from compliance.ledger import signer, tiles
from compliance.ledger.drill.trial import Trial
from compliance.ledger.models import Checkpoint


def flip(path: Path) -> None:
    """One bit in the middle."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


HARMS: Final[tuple[tuple[str, Callable[[Path], object]], ...]] = (
    ("flipped", flip),
    ("cut", lambda path: path.write_bytes(path.read_bytes()[:-2])),
    ("longer", lambda path: path.write_bytes(path.read_bytes() + b"x")),
    ("deleted", lambda path: path.unlink()),
    ("emptied", lambda path: path.write_bytes(b"")),
)


def trials() -> Iterator[Trial]:
    """Each kind of damage to the first and last file of each kind, and to what the signer remembers."""
    folder: Path = settings.METERPROOF["LOG_DIR"]
    for path in _sample(folder):
        name = path.relative_to(folder).as_posix()
        for how, harm in HARMS:
            yield Trial("edit", _kind(name), f"{name} {how}", partial(harm, path), (name,), (path,))
    batches = sorted((folder / tiles.BATCHES).iterdir())
    if len(batches) > 1:
        names = tuple(f"{tiles.BATCHES}/{path.name}" for path in (batches[0], batches[-1]))
        yield Trial(
            "swap",
            "batch file",
            " and ".join(names),
            partial(swap, batches[0], batches[-1]),
            names,
            (batches[0], batches[-1]),
        )
    for added in ("tile/0/999", "tile/9/000", "notes.txt", f"{tiles.BATCHES}/00.json"):
        yield Trial(
            "insert", _kind(added), f"{added} added", partial(_add, folder / added), (added,), (folder / added,)
        )
    oldest = Checkpoint.objects.order_by("size").first()
    if oldest is not None and Checkpoint.objects.count() > 1:
        shown = folder / tiles.CHECKPOINT
        replace = partial(shown.write_text, oldest.note)
        yield Trial("swap", "checkpoint", "an older checkpoint published", replace, (tiles.CHECKPOINT,), (shown,))
    memory: Path = settings.METERPROOF["SIGNER_DIR"] / signer.MEMORY
    for how, harm in HARMS if memory.exists() else ():
        yield Trial("edit", "signer", f"the signer's memory {how}", partial(harm, memory), ("signer",), (memory,))


def _sample(folder: Path) -> list[Path]:
    """First and last file of each kind."""
    by_kind: dict[str, list[Path]] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")):
        by_kind.setdefault(_kind(path.relative_to(folder).as_posix()), []).append(path)
    return [path for paths in by_kind.values() for path in dict.fromkeys((paths[0], paths[-1]))]


def _kind(name: str) -> str:
    if name.startswith("tile/entries/"):
        return "entry bundle"
    if name.startswith("tile/"):
        return "tile"
    return "batch file" if name.startswith(f"{tiles.BATCHES}/") else name


def swap(first: Path, second: Path) -> None:
    """Exchange the bytes of two files."""
    mine, theirs = first.read_bytes(), second.read_bytes()
    first.write_bytes(theirs)
    second.write_bytes(mine)


def _add(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
