"""Files and folders that are either wholly there or not there, also after a power cut.

A file is written beside its place, synchronised, renamed, and then its folder is synchronised: until that a rename may
be forgotten. What fails on the way leaves what was there before and no draft. A draft's name begins with a dot; one
that a killed process left is nobody's content.
"""

import os
import secrets
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

WRITTEN: Final = "written"
SYNCED: Final = "synced"
RENAMED: Final = "renamed"
_BYTES: Final[int] = getattr(os, "O_BINARY", 0)  # Windows would end lines its own way


def _go_on(_step: str) -> None:
    """Nobody looks at the steps."""


def replace(path: Path, data: bytes, *, mode: int = 0o644, reach: Callable[[str], None] = _go_on) -> None:
    """Make `data` the content of `path`, whatever it was before. The folder is made if it is not there.

    `mode` is that of the new file, less the umask. `reach` is told each step, for tests that break off there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    place(path, data, mode=mode, reach=reach)
    sync_folder(path.parent)


def place(path: Path, data: bytes, *, mode: int = 0o644, reach: Callable[[str], None] = _go_on) -> None:
    """As `replace`, in a folder that is there and is not synchronised, so that many files cost one `sync_folder`."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        _write(draft, data, mode, reach)
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    reach(RENAMED)


def create(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Write `path`, which must not be there: FileExistsError. What fails takes its beginning away again."""
    try:
        _write(path, data, mode, _go_on)
        sync_folder(path.parent)
    except FileExistsError:
        raise
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def create_folder(path: Path, files: Mapping[str, bytes], *, mode: int = 0o755) -> bool:
    """Make the folder `path` with `files`, all of them or nothing; False if there is a folder of that name already.

    Its parent must be there. Of two that make the same at once, one is kept whole.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        draft.mkdir(mode=mode)
        for name, data in files.items():
            _write(draft / name, data, 0o644, _go_on)
        sync_folder(draft)
        try:
            draft.rename(path)
        except OSError:
            if not path.is_dir():
                raise
            shutil.rmtree(draft)
            return False
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    sync_folder(path.parent)
    return True


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable. Windows does that by itself, and opens no folder."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write(path: Path, data: bytes, mode: int, reach: Callable[[str], None]) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BYTES, mode)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        reach(WRITTEN)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    reach(SYNCED)
