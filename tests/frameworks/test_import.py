"""An operator's own list is imported with one command, and a bad file is answered with the place and the remedy."""

from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandError
from hypothesis import given
from hypothesis import strategies as st

from compliance.frameworks import actions, selectors
from compliance.frameworks.catalogue import CatalogueError, ListHead, read_catalogue, read_list
from compliance.frameworks.models import Framework, Requirement, Verification

TEMPLATES = Path(settings.BASE_DIR) / "fixtures" / "frameworks" / "templates"
HEAD = {"key": "uk-cpa-esme", "title": "CPA Security Characteristic", "edition": "1.3", "publisher": "NCSC"}

GOOD = """
framework: {id: x, title: X, version: '1', publisher: P, licence_note: L, verification: V}
groups: [{id: G, title: Group}]
requirements:
- {id: R1, title: One, group: G, kind: control, verification: verified}
- {id: R2, title: Two, group: G, kind: threat, verification: recalled}
"""


@pytest.mark.django_db
def test_the_templates_import():
    actions.load_shipped()
    call_command("import_catalogue", TEMPLATES / "official-list.yaml")
    official = selectors.framework("uk-cpa-esme")
    assert official.is_official
    assert official.supersedes.key == "uk-cpa-sm"
    call_command("import_catalogue", TEMPLATES / "official-list.csv", **(HEAD | {"edition": "1.4"}))
    listed = selectors.framework("uk-cpa-esme")
    assert listed.edition == "1.4"
    assert [(row.ref, row.verification, row.assessable) for row in selectors.requirements(listed)] == [
        ("DEV.M1", Verification.VERIFIED, True),
        ("VER.M2", Verification.VERIFIED, True),
    ]


@pytest.mark.django_db
def test_check_writes_nothing(capsys):
    call_command("import_catalogue", TEMPLATES / "official-list.csv", "--check", **HEAD)
    assert "is good" in capsys.readouterr().out
    assert not Framework.objects.exists()


@pytest.mark.django_db
def test_a_list_without_its_head_is_answered_with_the_options_it_needs():
    with pytest.raises(CommandError, match=r"needs --title, --edition, --publisher"):
        call_command("import_catalogue", TEMPLATES / "official-list.csv", key="uk-cpa-esme")


def test_a_missing_file_is_said(tmp_path):
    with pytest.raises(CommandError, match="cannot be read"):
        call_command("import_catalogue", tmp_path / "nothing.yaml")


@pytest.mark.parametrize(
    ("old", "new", "place", "detail"),
    [
        ("title: One, ", "", "requirements[0].title", "is missing"),
        ("group: G, kind: threat", "group: H, kind: threat", "requirements[1].group", "not a group"),
        ("kind: threat", "kind: wish", "requirements[1].kind", "none of"),
        ("id: R2", "id: R1", "requirements[1].id", "already the id of requirements[0]"),
        ("verification: recalled", "verification: sure", "requirements[1].verification", "none of"),
        ("version: '1'", "version: 1.0", "framework.version", "in quotes"),
        ("id: x", "id: X Y", "framework.id", "lower-case"),
        ("title: X", "title: X, title: Y", "line 2", "said twice"),
        ("publisher: P, ", "", "framework.publisher", "is missing"),
        ("groups: [{id: G, title: Group}]", "groups: []", "groups", "at least one"),
        ("groups: [{id: G", "groups: [{parent: Q, id: G", "groups[0].parent", "not a group above"),
        ("kind: control", "kind: control, assessable: maybe", "requirements[0].assessable", "true or false"),
        ("verification: V}", "verification: V, supersedes: y}", "framework.supersedes", "<framework id>@<version>"),
        ("\ngroups", "\nextra: 1\ngroups", "extra", "not a member"),
        ("framework:", "frame work:", "", "holds neither"),
        ("{id: x", "{id: [", "line", "expected"),
    ],
)
def test_a_bad_file_is_answered_with_the_place(old, new, place, detail):
    assert old in GOOD
    with pytest.raises(CatalogueError) as caught:
        read_catalogue(GOOD.replace(old, new, 1).encode(), name="x.yaml")
    assert caught.value.place.startswith(place)
    assert detail in caught.value.detail


@pytest.mark.parametrize(
    ("text", "place", "detail"),
    [
        ("title\nOne\n", "line 1", "no column `id`"),
        ("id,title,colour\n1,One,red\n", "line 1", "unknown column `colour`"),
        ("id,title\nA\n", "line 2", "not exactly as many"),
        ("id,title\nA,One,more\n", "line 2", "not exactly as many"),
        ('id,title\nA,"One\n', "line", "not CSV"),
        ("id,title\nA,\n", "requirements[0].title", "is missing"),
        ("id,title\n", "groups", "at least one"),
    ],
)
def test_a_bad_list_is_answered_with_the_place(text, place, detail):
    with pytest.raises(CatalogueError) as caught:
        read_list(text.encode(), name="x.csv", head=ListHead(**HEAD))
    assert caught.value.place.startswith(place)
    assert detail in caught.value.detail


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("row", "detail"),
    [
        ("{source: 'x:R1', target: 'y:R1', relationship: equal}", "no loaded framework holds y:R1"),
        ("{source: 'x:R9', target: 'x:R1', relationship: equal}", "no loaded framework holds x:R9"),
        ("{source: 'x:R1', target: 'x:R2', relationship: like}", "`like` is none of"),
        ("{source: 'x:R1', target: 'x:R2', relationship: equal, blocked_until: ids come}", "blocked until ids come"),
    ],
)
def test_a_bad_mapping_is_refused_whole(row, detail):
    actions.load(read_catalogue(GOOD.encode(), name="x.yaml"))
    good = "{source: 'x:R1', target: 'x:R2', relationship: supports}"
    text = f"mapping_set: {{id: m, title: M}}\nmappings:\n- {good}\n- {row}\n"
    with pytest.raises(CatalogueError, match=detail):
        actions.load(read_catalogue(text.encode(), name="m.yaml"))
    assert not selectors.mapping_sets().exists()
    actions.load(read_catalogue(text.replace(f"- {row}\n", "").encode(), name="m.yaml"))
    assert selectors.mapping_sets().get().mapping_count == 1


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace")))
def test_no_bytes_break_the_reader(data):
    """Whatever the file holds, the answer is a catalogue or a CatalogueError."""
    for read in (
        lambda: read_catalogue(data, name="x"),
        lambda: read_catalogue(GOOD.encode().replace(b"One", data), name="x"),
        lambda: read_list(data, name="x", head=ListHead(**HEAD)),
        lambda: read_list(b"id,title\n" + data, name="x", head=ListHead(**HEAD)),
    ):
        try:
            file = read()
        except CatalogueError:
            continue
        assert all(row.ref and row.title for row in file.requirements)


@pytest.mark.django_db
def test_unknown_members_of_an_item_are_kept():
    text = GOOD.replace("id: R1,", "id: R1, colour: {shade: [red]},")
    actions.load(read_catalogue(text.encode(), name="x.yaml"))
    assert Requirement.objects.get(ref="R1").details == {"colour": {"shade": ["red"]}}
