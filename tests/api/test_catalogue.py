"""The catalogue of problems: complete, used, explained, and the page made from it current."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest
from django.conf import settings

from compliance.api import catalogue, openapi
from compliance.api.management.commands import problem_page
from compliance.proof.errors import REASONS

ROOT = Path(settings.BASE_DIR)
CODE = re.compile(r"[a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)?")
RAISED = {"ApiProblem", "Refused", "Conflict", "ProofError", "NotCheckable"}  # their first argument is a code


def sources() -> list[Path]:
    return [path for path in sorted((ROOT / "compliance").rglob("*.py")) if "migrations" not in path.parts]


@cache
def trees() -> list[tuple[Path, ast.Module]]:
    return [(path, ast.parse(path.read_text("utf-8"))) for path in sources() if "client" not in path.parts]


def raised() -> dict[str, Path]:
    """Each code that is raised by name, with a file that does it."""
    found: dict[str, Path] = {}
    for path, tree in trees():
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in RAISED):
                continue
            if node.args and isinstance(node.args[0], ast.Constant) and isinstance(node.args[0].value, str):
                found[node.args[0].value] = path
    return found


def test_every_code_that_is_raised_is_explained():
    unexplained = {code: path.name for code, path in raised().items() if code not in catalogue.entries()}
    assert not unexplained


def test_every_reason_of_the_verifier_is_explained():
    assert not set(REASONS) - set(catalogue.entries())


def test_every_code_is_used():
    """A problem that nothing can tell of would be a promise nobody keeps."""
    words = {
        node.value
        for _, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert not set(catalogue.entries()) - words


@pytest.mark.parametrize("code", list(catalogue.entries()))
def test_an_entry_is_fit_to_be_read(code):
    entry = catalogue.entry(code)
    assert CODE.fullmatch(code)
    assert entry.status == 200 or 400 <= entry.status < 600
    for text in (entry.title, entry.detail, entry.mend):
        assert text == text.strip()
        assert len(text) > 3
    assert not entry.title.endswith(".")
    assert entry.detail.endswith(".")
    assert entry.mend.endswith(".")
    for page in re.findall(r"docs/[a-z/-]+\.(?:md|schema\.json)", entry.detail + entry.mend):
        assert (ROOT / page).exists(), page


def test_the_page_is_current():
    """Otherwise: manage.py problem_page."""
    assert problem_page.page_path().read_text("utf-8") == problem_page.page()


def test_every_code_can_be_an_answer():
    assert openapi.document()["components"]["schemas"]["Problem"]["properties"]["code"]["enum"] == sorted(
        catalogue.entries()
    )
