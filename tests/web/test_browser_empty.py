"""An installation of this minute in Chromium: nothing was sent, nobody registered, no framework loaded.

First before its first checkpoint, then under it. As in `test_browser`, whatever the console says fails the test.
"""

from pathlib import Path

import pytest

from compliance.accounts.roles import PLATFORM
from compliance.accounts.selectors import organisation
from compliance.ledger import setup
from compliance.ledger.integrate import integrate
from compliance.ledger.publish import publish
from tests.accounts import world as accounts
from tests.web.world import World

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]
PAGES = {
    "/": "No checkpoint yet",
    "/meters": "No meters yet",
    "/frameworks": "No frameworks loaded",
    "/evidence": "No evidence yet",
    "/findings": "No findings",
    "/reports": "No reports yet",
}


@pytest.fixture(scope="module")
def world(module_folders: Path, committed: None) -> World:
    """A log and its first administrator, as `manage.py bootstrap` leaves them."""
    setup.create_log()
    platform = organisation(PLATFORM)
    assert platform is not None
    return World(module_folders, people={"anna": accounts.person("anna", platform, "administrator")})


@pytest.mark.parametrize("path", PAGES)
def test_an_empty_page_says_so_accessibly(chromium, path):
    with chromium.page("anna") as page:
        assert page.goto(path).status == 200
        assert PAGES[path] in page.inner_text("main")
        chromium.look_at(page)


def test_signing_in_before_and_under_the_first_checkpoint(chromium):
    with chromium.page(None) as page:
        page.goto("/login")
        assert "No checkpoint yet" in page.inner_text("aside")
        chromium.look_at(page)
    integrate()
    publish()
    with chromium.page("anna") as page:
        page.goto("/")
        assert "No checkpoint yet" not in page.inner_text("main")
        assert "The automatic checks have nothing open" in page.inner_text("main")
        chromium.look_at(page)
