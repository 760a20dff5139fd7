"""Rules of the house that a machine can see: file sizes, words, links, top-level files, locks."""

import ast
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

PROJECT = Path(__file__).resolve().parents[2]
MAX_LINES = 600  # beyond it a file holds more than one theme

TOP_LEVEL = {
    ".ci": "what continuous integration calls",
    ".gitignore": "what git leaves out",
    "CHANGELOG.md": "what changed",
    "LICENSE": "Apache-2.0",
    "README.md": "where everybody starts",
    "compliance": "the product",
    "docs": "for users, operators, auditors, integrators and developers",
    "fixtures": "catalogues, vocabularies, vectors, examples",
    "manage.py": "Django's command line",
    "pyproject.toml": "loose bounds and the settings of the tools",
    "requirements-dev.txt": "the lock for tests",
    "requirements.txt": "the lock for running",
    "run": "the one door",
    "templates": "pages and reports",
    "tests": "what is promised",
}
FORBIDDEN_MODULE_NAMES = {"utils", "helpers", "common", "misc"}


def tracked(*patterns: str) -> list[Path]:
    """Files that git knows, below `patterns`."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--", *patterns], cwd=PROJECT, check=True, capture_output=True, text=True
    )
    return [PROJECT / name for name in listed.stdout.split("\0") if name and (PROJECT / name).exists()]


def test_every_top_level_file_has_a_reason() -> None:
    names = {path.relative_to(PROJECT).parts[0] for path in tracked()}
    assert names <= set(TOP_LEVEL)


def test_no_source_file_holds_more_than_one_theme() -> None:
    long = {
        str(path.relative_to(PROJECT)): len(path.read_text().splitlines())
        for path in tracked("compliance/*.py", "tests/*.py")
        if len(path.read_text().splitlines()) > MAX_LINES
    }
    assert long == {}


def test_no_module_is_a_drawer_for_odds_and_ends() -> None:
    names = {str(path.relative_to(PROJECT)) for path in tracked("*.py") if path.stem in FORBIDDEN_MODULE_NAMES}
    assert names == set()


def test_every_module_says_what_it_is() -> None:
    silent = [
        str(path.relative_to(PROJECT))
        for path in tracked("compliance/*.py", "tests/*.py")
        if path.stat().st_size and "migrations" not in path.parts and not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert silent == []


def test_no_pattern_repeats_a_group_possessively() -> None:
    """Python 3.11.0 to 3.11.4, Debian 12 among them, match what such patterns do not (CPython issue 106052)."""
    possessive = re.compile(r"\)(?:[*+?]|\{[0-9,]+\})\+|\(\?>")
    found = [
        f"{path.relative_to(PROJECT)}: {node.value}"
        for path in tracked("compliance/*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes)
        if possessive.search(node.value if isinstance(node.value, str) else node.value.decode("latin-1"))
    ]
    assert found == []


def test_nothing_names_a_machine_path() -> None:
    pattern = re.compile(r"(^|[\s\"'(=])/(work|farm|root|home)/\S", re.MULTILINE)
    found = [
        str(path)
        for path in tracked("*.py", "*.md", "*.sh", "*.toml", "*.yaml", "*.html", "run")
        if pattern.search(path.read_text())
    ]
    assert found == []


def test_links_between_pages_lead_somewhere() -> None:
    broken = []
    for page in tracked("*.md"):
        for target in re.findall(r"\]\((?!https?:|mailto:|#)([^)#\s]+)", page.read_text()):
            if not (page.parent / target).exists():
                broken.append(f"{page.relative_to(PROJECT)}: {target}")
    assert broken == []


@pytest.mark.parametrize("lock", ["requirements.txt", "requirements-dev.txt", "tests/interop/requirements.txt"])
def test_every_locked_package_has_its_hashes(lock: str) -> None:
    text = (PROJECT / lock).read_text()
    packages = re.split(r"\n(?=[A-Za-z0-9])", re.sub(r"(?m)^\s*#.*\n?", "", text).strip())
    assert packages
    assert [package.split()[0] for package in packages if "==" not in package or "--hash=sha256:" not in package] == []


def test_the_lock_holds_every_package_the_product_names() -> None:
    named = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["dependencies"]
    names = {re.split(r"[\[><=,; ]", requirement)[0].lower() for requirement in named}
    locked = set(re.findall(r"(?m)^([a-z0-9._-]+)==", (PROJECT / "requirements.txt").read_text()))
    assert names <= locked


def test_yaml_fixtures_are_yaml() -> None:
    for path in tracked("fixtures/*.yaml"):
        assert yaml.safe_load(path.read_text()) is not None, path
