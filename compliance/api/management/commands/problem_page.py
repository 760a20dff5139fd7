"""`manage.py problem_page`: write docs/problems.md from the catalogue. A test fails while it is not current."""

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from compliance.api import catalogue

HEAD = """\
# Problems

<!-- Made by `manage.py problem_page` from compliance/api/problems.yaml. Do not edit here. -->

What the REST interface, the command line and the offline verifier may tell you, and what you can do about it. A code
never changes its meaning; scripts may act on it. The REST interface sends `application/problem+json` (RFC 9457) with
`type`, `title`, `status`, `detail`, `instance`, `code`, `mend` and, where several places are wrong, `errors`.

| Code | Status | What it means | What you can do |
|---|---|---|---|
"""


class Command(BaseCommand):
    """Write the page of problems."""

    help = "Write docs/problems.md from the catalogue of problems."

    def handle(self, *args: Any, **options: Any) -> None:
        """Write it."""
        path = page_path()
        path.write_text(page(), "utf-8")
        self.stdout.write(f"wrote {path.relative_to(settings.BASE_DIR)}")


def page_path() -> Path:
    """Where the page lies."""
    return Path(settings.BASE_DIR) / "docs" / "problems.md"


def page() -> str:
    """The page."""
    rows = [
        f"| `{problem.code}` | {problem.status} | **{problem.title}.** {problem.detail} | {problem.mend} |"
        for problem in catalogue.entries().values()
    ]
    return HEAD + "\n".join(row.replace("\n", " ") for row in rows) + "\n"
