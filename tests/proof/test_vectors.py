"""Every vector file is opened by a test: a vector that nobody reads promises what nobody checks."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from compliance.proof.verify import verify_file
from tests.proof.vectors import CASES, METERPROOF, VECTORS

ROOT = VECTORS.parents[1]
READERS = (
    "test_canonical.py::test_the_oracle_gives_the_official_canonical_forms",
    "test_canonical.py::test_official_numbers",
    "test_cose.py::TestTheDraftsReceipt",
    "test_keys_dsse.py::test_the_official_dsse_vector",
    "test_layout.py::test_the_sample_log_of_others",
    "test_merkle.py::test_official_hashes_and_roots",
    "test_merkle.py::test_official_inclusion",
    "test_merkle.py::test_official_consistency",
    "test_note.py::test_official_notes",
    "test_note.py::test_official_verifier_keys",
    "test_note.py::test_official_checkpoint_bodies",
    "test_note.py::test_the_official_cosignature",
    "test_layout.py::test_the_sample_log_of_others_begins_empty",
    "test_time_tokens.py::test_official_tokens",
    "test_time_tokens.py::test_the_official_request",
)
LISTENING = """
import os, sys
opened = set()
def listen(event, arguments):
    if event == "open" and isinstance(arguments[0], (str, bytes, os.PathLike)):
        opened.add(os.path.abspath(os.fsdecode(arguments[0])))
sys.addaudithook(listen)
import pytest
status = pytest.main(["-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", *sys.argv[2:]])
with open(sys.argv[1], "w") as found:
    found.write("\\n".join(sorted(opened)))
sys.exit(status)
"""


def files_in(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file() and path.suffix != ".md"}


def test_every_official_vector_is_read_by_a_test(tmp_path):
    """Measured, not declared: the readers run in a process of their own that notes which files it opens."""
    found = tmp_path / "opened"
    command = [sys.executable, "-c", LISTENING, str(found), *(f"tests/proof/{reader}" for reader in READERS)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=110)
    assert done.returncode == 0, done.stdout + done.stderr
    opened = {Path(line) for line in found.read_text().splitlines()}
    official = {path for path in files_in(VECTORS) if METERPROOF not in path.parents}
    assert {str(path.relative_to(VECTORS)) for path in official - opened} == set()


def test_every_file_of_our_own_belongs_to_a_case():
    """`test_cases.py` runs every case: the file or folder it names, with its trust folder and keys."""
    named = {METERPROOF / case[member] for case in CASES for member in ("file", "trust", "keys") if member in case}
    named |= {METERPROOF / "cases.json", METERPROOF / "valid/leaf-hashes.json"}  # which are the lists of cases
    unnamed = {path for path in files_in(METERPROOF) if not named & {path, *path.parents}}
    assert {str(path.relative_to(METERPROOF)) for path in unnamed} == set()


@pytest.mark.parametrize("folder", sorted(path.name for path in VECTORS.iterdir() if path.is_dir()))
def test_each_folder_says_where_it_comes_from(folder):
    assert (VECTORS / folder / "SOURCE.md").is_file()
    assert f"`{folder}`" in (VECTORS / "README.md").read_text()


def test_the_edited_log_has_one_defect(tmp_path):
    """With the entry put back as it was, all else in that folder verifies."""
    mended = shutil.copytree(METERPROOF / "invalid/log-entry-edited", tmp_path / "log")
    (mended / "tile/entries/000.p/24").write_bytes((METERPROOF / "valid/log/tile/entries/000.p/24").read_bytes())
    assert verify_file(mended, METERPROOF / "trust").error is None
