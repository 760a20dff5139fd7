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
