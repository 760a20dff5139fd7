"""The auditor at the review form: signs in like a person with a browser, looks, decides."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import httpx

from compliance.demo.papers import Paper

REASONS = {
    "accept": "Read in full; dates, scope and signatures fit what it is linked to.",
    "return": "The period is not stated in the document itself. Please send a version that says it.",
}
_TOKEN = re.compile(r'name="csrfmiddlewaretoken" value="([A-Za-z0-9]+)"')


class ReviewFailed(Exception):
    """A page did not answer as a browser would need it to."""


@dataclass(slots=True)
class Auditor:
    """A signed-in auditor."""

    pages: httpx.Client
    token: str

    @classmethod
    def sign_in(cls, address: str, *, username: str, password: str) -> Self:
        """Go where the sign-in page is, and sign in."""
        pages = httpx.Client(base_url=address, follow_redirects=True, timeout=60)
        form = pages.get("/evidence")
        answer = pages.post(
            str(form.url),
            data={"csrfmiddlewaretoken": _token(form), "username": username, "password": password},
        )
        token = pages.cookies.get("csrftoken")
        if not answer.is_success or "sessionid" not in pages.cookies or token is None:
            raise ReviewFailed(f"{username} cannot sign in at {form.url}: {answer.status_code}")
        return cls(pages, token)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.pages.close()

    def decide(self, evidence: Mapping[str, Paper], *, advance: Callable[[int], None]) -> dict[str, int]:
        """Accept, return or leave each file as its verdict says. Returns how many of each."""
        counts = {"accept": 0, "return": 0, "": 0}
        for evidence_id, paper in evidence.items():
            if paper.verdict:
                self._submit(evidence_id, paper.verdict)
            counts[paper.verdict] += 1
            advance(1)
        return counts

    def _submit(self, evidence_id: str, verdict: str) -> None:
        answer = self.pages.post(
            f"/evidence/{evidence_id}",
            data={"csrfmiddlewaretoken": self.token, "decision": verdict, "reason": REASONS[verdict]},
            follow_redirects=False,
        )
        if answer.is_redirect:
            return
        page = self.pages.get(f"/evidence/{evidence_id}")
        decided = page.is_success and 'name="decision"' not in page.text  # an earlier run decided it
        if not decided:
            raise ReviewFailed(f"the review of {evidence_id} was not taken: {answer.status_code}")


def _token(page: httpx.Response) -> str:
    match = _TOKEN.search(page.text)
    if match is None:
        raise ReviewFailed(f"{page.url} has no form ({page.status_code})")
    return match.group(1)
