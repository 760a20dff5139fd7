"""docs/operators/settings.md lists every setting that the product reads from the environment."""

import re
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
ELSEWHERE = {
    "METERPROOF_FAIL_AT",  # for tests of crashes
    "METERPROOF_SERVER",  # of the client, which has a page of its own
    "METERPROOF_HOME",
    "METERPROOF_API_KEY",
}


def test_every_setting_is_listed() -> None:
    sources = [path.read_text() for path in sorted((PROJECT / "compliance").rglob("*.py"))]
    read = {
        name
        for source in sources
        for name in re.findall(r'"((?:METERPROOF|DJANGO)_[A-Z_]+|DATABASE_URL|CELERY_BROKER_URL)"', source)
    }
    listed = set(re.findall(r"(?m)^\| `([A-Z_]+)` \|", (PROJECT / "docs/operators/settings.md").read_text()))
    assert {"METERPROOF_VAR", "DJANGO_DEBUG", "DATABASE_URL"} <= read
    assert read - ELSEWHERE == listed
