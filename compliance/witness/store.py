"""What a witness must never forget: for each log the checkpoint that it cosigned last. One SQLite file.

Every commit is on the disk before it returns. The file is the witness: whoever puts an older one in its place makes a
witness that can be led to cosign a fork. So it is made once, together with the key, and never by a server that misses
it.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

BUSY_SECONDS: Final = 5  # a decision takes milliseconds; a store that is busy for longer is not well

_SCHEMA: Final = """
CREATE TABLE witness (vkey TEXT NOT NULL PRIMARY KEY) STRICT;
CREATE TABLE log (vkey TEXT NOT NULL PRIMARY KEY, origin TEXT NOT NULL) STRICT;
CREATE TABLE cosigned (
    origin TEXT NOT NULL PRIMARY KEY,
    size INTEGER NOT NULL CHECK (size >= 0),
    root BLOB NOT NULL CHECK (length(root) = 32),
    note TEXT NOT NULL,
    time INTEGER NOT NULL
) STRICT;
CREATE TRIGGER cosigned_never_shrinks BEFORE UPDATE ON cosigned
WHEN NEW.size < OLD.size OR NEW.origin <> OLD.origin OR (NEW.size = OLD.size AND NEW.root <> OLD.root)
BEGIN SELECT RAISE(ABORT, 'a witness never goes back'); END;
CREATE TRIGGER cosigned_is_never_forgotten BEFORE DELETE ON cosigned
BEGIN SELECT RAISE(ABORT, 'a witness never forgets'); END;
"""


class StoreError(Exception):
    """The store is missing, of another witness, or unreadable. The text is for the operator."""


@dataclass(frozen=True, slots=True)
class Cosigned:
    """The checkpoint of a log that was cosigned last. `note` carries the log's lines and ours; `time` is posix."""

    origin: str
    size: int
    root: bytes
    note: str
    time: int


def create(path: Path, vkey: str) -> None:
    """Make the store of the witness `vkey`. Raises StoreError if there is a file already."""
    try:
        path.touch(mode=0o600, exist_ok=False)
    except FileExistsError:
        raise StoreError(f"{path} is there already; a witness has one memory.") from None
    with _connection(path) as connection:
        connection.executescript(f"BEGIN;\n{_SCHEMA}\nCOMMIT;")
        connection.execute("INSERT INTO witness VALUES (?)", [vkey])


class WitnessStore:
    """The store of one witness. Each call opens the file by itself, so threads and processes share nothing else."""

    def __init__(self, path: Path, vkey: str) -> None:
        """Raises StoreError unless the file is there and belongs to the witness `vkey`."""
        self._path = path
        if not path.exists():
            raise StoreError(
                f"{path} is missing. Without it this witness has forgotten what it cosigned, and must not go on under "
                "this key: bring the file back from this very machine's disk, or make a new witness with a new key."
            )
        try:
            with _connection(path) as connection:
                owner = connection.execute("SELECT vkey FROM witness").fetchone()
        except sqlite3.DatabaseError as error:
            raise StoreError(f"{path} cannot be read: {error}.") from None
        if owner != (vkey,):
            raise StoreError(f"{path} is the memory of {owner and owner[0]}, not of {vkey}.")

    def add_log(self, vkey: str, origin: str) -> bool:
        """Trust the log key `vkey` for `origin`; False if it was trusted already."""
        with _connection(self._path) as connection:
            return connection.execute("INSERT OR IGNORE INTO log VALUES (?, ?)", [vkey, origin]).rowcount > 0

    def log_keys(self, origin: str) -> list[str]:
        """The vkeys that sign for `origin`; none if the log is not known."""
        with _connection(self._path) as connection:
            rows = connection.execute("SELECT vkey FROM log WHERE origin = ? ORDER BY vkey", [origin])
            return [vkey for (vkey,) in rows]

    def origins(self) -> list[str]:
        """Every log that is known."""
        with _connection(self._path) as connection:
            return [origin for (origin,) in connection.execute("SELECT DISTINCT origin FROM log ORDER BY origin")]

    def cosigned(self, origin: str) -> Cosigned | None:
        """What was cosigned last for `origin`, as committed."""
        with _connection(self._path) as connection:
            return _read(connection, origin)

    def take_time(self, origin: str, now: int) -> int:
        """Let the last cosignature of `origin` be no later than `now`; how many seconds later it was."""
        with self.deciding(origin) as decision:
            last = decision.last
            if last is None or last.time <= now:
                return 0
            decision.keep(replace(last, time=now))
            return last.time - now

    @contextmanager
    def deciding(self, origin: str) -> Iterator["Decision"]:
        """Look and store as one step: nobody else decides, in any thread or process, until the block ends.

        What `Decision.keep` was given is on the disk when the block has ended without an exception.
        """
        with _connection(self._path) as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield Decision(connection, _read(connection, origin))
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")


class Decision:
    """Inside `WitnessStore.deciding`: `last` is what was cosigned last, None for a log that never was."""

    def __init__(self, connection: sqlite3.Connection, last: Cosigned | None) -> None:
        self._connection = connection
        self.last = last

    def keep(self, new: Cosigned) -> None:
        """Make `new` what was cosigned last."""
        self._connection.execute(
            "INSERT INTO cosigned VALUES (?, ?, ?, ?, ?) ON CONFLICT (origin) DO UPDATE SET "
            "size = excluded.size, root = excluded.root, note = excluded.note, time = excluded.time",
            [new.origin, new.size, new.root, new.note, new.time],
        )


def _read(connection: sqlite3.Connection, origin: str) -> Cosigned | None:
    row = connection.execute("SELECT * FROM cosigned WHERE origin = ?", [origin]).fetchone()
    return None if row is None else Cosigned(*row)


@contextmanager
def _connection(path: Path) -> Iterator[sqlite3.Connection]:
    """No log beside the file that could be left behind when it is moved, and no commit that a power cut undoes."""
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=BUSY_SECONDS)
    connection.isolation_level = None
    try:
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("PRAGMA synchronous = EXTRA")
        yield connection
    finally:
        connection.close()
