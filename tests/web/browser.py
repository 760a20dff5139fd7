"""A browser for page tests: signs in, opens pages in the themes and widths asked for, and keeps whatever went wrong.

Two kinds of context: a strict one, in which every console message of level error or warning, every failed request and
every page error fails the test (that is how a violation of the Content-Security-Policy shows), and one that bypasses
the policy so that axe-core can be put into the page.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser as Chromium
from playwright.sync_api import Page, sync_playwright

from tests.accounts.world import PASSWORD

AXE_TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
WIDE, NARROW, NARROWEST = 1440, 390, 320
HEIGHT = 1000


@dataclass
class Browser:
    """Chromium and who is signed in."""

    chromium: Chromium
    server: str
    axe: str
    states: dict[str, Any] = field(default_factory=dict)

    @classmethod
    @contextmanager
    def launch(cls, executable: str, server: str, *, axe: str, home: Path) -> Iterator["Browser"]:
        """Start it with a home of its own, and end it afterwards. Root needs --no-sandbox."""
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        with sync_playwright() as playwright:
            chromium = playwright.chromium.launch(
                executable_path=executable, args=arguments, env={**os.environ, "HOME": str(home)}
            )
            yield cls(chromium, server, axe)
            chromium.close()

    def state_of(self, username: str) -> Any:
        """Cookies of somebody who signed in through the page."""
        if username not in self.states:
            context = self.chromium.new_context()
            page = context.new_page()
            page.goto(f"{self.server}/login")
            page.fill("#id_username", username)
            page.fill("#id_password", PASSWORD)
            page.click("button[type=submit]")
            page.wait_for_selector("h1")
            assert not page.url.endswith("/login"), page.inner_text("main")
            self.states[username] = context.storage_state()
            context.close()
        return self.states[username]

    @contextmanager
    def page(
        self,
        username: str | None,
        *,
        width: int = WIDE,
        theme: str = "light",
        script: bool = True,
        strict: bool = True,
        allowed: tuple[str, ...] = (),
    ) -> Iterator[Page]:
        """A page for `username`; in a strict one, nothing may go wrong but what `allowed` names."""
        context = self.chromium.new_context(
            viewport={"width": width, "height": HEIGHT},
            color_scheme=theme,  # type: ignore[arg-type]
            reduced_motion="reduce",
            java_script_enabled=script,
            bypass_csp=not strict,
            base_url=self.server,
            storage_state=self.state_of(username) if username else None,
        )
        page = context.new_page()
        wrong: list[str] = []
        page.on("console", lambda said: wrong.append(said.text) if said.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("requestfailed", lambda request: wrong.append(f"{request.url}: {request.failure}"))
        yield page
        context.close()
        if strict:
            unexpected = [line for line in wrong if not any(words in line for words in allowed)]
            assert not unexpected, unexpected

    def look_at(self, page: Page) -> None:
        """Fail unless axe-core has nothing against the page, light and wide or dark and narrow, and it fits."""
        assert not (found := self.axe_violations(page)), found
        page.emulate_media(color_scheme="dark")
        page.set_viewport_size({"width": NARROW, "height": HEIGHT})
        assert not (found := self.axe_violations(page)), found
        page.set_viewport_size({"width": NARROWEST, "height": HEIGHT})
        sideways = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
        assert not page.evaluate(sideways), f"{page.url} runs sideways"

    def axe_violations(self, page: Page) -> list[str]:
        """What axe-core has against the page as it stands, one line each."""
        page.evaluate("document.fonts.ready.then(() => null)")
        if not page.evaluate("'axe' in window"):
            page.evaluate(self.axe)
        run = (
            "tags => axe.run(document, {runOnly: tags, resultTypes: ['violations']}).then(result => result.violations)"
        )
        found = page.evaluate(run, AXE_TAGS)
        return [
            f"{each['id']}: {each['help']}: {node['html'][:160]} {node['failureSummary'][:200]}"
            for each in found
            for node in each["nodes"]
        ]
