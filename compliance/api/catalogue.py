"""The catalogue of problems: `problems.yaml`, read once.

Each problem has a code that scripts act on, an HTTP status, and words for the person who can mend it (RFC 9457).
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml
from django.conf import settings

FILE = Path(__file__).with_name("problems.yaml")


@dataclass(frozen=True, slots=True)
class Entry:
    """One kind of problem."""

    code: str
    status: int
    title: str
    detail: str
    mend: str

    @property
    def type(self) -> str:
        """The URI that names this kind for ever; it opens the page that explains it."""
        return f"{settings.METERPROOF['BASE_URL']}/docs/problems#{self.code}"


@cache
def entries() -> dict[str, Entry]:
    """All problems by code, in the order of the file."""
    return {code: Entry(code=code, **words) for code, words in yaml.safe_load(FILE.read_text("utf-8")).items()}


def entry(code: str) -> Entry:
    """The problem called `code`; `internal` for a code that nobody wrote words for, which a test forbids."""
    return entries().get(code) or entries()["internal"]
