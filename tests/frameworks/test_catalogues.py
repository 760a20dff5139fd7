"""The shipped catalogues load whole, once, fast, and keep what their authors said about their own certainty."""

import re
from hashlib import sha256
from pathlib import Path

import pytest
import yaml
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection
from django.test.utils import CaptureQueriesContext

from compliance.frameworks import actions, selectors
from compliance.frameworks.models import (
    EditionIsImmutable,
    Framework,
    Group,
    Mapping,
    MappingSet,
    Relationship,
    Requirement,
    Verification,
)

pytestmark = pytest.mark.django_db

FILES = actions.shipped_catalogues()


@pytest.fixture
def loaded() -> None:
    actions.load_shipped()


def _documents():
    for path in FILES:
        yield path, yaml.safe_load(path.read_text())


def test_every_item_of_every_file_is_in_the_database(loaded):
    for path, document in _documents():
        digest = sha256(path.read_bytes()).hexdigest()
        if "framework" in document:
            framework = Framework.objects.get(key=document["framework"]["id"])
            assert (framework.digest, framework.edition) == (digest, document["framework"]["version"])
            assert framework.groups.count() == len(document["groups"])
            rows = {requirement.ref: requirement for requirement in framework.requirements.all()}
            assert list(rows) == [item["id"] for item in document["requirements"]], "order of the publisher"
            for item in document["requirements"]:
                row = rows[item["id"]]
                assert (row.title, row.kind, row.verification) == (item["title"], item["kind"], item["verification"])
                for member in (
                    "related",
                    "candidate_official_ids",
                    "predecessors_2013",
                    "basis",
                    "related_verification",
                ):
                    assert row.details.get(member) == item.get(member)
        elif "mapping_set" in document:
            mapping_set = MappingSet.objects.get(key=document["mapping_set"]["id"])
            assert mapping_set.digest == digest
            assert mapping_set.mappings.count() == len(document["mappings"])


def test_sources_and_certainty_of_each_item_reach_the_reader(loaded):
    """What the files say about where an item comes from and how sure that is, a selector gives back word for word."""
    for _, document in _documents():
        if "framework" not in document:
            continue
        head = document["framework"]
        framework = selectors.framework(head["id"])
        assert (framework.verification, framework.licence_note) == (head["verification"], head["licence_note"])
        assert (framework.publisher, framework.url) == (head["publisher"], head["url"] or "")
        given = {row.ref: (row.source_ref, row.verification, row.summary) for row in selectors.requirements(framework)}
        stated = {
            item["id"]: (item["source_ref"], item["verification"], item.get("summary", ""))
            for item in document["requirements"]
        }
        assert given == stated
        assert all(source and certainty in Verification.values for source, certainty, _ in given.values())


def test_mappings_are_what_the_files_say(loaded):
    for _, document in _documents():
        if "mapping_set" not in document:
            continue
        mapping_set = selectors.mapping_sets().get(key=document["mapping_set"]["id"])
        assert mapping_set.mapping_count == len(document["mappings"])
        given = [
            (row.source.reference, row.relationship, row.target.reference, row.rationale, row.confidence)
            for row in mapping_set.mappings.select_related("source__framework", "target__framework")
        ]
        assert given == [
            (_reference(row["source"]), row["relationship"], _reference(row["target"]), row.get("rationale", ""),
             row.get("confidence", ""))
            for row in document["mappings"]
        ]  # fmt: skip


def _reference(end):
    return end if isinstance(end, str) else f"{end['framework']}:{end['requirement']}"


def test_documents_worth_knowing(loaded):
    (document,) = (document for _, document in _documents() if "documents" in document)
    given = {row.key: (row.title, row.verification) for row in selectors.reference_documents()}
    assert given == {item["id"]: (item["title"], item["verification"]) for item in document["documents"]}


def test_the_command_says_what_is_new(capsys):
    def said(**options):
        call_command("load_catalogues", **options)
        return capsys.readouterr().out

    rows = sum(len(d.get("requirements") or d.get("mappings") or d["documents"]) for _, d in _documents())
    assert said() == f"Catalogues: {len(FILES)} files with {rows} rows, {len(FILES)} new.\n"
    assert said() == f"Catalogues: {len(FILES)} files with {rows} rows, 0 new.\n"
    listed = said(verbosity=2)
    assert listed.count("there ") == len(FILES)
    assert "iso27001-2022 2022 (127 rows, SHA-256 " in listed


def test_a_shipped_file_that_changed_under_its_edition_is_said(loaded, tmp_path, settings, monkeypatch):
    """An upgrade whose catalogue differs from what an auditor relied on stops with the file and the remedy."""
    text = FILES[0].read_text().replace("title:", "title: Changed", 1)
    (tmp_path / FILES[0].name).write_text(text)
    monkeypatch.setattr(actions, "shipped_catalogues", lambda: [tmp_path / FILES[0].name])
    before = Requirement.objects.count()
    with pytest.raises(CommandError, match=rf"{FILES[0].name}.*is loaded with other content"):
        call_command("load_catalogues")
    assert Requirement.objects.count() == before


def test_loading_again_changes_nothing(loaded):
    before = list(Requirement.objects.values_list("pk", flat=True))
    again = actions.load_shipped()
    assert all(item.was_there for item in again)
    assert list(Requirement.objects.values_list("pk", flat=True)) == before


def test_loading_takes_few_queries():
    """Loading is part of the first start: its queries grow with the files, not with what is in them."""
    with CaptureQueriesContext(connection) as queries:
        actions.load_shipped()
    assert Requirement.objects.count() + Mapping.objects.count() > 800
    assert len(queries) < 8 * len(FILES)


def test_rows_that_point_at_cpa_themes_are_not_shipped(loaded):
    """No mapping touches the CPA list: its ids are ours, not official ones."""
    assert not [path for path in FILES if "pending" in path.name]
    assert not selectors.mappings_touching(selectors.framework("uk-cpa-sm")).exists()


def test_cpa_is_never_an_official_list(loaded):
    cpa = selectors.framework("uk-cpa-sm")
    assert not cpa.is_official
    assert "do not present as the official mitigation list" in cpa.status
    assert set(cpa.requirements.values_list("verification", flat=True)) == {Verification.UNVERIFIED_THEME}
    assert {requirement.details["official_id"] for requirement in cpa.requirements.all()} == {None}


def test_threats_assets_and_phases_cannot_be_met(loaded):
    for kind in ("threat", "asset", "assumption", "phase", "status", "document"):
        assert not Requirement.objects.filter(kind=kind, assessable=True).exists()
    assert selectors.framework("iso27001-2022").requirements.filter(kind="control", assessable=True).count() == 93


def test_the_tree_of_chapters_is_one_prefix_query(loaded):
    framework = selectors.framework("iso27001-2013")
    below = framework.groups.filter(path__startswith="/A.6/").values_list("ref", flat=True)
    assert list(below) == ["A.6", "A.6.1", "A.6.2"]


def test_a_loaded_row_cannot_be_changed(loaded):
    writes = (
        lambda row: row.save(),
        lambda row: row.delete(),
        lambda row: type(row).objects.filter(pk=row.pk).update(pk=row.pk),
        lambda row: type(row).objects.filter(pk=row.pk).delete(),
        lambda row: type(row).objects.bulk_update([row], ["ref"]),
    )
    for model in (Requirement, Mapping, Group):
        for write in writes:
            with pytest.raises(EditionIsImmutable):
                write(model.objects.first())


def test_selectors_give_the_edition_loaded_last(loaded, tmp_path):
    text = (Path(FILES[0]).parent / "eu-cra-annex-i.yaml").read_text().replace("version: 2024/2847", "version: '2030'")
    (tmp_path / "cra.yaml").write_text(text)
    call_command("import_catalogue", tmp_path / "cra.yaml")
    assert selectors.framework("eu-cra-annex-i").edition == "2030"
    assert selectors.framework("eu-cra-annex-i", edition="2024/2847").requirements.count() == 22
    assert selectors.requirement("eu-cra-annex-i:CRA-I.1").framework.edition == "2030"
    assert [row.edition for row in selectors.frameworks().filter(key="eu-cra-annex-i")] == ["2030"]
    assert [row.edition for row in selectors.editions("eu-cra-annex-i")] == ["2030", "2024/2847"]


def test_known_references(loaded):
    wanted = ["iso27001-2022:A.5.9", "iso27001-2022:A.99", "nowhere:A.5.9", "no colon"]
    assert selectors.known_references(wanted) == {"iso27001-2022:A.5.9"}
    with pytest.raises(Requirement.DoesNotExist):
        selectors.requirement("nowhere:A.5.9")
    with pytest.raises(Framework.DoesNotExist):
        selectors.framework("nowhere")


def test_mappings_of_a_requirement_are_found_from_both_ends(loaded):
    mapping = Mapping.objects.filter(relationship=Relationship.EQUAL).first()
    for end in (mapping.source, mapping.target):
        assert mapping in selectors.mappings_of(end)


def test_frameworks_take_one_query(loaded, django_assert_num_queries):
    with django_assert_num_queries(1):
        rows = list(selectors.frameworks())
    assert {row.key: row.requirement_count for row in rows}["bsi-cc-pp-0073"] == 133


def test_an_edition_with_other_content_is_refused(loaded, tmp_path):
    text = (Path(FILES[0]).parent / "eu-cra-annex-i.yaml").read_text().replace("Integrity of data", "Integrity")
    (tmp_path / "cra.yaml").write_text(text)
    with pytest.raises(CommandError, match=r"is loaded with other content.*give the new content another `version`"):
        call_command("import_catalogue", tmp_path / "cra.yaml")


def test_the_page_names_every_framework_by_its_key(loaded):
    page = (Path(settings.BASE_DIR) / "docs" / "frameworks.md").read_text("utf-8")
    table = page.partition("| Key |")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| `([a-z0-9-]+)` \|", table, re.MULTILINE)) == {
        framework.key for framework in Framework.objects.all()
    }
