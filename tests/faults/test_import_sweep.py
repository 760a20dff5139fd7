"""G4: every call of an import fails in turn: the log is there whole and starts, or nothing is and it works again."""

import shutil
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.db import connection

from compliance.ledger import export, fsck, importing, startup, tasks
from compliance.ledger.errors import LedgerError
from compliance.ledger.models import INSERT_ONLY, Anchoring, LogState
from tests.faults import databases
from tests.faults.bench import Bench, every
from tests.faults.counting import Countdown
from tests.faults.sweep import ENDLESS, MAY_BE_SAID, once
from tests.ledger.test_export import emptied, tree

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_engines, pytest.mark.timeout(400)]

EVERY = every(43)  # it reads and writes each file, and fsck each row: hundreds of calls
THE_END = 3  # the last calls, one by one: the commit is among them


def require_nothing() -> None:
    """As before the import: no row of a log, no file but locks and the databases of this test."""
    assert not any(model._default_manager.exists() for model in (*INSERT_ONLY, LogState, Anchoring))
    left = {path for name, path in folders_of_the_log() if path.is_dir() for path in path.rglob("*") if path.is_file()}
    assert {path.name for path in left} <= {"lock", ".lock", "import.lock"}, left


def folders_of_the_log() -> list[tuple[str, Path]]:
    """Log, trust and signer: what an import writes outside the database."""
    return [(name, django_settings.METERPROOF[name]) for name in ("LOG_DIR", "TRUST_DIR", "SIGNER_DIR")]


@pytest.mark.parametrize("kind", sorted(once(Path())))
def test_whatever_call_fails_the_log_is_imported_whole_or_not_at_all(
    kind: str, bench: Bench, folders: Path, tmp_path: Path, settings: Any
) -> None:
    bench.send(bench.sign(*(bench.new_meter() for _ in range(5))))
    tasks.integrate_and_publish()
    exported = tmp_path / "export"
    export.export_log(exported)
    log = tree(settings.METERPROOF["LOG_DIR"])
    mirrors = count(1)

    def attempt(fail_at: int) -> Countdown:
        where = tmp_path / f"mirror-{next(mirrors)}"
        with connection.constraint_checks_disabled():
            emptied(settings, where)
        where.mkdir()
        countdown = Countdown(fail_at)
        try:
            with once(where)[kind](countdown):
                importing.import_log(exported)
        except (*MAY_BE_SAID, LedgerError):
            assert countdown.failed
        finally:
            databases.settle()
        if not LogState.objects.exists():
            assert countdown.failed
            require_nothing()
            importing.import_log(exported)
        startup.verify_state()
        assert tree(settings.METERPROOF["LOG_DIR"]) == log
        assert fsck.run().problems == []
        shutil.rmtree(where)
        return countdown

    calls = attempt(ENDLESS).calls
    for number in sorted({*range(1, calls, EVERY), *range(max(1, calls - THE_END), calls + 1)}):
        try:
            attempt(number)
        except BaseException as error:
            error.add_note(f"{kind}, call {number} of {calls}")
            raise
