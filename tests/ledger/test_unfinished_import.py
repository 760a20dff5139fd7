"""F1: an import that is killed. What it wrote is known again, and taken away before the next one begins."""

from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.db import connection, connections

from compliance.jobs import failpoints
from compliance.ledger import export, fsck, importing, setup, startup, tasks, tiles, unfinished_import
from compliance.ledger.errors import StateRefused
from compliance.ledger.importing import ImportRefused
from compliance.ledger.models import LogState
from tests.ledger.processes import KILLED, Child
from tests.ledger.test_export import assembled, emptied, tree
from tests.ledger.world import Factory

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_engines]


@pytest.fixture
def exported(transactional_db: None, folders: Path, tmp_path: Path, settings: Any) -> tuple[Path, dict[str, bytes]]:
    """An export, and the files of the log it was made from; the installation is empty again."""
    setup.create_log()
    factory = Factory()
    factory.register()
    factory.send([assembled(factory, number) for number in range(5)])
    tasks.integrate_and_publish()
    folder = tmp_path / "export"
    export.export_log(folder)
    log = tree(settings.METERPROOF["LOG_DIR"])
    where = tmp_path / "mirror"
    where.mkdir()
    with connection.constraint_checks_disabled():
        emptied(settings, where)
    return folder, log


def note() -> Path:
    path: Path = django_settings.METERPROOF["SIGNER_DIR"] / unfinished_import.NOTE
    return path


@pytest.mark.parametrize("point", ["ledger.import.rows", "ledger.import.files", "ledger.import.recorded"])
def test_a_killed_import_can_begin_again(exported: tuple[Path, dict[str, bytes]], point: str) -> None:
    folder, log = exported
    assert Child(importing.import_log, folder, kill_at=point, rooms=True).end() == KILLED
    connections.close_all()
    assert note().exists()
    if point == "ledger.import.recorded":
        startup.verify_state()
        assert not note().exists()
    else:
        assert not LogState.objects.exists()
        with pytest.raises(StateRefused, match="was broken off"):
            startup.verify_state()
        importing.import_log(folder)
    startup.verify_state()
    assert not note().exists()
    assert tree(django_settings.METERPROOF["LOG_DIR"]) == log
    assert fsck.run().problems == []
    with pytest.raises(ImportRefused, match="this installation has a log already"):
        importing.import_log(folder)


def test_an_import_that_is_at_work_is_left_alone(exported: tuple[Path, dict[str, bytes]]) -> None:
    """Its rows are not there yet, as those of a killed one."""
    folder, log = exported
    refusals: list[str] = []

    def another() -> None:
        with pytest.raises(ImportRefused) as refused:
            importing.import_log(folder)
        refusals.append(refused.value.code)

    with failpoints.arm("ledger.import.files", another):
        importing.import_log(folder)
    assert refusals == ["import.busy"]
    assert tree(django_settings.METERPROOF["LOG_DIR"]) == log


def test_files_of_another_log_stay(exported: tuple[Path, dict[str, bytes]]) -> None:
    folder, _ = exported
    assert Child(importing.import_log, folder, kill_at="ledger.import.files", rooms=True).end() == KILLED
    connections.close_all()
    said = note().read_bytes()
    note().write_bytes(said.replace(b'"size":', b'"size":1'))
    before = tree(tiles.folder())
    with pytest.raises(ImportRefused, match="it belongs to a log"):
        importing.import_log(folder)
    assert tree(tiles.folder()) == before
    note().write_bytes(b"{}")
    with pytest.raises(StateRefused, match="cannot be read"):
        importing.import_log(folder)


def test_the_trust_folder_keeps_what_was_there_before(exported: tuple[Path, dict[str, bytes]], settings: Any) -> None:
    folder, _ = exported
    trust: Path = settings.METERPROOF["TRUST_DIR"]
    trust.mkdir(parents=True)
    mine = (folder / export.TRUST / "policy").read_bytes()
    (trust / "policy").write_bytes(mine)
    assert Child(importing.import_log, folder, kill_at="ledger.import.files", rooms=True).end() == KILLED
    connections.close_all()
    assert len(list(trust.iterdir())) > 1
    unfinished_import.remove_files()
    assert [path.name for path in trust.iterdir()] == ["policy"]
    unfinished_import.remove_files()  # a second time there is nothing to do
