"""An import that was killed: the database knows nothing of it, but files lie where it began to write them.

A note is written before the first of them and taken away after the commit. With the note and without the rows, what
lies there is that import's and nobody else's: it is taken away, and the import may begin again.
"""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec
from django.conf import settings

from compliance.ledger import files, mirror, signer, tiles
from compliance.ledger.errors import StateRefused
from compliance.ledger.models import LogState
from compliance.proof import note
from compliance.proof.checkpoint import Checkpoint
from compliance.proof.errors import ProofError

NOTE: Final = "import-unfinished.json"  # in the signer's folder, as the lock
LOCK: Final = "import.lock"


class _Note(msgspec.Struct, frozen=True):
    """Which log is being imported, and the files of the trust folder that were not there before."""

    size: int
    root: str
    trust_files: list[str]


@contextmanager
def alone() -> Iterator[bool]:
    """Let nobody else import here until the block ends; yields False if somebody does: his files are not left over."""
    with files.locked(_path().with_name(LOCK), wait=False) as is_alone:
        yield is_alone


def begin(checkpoint: Checkpoint, trust_files: Sequence[Path]) -> None:
    """Note that files follow: from here on they are this import's."""
    said = _Note(checkpoint.size, checkpoint.root.hex(), [path.name for path in trust_files])
    files.replace(_path(), msgspec.json.encode(said))


def end() -> None:
    """The rows are recorded: what lies there belongs to them."""
    if _path().exists():
        _path().unlink()
        files.sync_folder(_path().parent)


def remove_files() -> None:
    """Take away what an unfinished import wrote, if there is one and its rows are not recorded; the note last.

    Files of another log than the note names stay: nobody knows how they came there.
    """
    said = _read()
    if said is None:
        return
    if LogState.objects.exists():
        end()
    elif _is_of(said):
        for name in said.trust_files:
            (settings.METERPROOF["TRUST_DIR"] / Path(name).name).unlink(missing_ok=True)
        shutil.rmtree(tiles.folder(), ignore_errors=True)
        (settings.METERPROOF["SIGNER_DIR"] / signer.MEMORY).unlink(missing_ok=True)
        mirror.unmark()
        end()


def require_none() -> None:
    """For whoever starts: raise StateRefused while there is one; take away the note of one that was recorded."""
    said = _read()
    if said is None:
        return
    if not LogState.objects.exists():
        raise StateRefused(
            f"The import of a log of {said.size} entries was broken off, and only some of its files are here. Begin "
            "again with: manage.py log import FOLDER"
        )
    end()


def _path() -> Path:
    folder: Path = settings.METERPROOF["SIGNER_DIR"]
    return folder / NOTE


def _read() -> _Note | None:
    try:
        return msgspec.json.decode(_path().read_bytes(), type=_Note)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError:
        raise StateRefused(
            f"{_path()} cannot be read. Empty the folders of this installation and import again."
        ) from None


def _is_of(said: _Note) -> bool:
    text = tiles.read_checkpoint()
    if text is None:
        return True
    try:
        published = Checkpoint.from_text(note.split(text)[0])
    except ProofError:
        return False
    return (published.size, published.root.hex()) == (said.size, said.root)
