"""`manage.py tamper-drill`: on a copy, with a table of what caught what; and what only somebody outside can tell."""

import io
from contextlib import suppress
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import transaction

from compliance.ledger import fsck, integrate, publish, tiles
from compliance.ledger.drill import copy, files, histories, rows, table
from compliance.ledger.drill.forgery import rewrite_with_key
from compliance.ledger.drill.trial import KEPT, SIGNED, TREE, problems, run, take_down_guards
from compliance.ledger.errors import LedgerError
from compliance.ledger.models import Entry, Head
from compliance.proof.subject import key_of
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
    does. It is done to a log of the drill's own: nothing of ours is touched, and our keys sign nothing."""
    fill(factory)
    before = list(Entry.objects.order_by("pk").values_list()), {p: p.read_bytes() for p in files_of_the_log()}
    ours = settings.METERPROOF
    with transaction.atomic():
        take_down_guards()
        forgery = rewrite_with_key()
        transaction.set_rollback(True)
    assert (forgery.inside, forgery.kept_checkpoint, forgery.as_promised) == (False, False, True)
    assert settings.METERPROOF is ours
    assert (list(Entry.objects.order_by("pk").values_list()), {p: p.read_bytes() for p in files_of_the_log()}) == before
    assert problems() == []


@pytest.mark.django_db
def test_a_log_that_was_never_published_is_not_drilled(factory: Factory) -> None:
    factory.send([factory.event(meter(1))])
    with pytest.raises(LedgerError, match="Nothing was published"):
        table.drill()


@pytest.mark.django_db
def test_damaged_bytes_in_the_chain_of_the_log_itself_are_named(factory: Factory) -> None:
    """fsck reads that chain for more than its hashes; it must not fall over what it is asked to find."""
    fill(factory)
    row = Entry.objects.get(subject=key_of(f"log:origin:{settings.METERPROOF['ORIGIN']}"), seq=0)
    with transaction.atomic():
        take_down_guards()
        for body in (row.body[:-1] + bytes([row.body[-1] ^ 1]), b""):
            rows.write(row, "body", body)
            assert any(rows.name_of(row) in problem.place for problem in problems())
        transaction.set_rollback(True)
