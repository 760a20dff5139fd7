"""The file system as something that fails: the calls of the operating system, for the paths below one folder."""

import builtins
import errno
import fcntl
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.faults.counting import Countdown

# F10, F11: full disk. F19: too many open files. F20: fsync failed.
_ERROR_OF = {
    "create": errno.ENOSPC,
    "open": errno.EMFILE,
    "write": errno.ENOSPC,
    "fsync": errno.EIO,
    "rename": errno.EIO,
    "replace": errno.EIO,
    "mkdir": errno.ENOSPC,
    "unlink": errno.EIO,
    "utime": errno.EIO,
    "chmod": errno.EIO,
    "flock": errno.ENOLCK,
}


@contextmanager
def files_fail(countdown: Countdown, folder: Path) -> Iterator[None]:
    """Count every opening, write, fsync, rename, removal below `folder`, and let one fail as a disk does.

    A write that fails has written half of its bytes before.
    """
    system = _FileSystem(countdown, os.fspath(folder))
    with pytest.MonkeyPatch.context() as patch:
        for name in ("rename", "replace", "mkdir", "unlink", "utime", "chmod"):
            patch.setattr(os, name, system.by_path(name, getattr(os, name)))
        patch.setattr(os, "open", system.open(os.open))
        patch.setattr(os, "close", system.close(os.close))
        patch.setattr(os, "write", system.write(os.write))
        patch.setattr(os, "fsync", system.by_descriptor("fsync", os.fsync))
        patch.setattr(os, "fdopen", system.fdopen(os.fdopen))
        patch.setattr(fcntl, "flock", system.by_descriptor("flock", fcntl.flock))
        patch.setattr(io, "open", system.python_open(io.open))
        patch.setattr(builtins, "open", system.python_open(builtins.open))
        yield


class _FileSystem:
    def __init__(self, countdown: Countdown, folder: str) -> None:
        self._countdown = countdown
        self._folder = folder
        self._ours: dict[int, str] = {}

    def _strike(self, call: str, path: str) -> None:
        if self._countdown.strikes(call):
            number = _ERROR_OF[call]
            raise OSError(number, os.strerror(number), path)

    def _is_ours(self, path: object) -> bool:
        return isinstance(path, str | os.PathLike) and os.fspath(path).startswith(self._folder)

    def by_path(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def failing(path: Any, *args: Any, **options: Any) -> Any:
            if self._is_ours(path):
                self._strike(name, os.fspath(path))
            return call(path, *args, **options)

        return failing

    def by_descriptor(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def failing(file: Any, *args: Any) -> Any:
            descriptor = file if isinstance(file, int) else file.fileno()
            if descriptor in self._ours:
                self._strike(name, self._ours[descriptor])
            return call(file, *args)

        return failing

    def open(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def failing(path: Any, flags: int, *args: Any, **options: Any) -> Any:
            if not self._is_ours(path):
                return call(path, flags, *args, **options)
            self._strike("create" if flags & os.O_CREAT else "open", os.fspath(path))
            descriptor = call(path, flags, *args, **options)
            self._ours[descriptor] = os.fspath(path)
            return descriptor

        return failing

    def close(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def forgetting(descriptor: int) -> None:
            self._ours.pop(descriptor, None)
            call(descriptor)

        return forgetting

    def write(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def failing(descriptor: int, data: Any) -> Any:
            if descriptor in self._ours:
                self._strike_writing(call, descriptor, data)
            return call(descriptor, data)

        return failing

    def _strike_writing(self, write: Callable[..., Any], descriptor: int, data: Any) -> None:
        try:
            self._strike("write", self._ours[descriptor])
        except OSError:
            write(descriptor, bytes(data)[: len(data) // 2])
            raise

    def fdopen(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def opening(descriptor: int, *args: Any, **options: Any) -> Any:
            file = call(descriptor, *args, **options)
            return _File(self, file, descriptor) if descriptor in self._ours else file

        return opening

    def python_open(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def failing(file: Any, mode: str = "r", *args: Any, **options: Any) -> Any:
            if self._is_ours(file):
                self._strike("open" if mode.startswith("r") else "create", os.fspath(file))
            return call(file, mode, *args, **options)

        return failing


class _File:
    """A file object whose writes can fail."""

    def __init__(self, system: _FileSystem, file: Any, descriptor: int) -> None:
        self._system, self._file, self._descriptor = system, file, descriptor

    def __enter__(self) -> "_File":
        return self

    def __exit__(self, *_error: object) -> None:
        self._system._ours.pop(self._descriptor, None)
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, data: bytes) -> int:
        self._system._strike("write", self._system._ours[self._descriptor])
        written: int = self._file.write(data)
        return written
