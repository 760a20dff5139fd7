"""`manage.py fsck` on evidence: each column, row and stored file is compared, or named here as not derived.

Whoever edits has taken the guards down. Each edit is rolled back, so that the next one starts from sound evidence.
"""

import hashlib
import os
import re
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection, models, transaction

from compliance.evidence import actions, storage
from compliance.evidence.consistency import compare
from compliance.evidence.models import Evidence, EvidenceFile, EvidenceLink, LinkKind
from compliance.jobs import clock
from tests.accounts import world
from tests.conftest import take_down_guards
from tests.evidence.conftest import SPRING

pytestmark = [pytest.mark.django_db, pytest.mark.both_engines]

LATER = SPRING[1] + timedelta(seconds=1)
OTHER_DIGEST = hashlib.sha256(b"other").hexdigest()

# No entry and no manifest holds these, and they say nothing; docs/evidence.md.
NOT_DERIVED = {
    (EvidenceFile, "id"): "the database's row number; nothing refers to it",
    (EvidenceLink, "id"): "the database's row number; nothing refers to it",
}
# What is written, with `second` the other evidence and `other` people who had no part, and the code fsck answers with.
EDITS = {
    (Evidence, "id"): (lambda _: 4_711, "evidence.files"),
    (Evidence, "public_id"): (lambda _: "evd_" + "f" * 32, "evidence.unrecorded"),
    (Evidence, "organisation_id"): (lambda w: w.people.other_maker.pk, "evidence.manifest"),
    (Evidence, "kind"): (lambda _: "policy", "evidence.manifest"),
    (Evidence, "title"): (lambda _: "other", "evidence.manifest"),
    (Evidence, "covers_from"): (lambda _: SPRING[0] + timedelta(seconds=1), "evidence.manifest"),
    (Evidence, "covers_to"): (lambda _: LATER, "evidence.manifest"),
    (Evidence, "produced_at"): (lambda _: LATER, "evidence.manifest"),
    (Evidence, "received_at"): (lambda w: w.first.received_at + timedelta(microseconds=1), "evidence.received_at"),
    (Evidence, "submitter_id"): (lambda w: w.people.other.pk, "evidence.submitter"),
    (Evidence, "submitted_with_id"): (lambda w: w.people.machine.pk, "evidence.submitter"),
    (Evidence, "manifest_sha256"): (lambda _: OTHER_DIGEST, "evidence.manifest"),
    (Evidence, "scan"): (lambda _: "clean", "evidence.scan"),
    (Evidence, "state"): (lambda _: "accepted", "evidence.state"),
    (Evidence, "decided_by_id"): (lambda w: w.people.second_auditor.pk, "evidence.state"),
    (Evidence, "decided_at"): (lambda w: w.first.decided_at + timedelta(microseconds=1), "evidence.state"),
    (Evidence, "reason"): (lambda _: "other", "evidence.state"),
    (Evidence, "superseded_by_id"): (lambda w: w.third.pk, "evidence.state"),
    (EvidenceFile, "evidence_id"): (lambda w: w.second.pk, "evidence.files"),
    (EvidenceFile, "position"): (lambda _: 7, "evidence.files"),
    (EvidenceFile, "sha256"): (lambda _: OTHER_DIGEST, "evidence.files"),
    (EvidenceFile, "size"): (lambda _: 1, "evidence.files"),
    (EvidenceFile, "media_type"): (lambda _: "text/csv", "evidence.files"),
    (EvidenceFile, "name"): (lambda _: "other.txt", "evidence.manifest"),
    (EvidenceFile, "flags"): (lambda _: ["encrypted"], "evidence.flags"),
    (EvidenceLink, "evidence_id"): (lambda w: w.second.pk, "evidence.manifest"),
    (EvidenceLink, "kind"): (lambda _: "control", "evidence.manifest"),
    (EvidenceLink, "reference"): (lambda _: "iso27001-2022:A.5.1", "evidence.manifest"),
}
ALSO = {"submitted_with_id": {"submitter_id": None}}  # a constraint wants one of the two


class World:
    """The superseded `first`, the accepted `second` that stands for it, and the submitted `third`."""

    def __init__(self, people, submit):
        self.people = people
        links = [("control", "C-1")]
        self.first = submit(b"one", b"two", title="First")
        self.second = submit(b"three", title="Second", links=links)
        self.third = submit(b"four", title="Third", by=people.machine, links=links)
        for evidence in (self.first, self.second):
            actions.accept_evidence(evidence=evidence, reviewer=people.auditor, reason="fine")
        self.first = actions.supersede_evidence(
            evidence=self.first, successor=self.second, reviewer=people.auditor, reason="newer"
        )

    def row(self, model):
        """The last row of `first`."""
        rows = models.QuerySet(model)
        return rows.filter(pk=self.first.pk) if model is Evidence else rows.filter(pk=self._rows(model).last().pk)

    def _rows(self, model):
        return model.objects.filter(evidence=self.first).order_by("pk")


@pytest.fixture
def world_of_three(people, submit):
    return World(people, submit)


@contextmanager
def past_the_guards():
    """What is written inside is undone at the end, the guards stand again."""
    with transaction.atomic():
        connection.check_constraints()  # PostgreSQL drops no trigger while deferred constraints wait
        take_down_guards()
        yield
        transaction.set_rollback(True)


def found():
    return {problem.code: problem.place for problem in compare()}


def test_every_column_is_compared_or_named_as_not_derived():
    columns = {
        (model, field.attname)
        for model in (Evidence, EvidenceFile, EvidenceLink)
        for field in model._meta.concrete_fields
    }
    assert columns == set(EDITS) | set(NOT_DERIVED)
    assert not set(EDITS) & set(NOT_DERIVED)


def test_every_edited_column_is_found(world_of_three):
    assert found() == {}
    for (model, column), (value, code) in EDITS.items():
        with past_the_guards():
            row = world_of_three.row(model)
            assert row.update(**{column: value(world_of_three)}, **ALSO.get(column, {})) == 1
            problems = found()
        assert code in problems, f"{model.__name__}.{column}: {problems}"
        place = problems[code]
        named = (world_of_three.first.public_id, world_of_three.second.public_id, "evd_" + "f" * 32)
        assert any(public_id in place for public_id in named), f"{model.__name__}.{column}: {place}"
    assert found() == {}


def test_columns_of_undecided_evidence_are_compared(world_of_three):
    """A decision that nobody took, another API key, and a person in its place."""
    people, third = world_of_three.people, world_of_three.third
    other_key, _ = world.api_key(people.maker, "evidence:write")
    for changes, code in (
        ({"reason": "fine"}, "evidence.state"),
        ({"decided_by_id": people.auditor.pk}, "evidence.state"),
        ({"superseded_by_id": world_of_three.second.pk}, "evidence.state"),
        ({"state": "accepted", "decided_by_id": people.auditor.pk, "decided_at": LATER}, "evidence.state"),
        ({"submitted_with_id": other_key.pk}, "evidence.submitter"),
        ({"submitted_with_id": None, "submitter_id": people.alice.pk}, "evidence.submitter"),
    ):
        with past_the_guards():
            models.QuerySet(Evidence).filter(pk=third.pk).update(**changes)
            problems = found()
        assert problems == {code: f"evidence {third.public_id}"}, changes


def test_every_removed_row_is_found(world_of_three):
    first = world_of_three.first
    for model, code in ((EvidenceFile, "evidence.files"), (EvidenceLink, "evidence.manifest")):
        with past_the_guards():
            world_of_three.row(model)._raw_delete("default")
            assert first.public_id in found()[code]
    with past_the_guards():
        world_of_three.row(Evidence)._raw_delete("default")
        problems = found()
    assert problems["evidence.gone"] == first.subject
    assert problems["evidence.adrift"].startswith("evidence_evidence")


def test_every_inserted_row_is_found(world_of_three):
    first = world_of_three.first
    inserted_id = "evd_" + "e" * 32
    for model, changes, code, place in (
        (Evidence, {"public_id": inserted_id}, "evidence.unrecorded", inserted_id),
        (EvidenceFile, {"position": 2, "sha256": OTHER_DIGEST}, "evidence.files", first.public_id),
        (EvidenceLink, {"reference": "iso27001-2022:A.5.1"}, "evidence.manifest", first.public_id),
        (EvidenceFile, {"evidence_id": 4_711}, "evidence.adrift", "evidence_evidencefile"),
        (EvidenceLink, {"evidence_id": 4_711}, "evidence.adrift", "evidence_evidencelink"),
    ):
        with past_the_guards():
            values = world_of_three.row(model).values().get() | {"id": None} | changes
            models.QuerySet(model).bulk_create([model(**values)])
            assert place in found()[code], f"{model.__name__} {changes}"


def test_a_chain_that_cannot_be_read_has_its_place(world_of_three):
    with past_the_guards(), connection.cursor() as cursor:
        cursor.execute("UPDATE ledger_entry SET body = %s WHERE seq = 0", [b"{"])
        assert world_of_three.first.public_id in " ".join(problem.place for problem in compare())


def put(path, content, age):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    moment = (clock.now() - age).timestamp()
    os.utime(path, (moment, moment))


def test_a_file_that_no_evidence_names_is_found(world_of_three):
    """A young one is what a broken upload leaves: the sweep removes it, fsck is silent until it should have."""
    inserted = storage.path_of(OTHER_DIGEST)
    put(inserted, b"other", timedelta(hours=25))
    assert found() == {}
    put(inserted, b"other", storage.LEFTOVER_AGE + timedelta(minutes=1))
    assert OTHER_DIGEST in found()["evidence.blob_unnamed"]
    put(inserted, b"other", -timedelta(days=400))
    assert OTHER_DIGEST in found()["evidence.blob_unnamed"]
    put(inserted, b"another", timedelta(0))
    assert OTHER_DIGEST in found()["evidence.blob_damaged"]


def test_a_known_file_in_the_wrong_folder_is_found(world_of_three):
    digest = hashlib.sha256(b"one").hexdigest()
    folder = "00/00" if not digest.startswith("0000") else "11/11"
    put(storage.path_of(digest).parent.parent.parent / folder / digest, b"one", timedelta(0))
    assert found() == {"evidence.blob_unnamed": f"blob {folder}/{digest}"}


def test_the_page_shows_each_kind_of_link_as_it_is_taken(people, submit):
    page = (Path(settings.BASE_DIR) / "docs" / "evidence.md").read_text("utf-8")
    shown = re.findall(r"`--link ([a-z_]+)=([^\s`]+)` \|", page)
    assert sorted(kind for kind, _ in shown) == sorted(LinkKind.values)
    assert submit(links=shown).links.count() == len(shown)
