"""Where the session of the mutants keeps its files."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.mutation.session import MutationSession


def test_its_temporary_folders_lie_where_no_other_session_clears_up(tmp_path_factory: pytest.TempPathFactory) -> None:
    session = MutationSession([], lambda *_: None, budget=1, minutes=None)
    config = SimpleNamespace(option=SimpleNamespace(basetemp=None))
    session.pytest_configure(config)  # type: ignore[arg-type]
    folder: Path = config.option.basetemp
    shared = tmp_path_factory.getbasetemp().parent
    assert shared not in folder.parents
    assert folder.parent.is_dir()
    session.pytest_unconfigure()
    assert not folder.parent.exists()
