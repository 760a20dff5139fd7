"""The folder where a sender keeps what must outlive one command: keys, pinned trust, work in progress, receipts.

HOME/
  keys/NAME/key.pem, key.json, registration.ndjson
  trust/ORIGIN/log.vkey, policy, trust.json      pinned at first use, unless --trust names a folder
  submissions/SHA256/plan.json, 0001.ndjson ...  signed batches of one file, kept until the receipts are in
  receipts/BATCH.json                            what the platform promised, for ever
  sequences.json                                 last running number of each source
"""

import hashlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compliance.proof import durable_files

try:
    import fcntl
except ImportError:  # Windows: two commands at once on one folder are the user's to avoid there
    fcntl = None  # type: ignore[assignment]

DEFAULT_HOME = Path("~/.meterproof")


@dataclass(frozen=True, slots=True)
class Home:
    """The sender's folder. Made at the first write, with access for its owner alone."""

    path: Path

    @classmethod
    def at(cls, path: str | Path | None = None) -> "Home":
        """The folder `path`, else METERPROOF_HOME, else `~/.meterproof`."""
        chosen = path or os.environ.get("METERPROOF_HOME") or DEFAULT_HOME
        return cls(Path(chosen).expanduser().resolve())

    @property
    def keys(self) -> Path:
        """Where `keygen` writes, one folder a key."""
        return self.path / "keys"

    @property
    def receipts(self) -> Path:
        """One file a receipt, named by batch id."""
        return self.path / "receipts"

    def trust(self, origin: str) -> Path:
        """The folder with the pins of the log called `origin`."""
        return self.path / "trust" / re.sub(r"[^A-Za-z0-9.-]+", "_", origin)

    def submission(self, content: bytes, purpose: str) -> Path:
        """The folder of the work on a file with this `content`, sent for this `purpose` (server, keys, mode)."""
        digest = hashlib.sha256(content + b"\0" + purpose.encode()).hexdigest()
        return self.path / "submissions" / digest

    def folder(self, path: Path) -> Path:
        """Make `path`, and everything above it up to the home, for the owner alone."""
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path

    def next_sequence(self, source: str) -> int:
        """Take the next running number of `source`. A number taken and never sent shows as a gap, which is meant."""
        with self._locked("sequences.lock"):
            path = self.path / "sequences.json"
            numbers: dict[str, int] = read_json(path) if path.exists() else {}
            number = numbers.get(source, -1) + 1
            numbers[source] = number
            write_json(path, numbers)
        return number

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        self.folder(self.path)
        with (self.path / name).open("a") as lock:
            if fcntl is not None:
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def read_json(path: Path) -> Any:
    """The JSON value in `path`, written by `write_json`."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_json(path: Path, value: object) -> None:
    """Write `value` so that a crash leaves either the old file or the new one."""
    write_bytes(path, json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False).encode() + b"\n")


def write_bytes(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Write `content` to a file beside `path`, sync it, then put it in the place of `path`."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    durable_files.replace(path, content, mode=mode)
