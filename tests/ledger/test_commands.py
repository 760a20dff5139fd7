"""`manage.py ledger` and `manage.py fsck`, with all rooms present."""

import io
import shutil
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

pytestmark = [pytest.mark.django_db, pytest.mark.both_engines]


def run(*words: str) -> str:
    """What `manage.py` says."""
    out = io.StringIO()
    call_command(*words, stdout=out, stderr=out)
    return out.getvalue()


def test_commands(db: None) -> None:
    assert "is created" in run("ledger", "init")
    assert "already" in run("ledger", "init")
    assert "3 entries integrated" in run("ledger", "integrate")
    assert "over 3 entries" in run("ledger", "publish")
    assert "Nothing new" in run("ledger", "publish", "--rebuild")
    assert "belong together" in run("ledger", "status")
    assert "All guards are up" in run("ledger", "guards")
    assert "goes on from" in run("ledger", "accept-clock")
    assert "Sound up to size 3" in run("fsck")
    assert '"sound": true' in run("fsck", "--json")


def test_commands_say_what_is_wrong(log: Path) -> None:
    run("ledger", "publish")
    shutil.rmtree(settings.METERPROOF["SIGNER_DIR"])
    with pytest.raises(CommandError, match="does not remember"):
        run("ledger", "status")
    with pytest.raises(SystemExit) as end:
        run("fsck")
    assert end.value.code == 1


def test_the_log_as_a_whole(db: None, tmp_path: Path) -> None:
    """Keys are named and changed, the log is written out; what cannot be done is said in a sentence."""
    run("ledger", "init")
    assert "waits for its place" in run("log", "keys")
    with pytest.raises(CommandError, match="Nothing is published yet"):
        run("log", "export", str(tmp_path / "export"))
    with pytest.raises(CommandError, match="No rotation was begun"):
        run("log", "rotate-key", "--finish")
    assert "beside" in run("log", "rotate-key")
    assert len(run("log", "keys").splitlines()) == 3
    with pytest.raises(CommandError, match="no time like"):
        run("log", "rotate-key", "--finish", "--effective-at", "yesterday")
    told = run("log", "rotate-key", "--finish", "--reason", "compromised", "--effective-at", "2026-01-01T00:00:00Z")
    assert "signs alone" in told
    with pytest.raises(CommandError, match="Only the log key"):
        run("log", "rotate-key", "platform", "--token", "pkcs11:token=a;object=b")
    told = run("log", "export", str(tmp_path / "export"))
    assert "5 entries in 3 batches, 3 receipts, 2 checkpoints" in told
    assert "private keys" in told
    with pytest.raises(CommandError, match=r"import\.not_empty at ledger_log_state"):
        run("log", "import", str(tmp_path / "export"))
