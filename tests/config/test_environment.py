"""Settings as they come from the environment."""

import multiprocessing
import stat
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from compliance.config import environment

NAME = "METERPROOF_TEST_SETTING"


@pytest.mark.parametrize("value", ["{", "{}", "[1]", '"text"', "null"])
def test_a_list_of_objects_that_is_none_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv(NAME, value)
    with pytest.raises(ImproperlyConfigured, match=NAME):
        environment.objects(NAME)


def test_a_list_of_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    assert environment.objects(NAME) == []
    monkeypatch.setenv(NAME, '[{"url": "http://tsa.example/"}]')
    assert environment.objects(NAME) == [{"url": "http://tsa.example/"}]


def test_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    assert environment.number(NAME) == 0
    monkeypatch.setenv(NAME, "2")
    assert environment.number(NAME) == 2


@pytest.mark.parametrize("value", ["-1", "one", "1.5", "²"])
def test_a_number_that_is_none_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv(NAME, value)
    with pytest.raises(ImproperlyConfigured, match=NAME):
        environment.number(NAME)


def test_a_secret_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "secrets" / "key"
    made = environment.secret(NAME, path)
    assert len(made) >= 43
    assert environment.secret(NAME, path) == made
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["key"]


def _secret(path: Path) -> str:
    return environment.secret(NAME, path)


def test_processes_that_start_together_have_one_secret(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        found = pool.map(_secret, [tmp_path / "key"] * 40)
    assert len(set(found)) == 1
    assert found[0]
