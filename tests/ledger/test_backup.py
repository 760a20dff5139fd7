"""Backup and restore, as drills: what comes back is what was there, and no way on gives a second history."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connection

from compliance.jobs import failpoints
from compliance.ledger import backup, fsck, integrate, publish, selectors, setup, signer, startup, tasks
from compliance.ledger.models import Checkpoint, Entry, Receipt
from compliance.proof.verify import verify_file
from tests.conftest import FOLDERS
from tests.custody import world
from tests.faults.sweep import require_chains_and_root
from tests.ledger.processes import Child

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_engines]

KEPT_OUTSIDE = ("SECRETS_DIR", "SIGNER_DIR")  # what an operator keeps apart from the backup


@pytest.fixture
def maker(transactional_db: None, folders: Path) -> world.Party:
    """A manufacturer with 260 meters on a published log: more than one full tile."""
    setup.create_log()
    maker = world.join("elster", "manufacturer")
    maker.send(*(world.born(number) for number in range(260)))
    tasks.integrate_and_publish()
    return maker


def calibrated(*numbers: int) -> list[dict[str, Any]]:
    """One more event for each of these meters."""
    return [world.event("mfg.calibrated", world.title(number)) for number in numbers]


def in_a_process(database: str, work: Callable[..., Any], *arguments: str) -> Any:
    """What `work` returns in a process that has all rooms and works on `database`."""
    return Child(work, *arguments, database=database, rooms=True).answer()


@contextmanager
def empty_database(folder: Path) -> Iterator[str]:
    """A new database on the same engine; its name."""
    if connection.vendor == "sqlite":
        yield str(folder / "new.sqlite3")
        return
    quote, name = connection.ops.quote_name, f"{connection.settings_dict['NAME']}_new"
    with connection._nodb_cursor() as cursor:
        cursor.execute(f"DROP DATABASE IF EXISTS {quote(name)}")
        cursor.execute(f"CREATE DATABASE {quote(name)}")
    try:
        yield name
    finally:
        with connection._nodb_cursor() as cursor:
            cursor.execute(f"DROP DATABASE {quote(name)} WITH (FORCE)")


@contextmanager
def another_machine(folder: Path, *kept: str) -> Iterator[None]:
    """Empty folders, but for copies of those `kept`."""
    here = dict(settings.METERPROOF)
    there = {name: folder / "there" / name.lower() for name in FOLDERS}
    for name in kept:
        shutil.copytree(here[name], there[name], dirs_exist_ok=True)
    settings.METERPROOF = {**here, **there}
    try:
        yield
    finally:
        settings.METERPROOF = here


def restore(*arguments: str) -> str:
    """What the command says, or why it refuses. In a process of its own, which works on an empty database."""
    try:
        call_command("restore", *arguments, verbosity=0)
    except CommandError as refusal:
        return f"refused: {refusal}"
    except SystemExit:
        return "not sound"
    return "restored"


def everything() -> dict[str, Any]:
    """What a stranger could ask of this log, and what fsck says."""
    return {
        "entries": sorted(bytes(body) for body in Entry.objects.values_list("body", flat=True)),
        "receipts": sorted(bytes(envelope) for envelope in Receipt.objects.values_list("envelope", flat=True)),
        "checkpoints": sorted(Checkpoint.objects.values_list("size", "note")),
        "problems": fsck.run().problems,
    }


def look_after(then: str, *arguments: str) -> tuple[str, dict[str, Any], str | None]:
    """Restore, look, go on; what was said, what was there then, and what a stranger finds in the published log."""
    said = restore(*arguments)
    seen = everything()
    startup.verify_state()
    if then == "go on":
        world.join("borough", "utility")
        tasks.integrate_and_publish()
        require_chains_and_root()
        assert fsck.run().problems == []
    return said, seen, verify_file(settings.METERPROOF["LOG_DIR"], settings.METERPROOF["TRUST_DIR"]).error


def test_what_comes_back_is_what_was_there(maker: world.Party, tmp_path: Path) -> None:
    """G18: another machine, an empty database, the backup, the keys, and the signer's memory. Nothing is to replay."""
    published = settings.METERPROOF["LOG_DIR"]
    maker.send(*calibrated(1))  # waits to be integrated
    call_command("backup", str(tmp_path / "backup"), verbosity=0)
    before = everything()
    with another_machine(tmp_path, *KEPT_OUTSIDE), empty_database(tmp_path) as empty:
        said, after, problem = in_a_process(
            empty, look_after, "go on", str(tmp_path / "backup"), "--replay", str(published)
        )
        assert said == "restored"
        assert problem is None
        last = signer.last_signed()
    assert set(before["entries"]) <= set(after["entries"])
    assert set(before["receipts"]) <= set(after["receipts"])
    assert before["checkpoints"] == after["checkpoints"][: len(before["checkpoints"])]
    assert after["problems"] == []
    assert last is not None
    assert last.checkpoint.size > selectors.log_size(), "the log went on there, under the same name"


def test_a_backup_older_than_the_signer_is_refused_and_then_replayed(maker: world.Party, tmp_path: Path) -> None:
    """F17, T12: the entries published since come back byte for byte, under the very checkpoint that was signed."""
    maker.send(*calibrated(1))  # waits when the backup is taken, and is published after it
    call_command("backup", str(tmp_path / "backup"), verbosity=0)
    for _ in range(3):
        maker.send(*calibrated(0, 1))
        tasks.integrate_and_publish()
    before, signed = everything(), signer.last_signed()
    assert signed is not None
    published = tmp_path / "kept"
    shutil.copytree(settings.METERPROOF["LOG_DIR"], published)
    with another_machine(tmp_path, *KEPT_OUTSIDE), empty_database(tmp_path) as empty:
        said = in_a_process(empty, restore, str(tmp_path / "backup"))
        assert "older than the log that was signed" in said
        assert str(signed.checkpoint.size) in said
        assert "--replay" in said
    with another_machine(tmp_path, *KEPT_OUTSIDE), empty_database(tmp_path) as empty:
        arguments = (str(tmp_path / "backup"), "--replay", str(published))
        said, after, problem = in_a_process(empty, look_after, "go on", *arguments)
        assert said == "restored"
        assert problem is None
    assert set(before["entries"]) <= set(after["entries"])
    assert after["problems"] == []
    (entry,) = set(after["entries"]) - set(before["entries"])
    event = json.loads(entry)["event"]
    assert (event["type"], event["data"]["replayed"], event["data"]["signer"]) == ("log.restored", 7, "kept")
    assert signed.note in [note for _, note in after["checkpoints"]]


def test_another_log_cannot_be_replayed(maker: world.Party, tmp_path: Path) -> None:
    """A published entry was changed: its log is not the one that was signed."""
    call_command("backup", str(tmp_path / "backup"), verbosity=0)
    maker.send(*calibrated(1))
    tasks.integrate_and_publish()
    changed = tmp_path / "changed"
    shutil.copytree(settings.METERPROOF["LOG_DIR"], changed)
    for path in (changed / "tile" / "entries").rglob("*.p/*"):
        path.write_bytes(path.read_bytes().replace(b"p-1", b"p-2"))
    before = signer.last_signed()
    with another_machine(tmp_path, *KEPT_OUTSIDE), empty_database(tmp_path) as empty:
        said = in_a_process(empty, restore, str(tmp_path / "backup"), "--replay", str(changed))
        assert "do not give the log" in said
        assert signer.last_signed() == before


def test_a_lost_signer_is_adopted_only_on_request(maker: world.Party, tmp_path: Path) -> None:
    """Nothing is left but the backup and the keys: the operator has to say that nobody holds more."""
    call_command("backup", str(tmp_path / "backup"), "--with-secrets", verbosity=0)
    with another_machine(tmp_path), empty_database(tmp_path) as empty:
        assert "does not remember" in in_a_process(empty, restore, str(tmp_path / "backup"))
        arguments = (str(tmp_path / "backup"), "--adopt-signer")
        said, after, problem = in_a_process(empty, look_after, "go on", *arguments)
        assert (said, problem) == ("restored", None)
        assert json.loads(after["entries"][-1]) is not None
        assert all((path.stat().st_mode & 0o077) == 0 for path in settings.METERPROOF["SECRETS_DIR"].glob("*.pem"))


def test_what_is_not_a_whole_backup_is_refused(maker: world.Party, tmp_path: Path) -> None:
    """Secrets stay out unless asked for; a file that is missing, added or changed is named; nothing is overwritten."""
    call_command("backup", str(tmp_path / "backup"), verbosity=0)
    assert not (tmp_path / "backup" / "secrets").exists()
    with pytest.raises(CommandError, match="there already"):
        call_command("backup", str(tmp_path / "backup"))
    assert "is not empty" in restore(str(tmp_path / "backup"))
    tile = next((tmp_path / "backup" / "log" / "tile").rglob("000"))
    tile.write_bytes(tile.read_bytes()[:-1] + b"?")
    assert f"{tile} is damaged" in restore(str(tmp_path / "backup"))
    tile.unlink()
    assert f"{tile} is missing" in restore(str(tmp_path / "backup"))
    (tmp_path / "backup" / "manifest.json").unlink()
    assert "holds no manifest.json" in restore(str(tmp_path / "backup"))


def test_a_backup_is_of_one_moment_whatever_happens_meanwhile(maker: world.Party, tmp_path: Path) -> None:
    """Between the snapshot and the dump the log goes on; a backup that breaks off leaves nothing."""

    def go_on() -> None:
        maker.send(*calibrated(1))
        integrate.integrate()
        publish.publish()

    def fail() -> None:
        raise OSError("no space left")

    size = selectors.log_size()
    if connection.vendor == "sqlite":  # on PostgreSQL this connection holds the snapshot
        with failpoints.arm("ledger.backup.still", go_on):
            assert backup.make(tmp_path / "backup").signed == size
    with failpoints.arm("ledger.backup.filled", fail), pytest.raises(CommandError, match="no space left"):
        call_command("backup", str(tmp_path / "broken"))
    assert not [path for path in tmp_path.iterdir() if "broken" in path.name]
    if connection.vendor == "sqlite":
        with another_machine(tmp_path, "SECRETS_DIR"), empty_database(tmp_path) as empty:
            arguments = (str(tmp_path / "backup"), "--adopt-signer")
            said, after, _ = in_a_process(empty, look_after, "stop", *arguments)
            assert said == "restored"
            assert after["problems"] == []
            assert len(after["entries"]) == size + 1
