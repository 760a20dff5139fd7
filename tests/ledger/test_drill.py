"""`manage.py tamper-drill`: on a copy, with a table of what caught what; and what only somebody outside can tell."""

import io
from contextlib import suppress
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import transaction

from compliance.ledger import fsck, integrate, publish, signer, startup, tiles
from compliance.ledger.drill import copy, files, histories
from compliance.ledger.drill.trial import KEPT, SIGNED, TREE, follows_from, problems, run, take_down_guards
from compliance.ledger.errors import LedgerError
from compliance.ledger.models import Checkpoint, Entry, Head, LeafRange
from tests.ledger.world import Factory, meter

pytestmark = [pytest.mark.both_engines]


def fill(factory: Factory) -> None:
    """Two checkpoints and a batch that waits."""
    for size in (6, 3):
        factory.send([factory.event(meter(number % 4)) for number in range(size)])
        integrate.integrate()
        publish.publish()
    factory.send([factory.event(meter(1))])


@pytest.mark.django_db(transaction=True)
def test_the_command_drills_on_a_copy_and_leaves_the_original(committed_log: Path) -> None:
    fill(Factory())
    blob = settings.METERPROOF["BLOB_DIR"] / "ab" / "cd" / ("ab" * 32)
    blob.parent.mkdir(parents=True)
    blob.write_bytes(b"evidence")
    before = list(Entry.objects.order_by("pk").values_list()), {p: p.read_bytes() for p in files_of_the_log()}
    said = io.StringIO()
    call_command("tamper-drill", only=["ledger_pending"], stdout=said)
    lines = said.getvalue().splitlines()
    assert "found 4 of 4, the place named each time" in lines
    assert "false alarms 0 in 1 clean runs" in lines
    assert any("kept checkpoint" in line for line in lines)
    assert (list(Entry.objects.order_by("pk").values_list()), {p: p.read_bytes() for p in files_of_the_log()}) == before
    assert fsck.run(comparisons=()).sound
    with pytest.raises(LedgerError, match="only ever run on a copy"):
        copy._on_the_copy([])
    Head.objects.filter(seq=0).update(seq=7)
    with suppress(SystemExit):
        call_command("tamper-drill", stderr=said)
    assert "The ledger is not sound" in said.getvalue()


@pytest.mark.django_db(transaction=True)
def test_a_log_of_which_nothing_is_published_cannot_be_drilled(committed_log: Path) -> None:
    said = io.StringIO()
    with pytest.raises(SystemExit) as ended:
        call_command("tamper-drill", stderr=said)
    assert ended.value.code == 2
    assert "manage.py ledger publish" in said.getvalue()


def files_of_the_log() -> list[Path]:
    """All files that a drill could have touched."""
    folders = [settings.METERPROOF[name] for name in ("LOG_DIR", "SIGNER_DIR", "BLOB_DIR")]
    return sorted(path for folder in folders for path in folder.rglob("*") if path.is_file())


@pytest.mark.django_db
def test_files_and_histories_are_caught_by_what_the_table_says(factory: Factory) -> None:
    fill(factory)
    take_down_guards()
    kept = tiles.read_checkpoint()
    outcomes = {trial.what: run(trial, kept) for trial in (*files.trials(), *histories.trials())}
    assert {what: outcome.problems for what, outcome in outcomes.items() if not outcome.as_promised} == {}
    assert problems() == []
    rewritten = outcomes["a chain rewritten with all its hashes, head and state"].mechanisms
    assert rewritten >= {TREE, SIGNED, KEPT}
    assert outcomes["the end cut off with all that belongs to it"].mechanisms >= {SIGNED, KEPT}
    assert outcomes["rows and checkpoint of yesterday's backup"].mechanisms >= {SIGNED, KEPT}
    assert not outcomes["batches cut out before they were integrated"].mechanisms
    assert len(outcomes) > 30


@pytest.mark.django_db
def test_a_history_rewritten_with_key_and_memory_is_known_outside_alone(factory: Factory) -> None:
    """Everything rebuilt by whoever has database, key and signer's memory: L0 to L2 say nothing, a kept checkpoint
    does. The sentence stands in docs/ledger.md; this keeps it true."""
    factory.send([factory.event(meter(1)), factory.event(meter(2))])
    integrate.integrate()
    publish.publish()
    kept = tiles.read_checkpoint()
    assert kept is not None
    assert follows_from(kept)
    last = LeafRange.objects.order_by("-first_index")[0]
    with transaction.atomic():
        take_down_guards()
        histories.cut([last.batch])
        Checkpoint.objects.all().delete()
        histories.forge_state()
    for path in sorted(settings.METERPROOF["LOG_DIR"].rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    (settings.METERPROOF["SIGNER_DIR"] / signer.MEMORY).unlink()
    factory.send([factory.event(meter(3)), factory.event(meter(4))])
    integrate.integrate()
    publish.publish()
    assert problems() == []
    startup.compare_with_signer()
    assert not follows_from(kept)
