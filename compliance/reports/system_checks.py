"""`manage.py check`: can reports be drawn here?"""

from typing import Any

from django.core.checks import CheckMessage, Warning  # noqa: A004 - Django's own name

from compliance.reports.rendering import libraries


def check_libraries(**_kwargs: Any) -> list[CheckMessage]:
    """W001: a system library is missing. Everything but reports works without it, so this is no error."""
    missing = libraries.missing()
    if not missing:
        return []
    files = ", ".join(library.file for library in missing)
    packages = " ".join(library.package for library in missing)
    return [
        Warning(
            f"Reports cannot be drawn: {files} not found.",
            hint=f"Install the system packages, on Debian and Ubuntu: apt-get install {packages}",
            id="reports.W001",
        )
    ]
