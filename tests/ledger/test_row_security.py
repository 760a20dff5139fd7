"""Row-level security: what a query without a filter gets on PostgreSQL, and what tells when the fence is down."""

import io
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from django.apps import apps
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db import ProgrammingError, connection, models, transaction

from compliance.accounts.models import ApiKey, Membership
from compliance.accounts.policy import SYSTEM, row_scope_of
from compliance.api.models import AnsweredRequest
from compliance.checks import fences
from compliance.checks.models import Finding, Suspicion
from compliance.evidence import actions as evidence
from compliance.evidence.intake import IncomingFile
from compliance.evidence.models import Evidence, EvidenceFile, EvidenceLink
from compliance.jobs import clock, row_scope
from compliance.ledger import dumps, fsck, guards, row_security, setup
from compliance.ledger.checks import check_row_security
from compliance.ledger.errors import LedgerError
from compliance.reports.models import Kind, Report
from tests.accounts import world
from tests.services.application_role import connected_as_application
from tests.services.postgresql import programs

pytestmark = pytest.mark.both_engines
OWNED: tuple[type[models.Model], ...] = tuple(apps.get_model(table.label) for table in row_security.owned())
ON_POSTGRESQL = connection.vendor == "postgresql"


def test_every_table_has_an_owner_or_the_reason_why_not() -> None:
    """A new table is decided upon by whoever makes it."""
    undecided = [
        model._meta.label
        for model in apps.get_models(include_auto_created=True)
        if model not in OWNED and not row_security.reason_against(model)
    ]
    assert undecided == []
    assert {Membership, ApiKey, Evidence, EvidenceFile, EvidenceLink, Report, AnsweredRequest, Finding} == set(OWNED)


def test_a_scope_is_made_of_words_that_need_no_quotes() -> None:
    assert row_scope.of(["globex", "acme"], ["report.read"]) == "acme,globex,*report.read"
    assert row_scope.of([]) == row_scope.NOTHING
    for word in ("*", "", "a,b", "a'; --", "Acme"):
        with pytest.raises(ValueError, match="no word of a row scope"):
            row_scope.of([word])


@dataclass(frozen=True, slots=True)
class Houses:
    """Two makers with a row each in every table that organisations own."""

    rows: dict[str, dict[type[models.Model], set[Any]]]
    problems: set[str]

    def of(self, *names: str) -> dict[type[models.Model], set[Any]]:
        return {model: set().union(*(self.rows[name][model] for name in names)) for model in OWNED}


@pytest.fixture
def houses(transactional_db: None, folders: Path) -> Iterator[Houses]:
    """Made as the owner of the tables; then the connection is the application's."""
    setup.create_log()
    rows = {name: {type(row): {row.pk} for row in furnish(name)} for name in ("acme", "globex")}
    assert all(set(made) == set(OWNED) for made in rows.values())
    houses = Houses(rows, {problem.code for problem in fsck.run().problems})
    with connected_as_application():
        yield houses


def furnish(name: str) -> Iterator[models.Model]:
    """A row in each table."""
    organisation = world.join(name, "manufacturer").organisation
    person = world.person(f"person-{name}", organisation, "member")
    yield from person.active_memberships
    key, _ = world.api_key(organisation, "evidence:write")
    yield key
    item = hand_in(key)
    yield item
    yield item.files.get()
    yield item.links.get()
    yield report(name)
    yield AnsweredRequest.objects.create(
        owner=key.pk, key="k", fingerprint=bytes(32), status=201, sealed=b"", created_at=clock.now()
    )
    yield finding(name)


def hand_in(key: ApiKey) -> Evidence:
    now = clock.now()
    return evidence.submit_evidence(
        by=key,
        organisation=key.organisation,
        title="A record",
        kind="record",
        files=[IncomingFile("record.txt", "text/plain", io.BytesIO(b"record"))],
        covers_from=now,
        covers_to=now,
        produced_at=now,
        links=[("control", "A control")],
    )


def report(organisation: str) -> Report:
    made = Report(kind=Kind.METER_CERTIFICATE, organisation_id=organisation, requested_at=clock.now())
    made.save()
    return made


def finding(author: str) -> Finding:
    return Finding.objects.create(
        id=f"fnd_{author}",
        detector="AN-01",
        version=1,
        severity="high",
        subject="meter:factory_serial:M1",
        subject_key=bytes(16),
        seq=0,
        hash=bytes(32),
        event_type="mfg.assembled",
        author=author,
        detail="",
        log_size=1,
        opened_at=clock.now(),
    )


def seen() -> dict[type[models.Model], set[Any]]:
    """All rows that a query without any filter gets."""
    return {model: set(models.QuerySet(model).values_list("pk", flat=True)) for model in OWNED}


def raw(statement: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall()


def count_by_itself(table: str) -> int:
    """In a statement that does not carry its scope: what is left on the connection decides."""
    return len(raw(f"TABLE {table}"))


@pytest.mark.skipif(not ON_POSTGRESQL, reason="SQLite knows no roles")
@pytest.mark.django_db(transaction=True)
class TestAsTheApplication:
    """T19, on the connection that web and workers have."""

    def test_the_scope_is_what_a_query_gets(self, houses: Houses) -> None:
        nobody: dict[type[models.Model], set[Any]] = {model: set() for model in OWNED}
        assert not row_security.is_bypassed()
        assert seen() == nobody
        for names in (("acme",), ("globex",), ("acme", "globex")):
            with row_scope.use(row_scope.of(names)):
                assert seen() == houses.of(*names)
                for model, keys in houses.of(*names).items():
                    assert len(raw(f"SELECT 1 FROM {model._meta.db_table}")) == len(keys)  # noqa: S608
        with row_scope.everything():
            everything = seen()
        assert all(everything[model] >= houses.of("acme", "globex")[model] for model in OWNED)
        with row_scope.use(row_scope.of(["initech"], ["report.read"])):
            assert seen() == {**nobody, Report: everything[Report]}
        assert seen() == nobody

    def test_rows_of_others_are_neither_made_nor_changed_nor_taken(self, houses: Houses) -> None:
        own, other = houses.rows["acme"], houses.rows["globex"]
        refused = pytest.raises(ProgrammingError, match="row-level security policy")
        for scope in (row_scope.NOTHING, row_scope.of(["acme"])):
            with row_scope.use(scope):
                for model in OWNED:
                    last = model._meta.concrete_fields[-1]
                    rows = models.QuerySet(model).filter(pk__in=other[model])
                    if model not in (EvidenceFile, EvidenceLink):  # which nobody changes
                        assert rows.update(**{last.attname: last.get_default()}) == 0, model
                        assert models.QuerySet(model).filter(pk__in=other[model]).delete()[0] == 0, model
                with refused:
                    report("globex")
                with refused:
                    finding("globex-2")
                with refused:
                    AnsweredRequest.objects.create(
                        owner=next(iter(other[ApiKey])),
                        key="another",
                        fingerprint=b"",
                        status=0,
                        sealed=b"",
                        created_at=clock.now(),
                    )
        with row_scope.use(row_scope.of(["acme"])):
            with refused:
                Report.objects.filter(pk__in=own[Report]).update(organisation_id="globex")
            assert report("acme").number

    def test_nothing_is_left_on_a_connection_that_is_used_again(self, houses: Houses) -> None:
        """The NULLIF trap: after a transaction-local setting the value is the empty text, not NULL."""
        tables = [model._meta.db_table for model in OWNED]
        with row_scope.use(row_scope.of(["acme"])), transaction.atomic():
            assert Report.objects.count() == 1
            assert count_by_itself("reports_report") == 1
        assert raw(f"SHOW {row_scope.SETTING}") == [("",)]
        assert [count_by_itself(table) for table in tables] == [0] * len(tables)
        with row_scope.everything():
            assert Report.objects.count() == 2
        assert [count_by_itself(table) for table in tables] == [0] * len(tables)
        connection.close()
        assert count_by_itself("reports_report") == 0  # and on one that never said any
        assert raw(f"SELECT current_setting('{row_scope.SETTING}', true)") == [("",)]

    def test_a_scope_ends_with_its_block_whatever_happens_there(self, houses: Houses) -> None:
        with row_scope.use(row_scope.of(["acme"])), transaction.atomic():
            for failing in ("SELECT 1 FROM nowhere", "LOCK nowhere"):
                with pytest.raises(ProgrammingError):
                    count_and_fail(failing)
                assert Report.objects.count() == 1
        other_thread: list[int] = []

        def look() -> None:
            other_thread.append(Report.objects.count())
            connection.close()

        with row_scope.everything():
            thread = Thread(target=look)
            thread.start()
            thread.join()
        assert other_thread == [0]

    def test_statements_that_cannot_share_a_message_have_their_scope_too(self, houses: Houses) -> None:
        """Cursors on the server, in a transaction and beyond one, and one statement with many rows of values."""
        expected = houses.rows["acme"][Evidence]
        with row_scope.use(row_scope.of(["acme"])):
            assert {row.pk for row in Evidence.objects.iterator(chunk_size=1)} == expected
            with transaction.atomic():
                assert {row.pk for row in Evidence.objects.iterator(chunk_size=1)} == expected
            with connection.cursor() as cursor:
                cursor.executemany("UPDATE reports_report SET title = %s WHERE number IS NOT NULL", [("a",), ("b",)])
            raw("WITH own AS (SELECT * FROM reports_report) SELECT * FROM own")
        with row_scope.everything():
            assert sorted(Report.objects.values_list("title", flat=True)) == ["", "b"]

    def test_it_is_complete_for_whoever_runs_the_platform(self, houses: Houses, tmp_path: Path) -> None:
        """fsck finds what it finds as superuser, `check --deploy` is content, a dump holds the rows of everybody."""
        assert check_row_security(["default"]) == []
        assert row_scope_of(SYSTEM) == row_scope.EVERYTHING
        with row_scope.everything():
            assert {problem.code for problem in fsck.run().problems} == houses.problems
            with dumps.snapshot() as write:
                write(tmp_path / "dump")
        listed = rows_in(tmp_path / "dump", "reports_report")
        assert "acme" in listed
        assert "globex" in listed

    def test_a_backup_that_might_not_be_whole_is_refused(self, folders: Path) -> None:
        with connection.cursor() as cursor:
            cursor.execute("ALTER POLICY row_scope ON reports_report USING (false)")
        refused = pytest.raises(LedgerError, match="reports_report: row-level security")
        with connected_as_application(), refused, dumps.snapshot():
            pass


def count_and_fail(statement: str) -> None:
    """Look with another scope in a savepoint that is undone."""
    with row_scope.everything(), transaction.atomic():
        assert Report.objects.count() == 2
        raw(statement)


def rows_in(dump: Path, table: str) -> str:
    """The rows of a table in a dump, as text."""
    command = [programs() / "pg_restore", "--data-only", f"--table={table}", "--file=-", dump]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_everything_is_read_where_there_are_no_roles(log: Path) -> None:
    """SQLite: no scope, no fence, no alarm."""
    if ON_POSTGRESQL:
        assert [warning.id for warning in check_row_security(["default"])] == ["ledger.W005"]
        return
    assert row_security.missing("default") == []
    assert check_row_security(["default"]) == []
    assert Membership.objects.count() == Membership.objects.filter(pk__gte=0).count()


HARMS: dict[str, str] = {
    "switched off": "ALTER TABLE evidence_evidence DISABLE ROW LEVEL SECURITY",
    "owner let past": "ALTER TABLE evidence_evidence NO FORCE ROW LEVEL SECURITY",
    "dropped": "DROP POLICY row_scope ON evidence_evidence",
    "widened": "ALTER POLICY row_scope ON evidence_evidence USING (true)",
    "writing widened": "ALTER POLICY row_scope ON evidence_evidence WITH CHECK (true)",
    "another beside": 'CREATE POLICY "a ""friendly"" one" ON evidence_evidence FOR SELECT USING (true)',
    "for some only": "ALTER POLICY row_scope ON evidence_evidence TO CURRENT_USER",
    "function emptied": (
        "CREATE OR REPLACE FUNCTION meterproof_sees_evidence_evidence(varchar) RETURNS boolean LANGUAGE sql STABLE "
        "PARALLEL SAFE AS 'SELECT true'"
    ),
    "function of the owner": "ALTER FUNCTION meterproof_sees_evidence_evidence(varchar) SECURITY DEFINER",
}


VANISHED = "evidence_evidence: row-level security"


@pytest.mark.skipif(not ON_POSTGRESQL, reason="SQLite knows no roles")
@pytest.mark.django_db
@pytest.mark.parametrize("harm", HARMS.values(), ids=HARMS)
def test_a_policy_that_vanished_or_was_changed_is_missing(harm: str) -> None:
    """However it was widened; and each is as it was after the guards are put up again."""
    assert guards.missing() == []
    with connection.cursor() as cursor:
        cursor.execute(harm)
    assert guards.missing() == [VANISHED]
    guards.install()
    assert guards.missing() == []


@pytest.mark.skipif(not ON_POSTGRESQL, reason="SQLite knows no roles")
def test_a_policy_that_vanished_is_told_like_any_guard(log: Path) -> None:
    """By check, and by the hourly look that makes a finding of it."""
    with connection.cursor() as cursor:
        cursor.execute(HARMS["dropped"])
    with pytest.raises(SystemCheckError, match=VANISHED):
        call_command("check", databases=["default"])
    assert fences.suspect_missing() == 1
    assert VANISHED in Suspicion.objects.get().about


@pytest.mark.skipif(not ON_POSTGRESQL, reason="SQLite knows no roles")
def test_the_owner_of_the_tables_is_bound_and_a_superuser_is_not(log: Path) -> None:
    """FORCE: whoever runs everything under one role that made the tables has the fence too."""
    world.join("acme", "manufacturer")
    report("acme")
    assert Report.objects.count() == 1, "a superuser gets past every policy"
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("CREATE ROLE owner_of_the_tables")
        cursor.execute("ALTER TABLE reports_report OWNER TO owner_of_the_tables")
        cursor.execute("SET LOCAL ROLE owner_of_the_tables")
    assert Report.objects.count() == 0
    with row_scope.use(row_scope.of(["acme"])):
        assert Report.objects.count() == 1
    with connection.cursor() as cursor:
        cursor.execute("RESET ROLE")
