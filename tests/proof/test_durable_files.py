"""Whole or not there: whichever call fails, the old file or the new one stands, and no draft."""

import os
import stat
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from compliance.proof import durable_files
from tests.faults.counting import Countdown
from tests.faults.files import files_fail

FILES = {"a": b"first", "b": b""}


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below `folder`."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


WRITES: dict[str, tuple[Callable[[Path], object], dict[str, bytes], dict[str, bytes]]] = {
    "replace": (lambda to: durable_files.replace(to / "x", b"new"), {"x": b"old"}, {"x": b"new"}),
    "create": (lambda to: durable_files.create(to / "x", b"new"), {}, {"x": b"new"}),
    "create folder": (
        lambda to: durable_files.create_folder(to / "x", FILES),
        {},
        {f"x/{name}": data for name, data in FILES.items()},
    ),
}


@pytest.mark.parametrize("name", WRITES)
def test_whatever_call_fails_it_is_whole_or_as_before(name: str, tmp_path: Path) -> None:
    write, before, after = WRITES[name]
    for number in count(1):
        folder = tmp_path / f"{number}"
        folder.mkdir()
        for path, data in before.items():
            (folder / path).write_bytes(data)
        countdown = Countdown(number)
        with files_fail(countdown, folder):
            try:
                write(folder)
            except OSError:
                assert countdown.failed
        assert tree(folder) in (before, after)
        if not countdown.failed:
            break
        if tree(folder) == before:
            write(folder)
        assert tree(folder) == after
    assert number > 4


def test_everything_is_synchronised_before_its_name_and_the_name_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    fsync, rename = os.fsync, os.replace

    def synced(descriptor: int) -> None:
        done.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def renamed(*names: Path) -> None:
        done.append("name")
        rename(*names)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", renamed)
    monkeypatch.setattr(os, "rename", renamed)
    durable_files.replace(tmp_path / "x", b"1")
    durable_files.create(tmp_path / "y", b"1")
    durable_files.create_folder(tmp_path / "z", FILES)
    assert done == ["file", "name", "folder", "file", "folder", "file", "file", "folder", "name", "folder"]


def test_modes_and_what_is_there_already(tmp_path: Path) -> None:
    durable_files.replace(tmp_path / "deep" / "secret", b"1", mode=0o600)
    durable_files.replace(tmp_path / "open", b"1")
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) & 0o077 for name in ("deep/secret", "open")] == [0, 0o044]
    with pytest.raises(FileExistsError):
        durable_files.create(tmp_path / "open", b"2")
    assert (tmp_path / "open").read_bytes() == b"1"
    assert durable_files.create_folder(tmp_path / "case", FILES, mode=0o700)
    assert not durable_files.create_folder(tmp_path / "case", {"a": b"another"})
    assert tree(tmp_path / "case") == FILES
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
