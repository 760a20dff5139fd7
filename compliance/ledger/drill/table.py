"""All trials one after the other, and the table of what caught what."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from django.apps import apps
from django.db import transaction

from compliance.ledger.drill import evidence, files, histories, rows
from compliance.ledger.drill.forgery import rewrite_with_key
from compliance.ledger.drill.trial import (
    MECHANISMS,
    RefusedByDatabase,
    Trial,
    problems,
    run,
    shown_checkpoint,
    take_down_guards,
)
from compliance.ledger.errors import LedgerError

WITH_THE_KEY: Final = (
    "everything rebuilt with database, key and signer's memory (on a log of the drill's own, with a key of its own): "
    "fsck alone says that all is well; a checkpoint that somebody outside kept, or a witness, tells"
)
OUTSIDE_ONLY: Final = (
    "What no check inside can find: a batch cut out before it was integrated. Its sender's receipt tells."
)


@dataclass(slots=True)
class Report:
    """What the drill gave. `rows` are counts by kind and target."""

    tried: Counter[tuple[str, str]] = field(default_factory=Counter)
    as_promised: Counter[tuple[str, str]] = field(default_factory=Counter)
    caught: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    refused: int = 0
    beyond: int = 0
    clean_runs: int = 0
    false_alarms: int = 0
    rewritten_with_key: bool = False
    failures: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether everything that can be found was found with its place, and nothing else."""
        return not self.failures and not self.false_alarms

    def lines(self) -> Iterator[str]:
        """The table."""
        yield f"{'what was done':34}{'tried':>6}{'found':>6}" + "".join(f"{name:>17}" for name in MECHANISMS)
        for kind, target in sorted(self.tried):
            caught = "".join(f"{self.caught[kind, target, name] or '-':>17}" for name in MECHANISMS)
            tried, found = self.tried[kind, target], self.as_promised[kind, target]
            yield f"{f'{kind} {target}':34}{tried:>6}{found:>6}{caught}"
        yield ""
        yield from (f"NOT AS PROMISED: {failure}" for failure in self.failures)
        total, right = self.tried.total(), self.as_promised.total()
        yield f"found {right} of {total}, the place named each time"
        yield f"false alarms {self.false_alarms} in {self.clean_runs} clean runs"
        yield f"{self.refused} more were refused by an index of the database before they could do harm"
        yield f"{self.beyond} that nothing inside can find were tried; nothing inside found them"
        if self.rewritten_with_key:
            yield f"{WITH_THE_KEY}: tried, and so it is"
        yield OUTSIDE_ONLY


def drill(only: Sequence[str] = ()) -> Report:
    """Try everything, or what touches the tables `only`. Raises LedgerError if the ledger is not sound before, or
    nothing of it was published.
    """
    kept = shown_checkpoint()
    if kept is None:
        raise LedgerError(
            "Nothing was published yet, so there is little to damage. Begin with: manage.py ledger publish"
        )
    if found := problems():
        raise LedgerError(
            f"The ledger is not sound, so a drill would say nothing: {found[0]}. Look with: manage.py fsck"
        )
    report = Report()
    with transaction.atomic():
        take_down_guards()
        for trials in _groups(only):
            for trial in trials:
                _try(report, trial, kept)
            report.clean_runs += 1
            report.false_alarms += len(problems())
        if not only:
            _rewrite_with_key(report)
        transaction.set_rollback(True)
    return report


def _rewrite_with_key(report: Report) -> None:
    forgery = rewrite_with_key()
    report.beyond += 1
    report.rewritten_with_key = forgery.as_promised
    if forgery.inside:
        report.failures.append("a history rewritten with key and memory (fsck said something)")
    if forgery.kept_checkpoint:
        report.failures.append("a history rewritten with key and memory (a checkpoint kept from before still fits)")


def _groups(only: Sequence[str]) -> Iterator[Iterable[Trial]]:
    models = [model for model in rows.TABLES if not only or model._meta.db_table in only]
    yield from (rows.trials(model) for model in models)
    if not only:
        yield files.trials()
        yield histories.trials()
        if apps.is_installed("compliance.evidence"):
            yield evidence.trials()


def _try(report: Report, trial: Trial, kept: str | None) -> None:
    try:
        outcome = run(trial, kept)
    except RefusedByDatabase:
        report.refused += 1
        return
    if not outcome.as_promised:
        said = "; ".join(f"{problem.code}: {problem.place}" for problem in outcome.problems[:3]) or "nothing"
        report.failures.append(f"{trial.what} (fsck said: {said})")
    if not trial.found:
        report.beyond += 1
        return
    group = trial.kind, trial.target.partition(".")[0]
    report.tried[group] += 1
    report.as_promised[group] += outcome.as_promised
    for mechanism in outcome.mechanisms:
        report.caught[*group, mechanism] += 1
