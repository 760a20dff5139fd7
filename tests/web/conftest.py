"""One world for a module of page tests, built through the real actions, and a browser that notices every violation.

The world is committed once a module and read by many tests, so that a page test costs milliseconds. Client tests that
write run in a transaction of their own (`db`) that is rolled back; browser tests talk to a live server.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.db import connection
from django.test import TransactionTestCase, override_settings
from django.test.utils import setup_databases, teardown_databases
from pytest_django.live_server_helper import LiveServer

from tests.conftest import FOLDERS
from tests.services.chromium import MISSING, find_chromium
from tests.web.browser import Browser
from tests.web.world import World, build_world

AXE = Path(__file__).parent / "vendor" / "axe.min.js"


@pytest.fixture(scope="module")
def module_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Every folder of the product below the module's own, for as long as the module runs."""
    folder = tmp_path_factory.mktemp("web")
    places = {name: folder / name.lower() for name in FOLDERS}
    with override_settings(METERPROOF={**django_settings.METERPROOF, **places}):
        yield folder


@pytest.fixture(autouse=True)
def folders(module_folders: Path) -> Path:
    """The module's folders, in the place of one per test."""
    return module_folders


@pytest.fixture(scope="session")
def database(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """The test database also when no collected test carries the mark by which pytest-django knows that it is needed.

    Once: a second one in the place of the first would meet the write-ahead log that a server's thread still holds open.
    """
    with django_db_blocker.unblock():
        made = (
            None
            if connection.introspection.table_names()
            else setup_databases(verbosity=0, interactive=False, serialized_aliases=())
        )
    yield
    if made is not None:
        with django_db_blocker.unblock():
            teardown_databases(made, verbosity=0)


@pytest.fixture(scope="module")
def committed(database: None, django_db_blocker: Any) -> Iterator[None]:
    """What the module writes is committed, and emptied after it."""
    with django_db_blocker.unblock():
        yield
        case = TransactionTestCase()
        case._fixture_teardown()


@pytest.fixture(scope="module")
def world(module_folders: Path, committed: None) -> World:
    """The world of `world.py`; a module with another one has a fixture of this name."""
    return build_world(module_folders)


@pytest.fixture(scope="module")
def server(world: World, django_db_blocker: Any) -> Iterator[str]:
    """A live server over the world; its address."""
    with django_db_blocker.unblock(), override_settings(ALLOWED_HOSTS=["127.0.0.1"]):
        live = LiveServer("127.0.0.1")
        yield live.url
        live.stop()


@pytest.fixture(scope="module")
def chromium(server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Chromium, pointed at the live server. Where there is none, its tests are skipped and say so."""
    executable = find_chromium()
    if executable is None:
        pytest.skip(MISSING)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")  # Playwright keeps an event loop in this thread
        with Browser.launch(
            executable, server, axe=AXE.read_text("utf-8"), home=tmp_path_factory.mktemp("home")
        ) as browser:
            yield browser
