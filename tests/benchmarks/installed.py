"""Letting a process be one of the installation that is measured."""

import os
from pathlib import Path

import django


def start_django(url: str, home: Path) -> None:
    """Set Django up for the database `url` and the folders in `home`; done once a process."""
    os.environ.update(
        DATABASE_URL=url, METERPROOF_VAR=str(home / "var"), DJANGO_SETTINGS_MODULE="tests.benchmarks.settings"
    )
    django.setup()
