"""Recorded evidence can neither change nor vanish: every write route is tried, and what passes all fences is found."""

import pytest
from django.core.checks import run_checks
from django.db import DatabaseError, connection, transaction
from django.db.models import F

from compliance.evidence import actions, guards
from compliance.evidence.consistency import compare
from compliance.evidence.errors import EvidenceIsImmutable
from compliance.evidence.models import MOVES, Evidence, EvidenceFile, EvidenceLink, State
from compliance.ledger import fsck, startup, tasks
from tests.conftest import take_down_guards
from tests.ledger.test_commands import run

pytestmark = [pytest.mark.django_db, pytest.mark.both_engines]


def take_down() -> None:
    """Drop all guards inside the test's transaction; PostgreSQL wants deferred constraints settled before."""
    connection.check_constraints()
    take_down_guards()


@pytest.fixture
def accepted(people, submit):
    return actions.accept_evidence(evidence=submit(b"one", b"two"), reviewer=people.auditor, reason="fine")


def change(row):
    """Give the row another value in memory."""
    row.title = row.name = row.reference = "changed"
    return row


MODELS = (Evidence, EvidenceFile, EvidenceLink)
ORM_ROUTES = {
    "save": lambda row: change(row).save(),
    "save(update_fields)": lambda row: change(row).save(update_fields=["pk"]),
    "delete": lambda row: row.delete(),
    "update": lambda row: type(row).objects.filter(pk=row.pk).update(pk=F("pk")),
    "filter.delete": lambda row: type(row).objects.filter(pk=row.pk).delete(),
    "all.delete": lambda row: type(row).objects.all().delete(),
    "bulk_update": lambda row: type(row).objects.bulk_update([change(row)], ["id"]),
    "update_or_create": lambda row: type(row).objects.update_or_create(pk=row.pk, defaults={}),
    "default manager": lambda row: type(row)._default_manager.filter(pk=row.pk).delete(),
    "base manager": lambda row: type(row)._base_manager.filter(pk=row.pk).delete(),
    "base manager update": lambda row: type(row)._base_manager.filter(pk=row.pk).update(**_some_column(row)),
    "raw delete": lambda row: type(row)._base_manager.filter(pk=row.pk)._raw_delete("default"),
}


def _some_column(row):
    return {{"Evidence": "title", "EvidenceFile": "name", "EvidenceLink": "reference"}[type(row).__name__]: "changed"}


def contents():
    return [list(model._base_manager.order_by("pk").values()) for model in MODELS]


def test_no_orm_route_changes_accepted_evidence(accepted):
    before = contents()
    for model in MODELS:
        row = model.objects.order_by("pk").first()
        for route, write in ORM_ROUTES.items():
            with pytest.raises((EvidenceIsImmutable, DatabaseError)), transaction.atomic():
                write(row)
            assert contents() == before, f"{model.__name__}: {route} changed something"


def _columns(model):
    return [field.column for field in model._meta.concrete_fields]


SQL_ROUTES = [
    *(f"DELETE FROM {model._meta.db_table}" for model in MODELS),  # noqa: S608 (constant names)
    *(
        f"UPDATE {model._meta.db_table} SET {column} = {value}"  # noqa: S608 (constant names)
        for model in MODELS
        for column in _columns(model)
        for value in ("NULL", column)
    ),
    "UPDATE evidence_evidence SET state = 'submitted', decided_at = NULL, decided_by_id = NULL",
    "UPDATE evidence_evidence SET state = 'returned'",
    "UPDATE evidence_evidence SET state = 'superseded', reason = 'other'",
    "UPDATE evidence_evidence SET state = 'superseded', title = 'other'",
]


def test_no_sql_changes_accepted_evidence(accepted):
    before = contents()
    for statement in SQL_ROUTES:
        with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(statement)
        assert contents() == before, statement


@pytest.mark.parametrize("table", ["evidence_evidence", "evidence_evidencefile", "evidence_evidencelink"])
def test_rows_are_not_replaced(accepted, table):
    """REPLACE fires no delete trigger on SQLite; PostgreSQL has TRUNCATE instead."""
    before = contents()
    replace = f"REPLACE INTO {table} SELECT * FROM {table}"  # noqa: S608 (constant names)
    statement = f"TRUNCATE {table} CASCADE" if connection.vendor == "postgresql" else replace
    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)
    assert contents() == before


def test_nothing_is_added_to_recorded_evidence(accepted, submit):
    open_for_review = submit(b"third", title="Third")
    for evidence in (accepted, open_for_review):
        link = EvidenceLink(evidence=evidence, kind="control", reference="C-99")
        file = EvidenceFile(
            evidence=evidence, position=9, sha256="0" * 64, size=1, media_type="text/plain", name="late.txt"
        )
        for row in (link, file):
            with pytest.raises(DatabaseError), transaction.atomic():
                row.save()


def test_evidence_is_not_born_accepted(accepted):
    """A row that pretends to be a decision cannot be inserted."""
    values = Evidence.objects.values().get(pk=accepted.pk) | {"id": None, "public_id": "evd_" + "0" * 32}
    with pytest.raises(DatabaseError), transaction.atomic():
        Evidence(**values).save(force_insert=True)


def test_only_the_moves_there_are(submit):
    """The way through `move` refuses what the table of moves does not hold."""
    evidence = submit()
    for start in State:
        for end in set(State) - MOVES[start]:
            with pytest.raises(EvidenceIsImmutable):
                Evidence.objects.all().move(evidence.pk, start=start, end=end)


def test_missing_guards_are_reported(accepted):
    assert guards.missing() == []
    take_down()
    assert len(guards.missing()) == 5
    found = run_checks(tags=["database"], databases=["default"])
    assert any(message.id == "ledger.E001" and "evidence_guard_move" in message.msg for message in found)
    guards.install()
    assert guards.missing() == []


def test_the_ledger_looks_at_these_guards_too(accepted, caplog):
    """At start, every hour, by `ledger status` and by fsck; `ledger guards` puts them up."""
    connection.check_constraints()
    trigger = " ON evidence_evidence" if connection.vendor == "postgresql" else ""
    with connection.cursor() as cursor:
        cursor.execute(f"DROP TRIGGER evidence_guard_move{trigger}")
    gone = "evidence_evidence: evidence_guard_move"
    for look in (startup.verify_state, tasks.look_at_guards):
        caplog.clear()
        look()
        assert gone in caplog.text
    assert gone in run("ledger", "status")
    assert [(problem.code, problem.place) for problem in fsck.run(comparisons=()).problems] == [("guard.missing", gone)]
    assert f"was missing: {gone}" in run("ledger", "guards")
    assert guards.missing() == []


TAMPERING = {
    "title": ("UPDATE evidence_evidence SET title = 'other'", "evidence.manifest"),
    "period": ("UPDATE evidence_evidence SET covers_to = produced_at, covers_from = produced_at", "evidence.manifest"),
    "manifest": ("UPDATE evidence_evidence SET manifest_sha256 = 'x'", "evidence.manifest"),
    "state": ("UPDATE evidence_evidence SET state = 'returned'", "evidence.state"),
    "reason": ("UPDATE evidence_evidence SET reason = 'other'", "evidence.state"),
    "file name": ("UPDATE evidence_evidencefile SET name = 'other.txt'", "evidence.manifest"),
    "file digest": ("UPDATE evidence_evidencefile SET sha256 = name WHERE position = 0", "evidence.files"),
    "file gone": ("DELETE FROM evidence_evidencefile WHERE position = 1", "evidence.files"),
    "link": ("UPDATE evidence_evidencelink SET reference = 'iso27001-2022:A.5.1'", "evidence.manifest"),
    "link gone": ("DELETE FROM evidence_evidencelink", "evidence.manifest"),
}


@pytest.mark.parametrize("what", TAMPERING)
def test_whoever_takes_down_the_guards_is_found(accepted, what):
    """T12: a changed row no longer fits the manifest in the log, and fsck names it."""
    assert list(compare()) == []
    take_down()
    statement, code = TAMPERING[what]
    with connection.cursor() as cursor:
        cursor.execute(statement)
    problems = list(compare())
    assert code in {problem.code for problem in problems}
    assert any(accepted.public_id in problem.place for problem in problems)


def test_another_reviewer_is_found(accepted, people):
    take_down()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE evidence_evidence SET decided_by_id = %s", [people.second_auditor.pk])
    assert [problem.code for problem in compare()] == ["evidence.state"]


def test_a_row_that_is_gone_is_found(accepted):
    take_down()
    with connection.cursor() as cursor:
        for table in ("evidence_evidencelink", "evidence_evidencefile", "evidence_evidence"):
            cursor.execute(f"DELETE FROM {table}")  # noqa: S608 (constant names)
    assert [(problem.code, problem.place) for problem in compare()] == [("evidence.gone", accepted.subject)]


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        (lambda path: path.unlink(), "evidence.blob_missing"),
        (lambda path: (path.chmod(0o640), path.write_bytes(b"onf")), "evidence.blob_damaged"),
    ],
)
def test_bytes_that_changed_are_found(accepted, settings, damage, code):
    """F13, F14: fsck names the blob and the evidence it belongs to."""
    digest = accepted.files.first().sha256
    damage(settings.METERPROOF["BLOB_DIR"] / digest[:2] / digest[2:4] / digest)
    (problem,) = compare()
    assert problem.code == code
    assert digest in problem.place
    assert accepted.public_id in problem.place


def test_swapped_bytes_are_both_named_by_fsck(accepted, settings):
    """Each file holds what another evidence file promised: both are there, and neither is what its name says."""
    root = settings.METERPROOF["BLOB_DIR"]
    digests = [file.sha256 for file in accepted.files.all()]
    one, two = (root / digest[:2] / digest[2:4] / digest for digest in digests)
    first, second = one.read_bytes(), two.read_bytes()
    for path, content in ((one, second), (two, first)):
        path.chmod(0o640)
        path.write_bytes(content)
    problems = fsck.run().problems
    assert {problem.code for problem in problems} == {"evidence.blob_damaged"}
    for digest in digests:
        assert any(digest in problem.place and accepted.public_id in problem.place for problem in problems)


def test_fsck_is_silent_about_sound_evidence(accepted, submit):
    submit(b"third", title="Third")
    assert fsck.run().problems == []
