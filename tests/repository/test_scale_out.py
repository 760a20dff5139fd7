"""The rules that keep the way out of one machine open, over models, SQL and code: docs/developers says why.

One subject's rows must be able to live on another machine than the next one's, and a message may be lost.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from django.apps import apps
from django.db import models

from compliance.ledger.models import INSERT_ONLY, Entry, EventKey, Head
from tests.repository.test_house_rules import PROJECT, tracked

LEDGER = [model for model in apps.get_models() if model._meta.app_label == "ledger"]
IN_THE_DRILL = "compliance/ledger/drill/"  # works on copies, and does what must be found
MAY_HAVE_A_RUNNING_NUMBER: set[str] = set()  # of the ledger: none; a number that decides is counted under a lock
ONE_SUBJECT = ("ledger_entry", "ledger_head")  # hash-partitioned, or to be: statements on the way in name the subject
PARTITIONED = {Entry: "subject", Head: "subject", EventKey: "key"}
INSERT_ONLY_NAMES = {model.__name__ for model in INSERT_ONLY}
INSERT_ONLY_TABLES = "|".join(model._meta.db_table for model in INSERT_ONLY)


@cache
def sources() -> tuple[tuple[str, ast.Module], ...]:
    """Product code by its path, without migrations and without the drill. Read once."""
    named = {path.relative_to(PROJECT).as_posix(): path for path in tracked("compliance/*.py")}
    return tuple(
        (name, ast.parse(path.read_text()))
        for name, path in named.items()
        if "/migrations/" not in name and not name.startswith(IN_THE_DRILL)
    )


def texts(tree: ast.AST) -> Iterator[str]:
    """Every string in the code, the pieces of f-strings joined by a blank."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            yield "".join(part.value if isinstance(part, ast.Constant) else " " for part in node.values)


def test_no_table_of_the_ledger_refers_to_another_by_foreign_key() -> None:
    related = [
        f"{model.__name__}.{field.name}" for model in LEDGER for field in model._meta.get_fields() if field.is_relation
    ]
    assert LEDGER
    assert related == []


def test_no_serial_decides_anything_in_the_ledger() -> None:
    """A sequence has gaps and commits out of order; on several machines it is a bottleneck or wrong."""
    serial = {
        f"{model.__name__}.{field.name}"
        for model in LEDGER
        for field in model._meta.concrete_fields
        if isinstance(field, models.AutoField)
    }
    assert serial == MAY_HAVE_A_RUNNING_NUMBER


@pytest.mark.parametrize(("model", "column"), PARTITIONED.items(), ids=lambda item: getattr(item, "__name__", item))
def test_every_unique_key_holds_the_column_that_rows_are_spread_by(model: type[models.Model], column: str) -> None:
    keys = [[field.name for field in model._meta.pk_fields]]
    keys += [[field.name] for field in model._meta.concrete_fields if field.unique and field.name != "pk"]
    keys += [list(names) for names in model._meta.unique_together]
    keys += [list(rule.fields) for rule in model._meta.constraints if isinstance(rule, models.UniqueConstraint)]
    assert [key for key in keys if column not in key] == []


def test_sql_never_changes_a_row_of_an_insert_only_table() -> None:
    """T27: there is no code path with UPDATE, DELETE or TRUNCATE on them."""
    forbidden = re.compile(
        rf'\b(?:UPDATE|DELETE\s+FROM|TRUNCATE(?:\s+TABLE)?|REPLACE\s+INTO)\s+(?:ONLY\s+)?"?(?:{INSERT_ONLY_TABLES})\b',
        re.I,
    )
    found = [f"{name}: {text[:80]}" for name, tree in sources() for text in texts(tree) if forbidden.search(text)]
    assert found == []
    assert forbidden.search('UPDATE "ledger_entry" SET body = %s')
    assert forbidden.search("delete from ledger_batch")


def test_the_orm_never_changes_a_row_of_an_insert_only_table() -> None:
    """T27: `Entry.objects....update()`, `.delete()`, `bulk_update` and `update_or_create`, however it goes on."""
    found = [
        f"{name}:{call.lineno} {ast.unparse(call)[:80]}"
        for name, tree in sources()
        for call in ast.walk(tree)
        if changes_insert_only(call)
    ]
    assert found == []
    assert changes_insert_only(ast.parse("Entry.objects.filter(seq=1).update(seq=2)", mode="eval").body)
    assert changes_insert_only(ast.parse("CheckpointRow.objects.all().delete()", mode="eval").body)


def changes_insert_only(node: ast.AST) -> bool:
    """A call of a method that changes rows, on a manager of an insert-only model."""
    if not (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in {"update", "delete", "bulk_update", "update_or_create"}
    ):
        return False
    root: ast.AST = node.func.value
    while isinstance(root, ast.Call | ast.Attribute):
        if isinstance(root, ast.Attribute) and root.attr in {"objects", "_default_manager"}:
            owner = root.value
            return isinstance(owner, ast.Name) and owner.id.removesuffix("Row") in INSERT_ONLY_NAMES
        root = root.func if isinstance(root, ast.Call) else root.value
    return False


def test_statements_of_the_append_name_the_subjects_they_touch() -> None:
    """Chains are looked up and locked by the column that they are spread by, never by scanning."""
    stores = [(name, tree) for name, tree in sources() if name.startswith("compliance/ledger/store/")]
    statements = [
        (name, text)
        for name, tree in stores
        for text in texts(tree)
        if re.match(r"\s*(SELECT|UPDATE)\b", text) and any(table in text for table in ONE_SUBJECT)
    ]
    assert len(statements) >= 3
    assert [
        each for each in statements if not re.search(r"(?:WHERE|AND)\s+(?:\w+\.)?subject\s*(?:=|IN)", each[1])
    ] == []


def test_the_way_in_needs_no_session_locks_and_no_notifications() -> None:
    """Plain SQL only: advisory locks and LISTEN do not reach across machines, and poolers lose them."""
    forbidden = re.compile(r"pg_(?:try_)?advisory_\w*lock|\bLISTEN\s+\w|\bNOTIFY\s+\w|nextval\s*\(", re.I)
    found = [
        f"{name}: {text[:80]}"
        for name, tree in sources()
        if name.startswith(("compliance/ledger/", "compliance/custody/"))
        for text in texts(tree)
        if forbidden.search(text) and not text.lstrip().startswith(("The", "A "))
    ]
    assert found == []


def test_no_message_is_sent_while_a_transaction_is_open() -> None:
    """F37: a broker is told by `jobs.actions.ring` alone, after the commit."""
    sending = [
        f"{name}:{node.lineno}"
        for name, tree in sources()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in {"delay", "apply_async", "send_task"}
    ]
    assert [place.partition(":")[0] for place in sending] == ["compliance/jobs/actions.py"]
    actions = ast.parse(Path(PROJECT / "compliance/jobs/actions.py").read_text())
    rings = [
        node
        for node in ast.walk(actions)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "ring"
    ]
    after_commit = [
        inner
        for node in ast.walk(actions)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "on_commit"
        for inner in ast.walk(node)
        if isinstance(inner, ast.Call) and isinstance(inner.func, ast.Name) and inner.func.id == "ring"
    ]
    sweep = next(node for node in actions.body if isinstance(node, ast.FunctionDef) and node.name == "sweep")
    in_sweep = [node for node in rings if node in list(ast.walk(sweep))]  # rings for jobs that were committed long ago
    assert len(after_commit) >= 2
    assert len(rings) == len(after_commit) + len(in_sweep)
