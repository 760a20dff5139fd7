"""Reading settings from the environment, and secrets from files that only the owner may read."""

import os
import secrets
from pathlib import Path


def text(name: str, default: str = "") -> str:
    """Value of the environment variable `name`, or `default` when it is unset or empty."""
    return os.environ.get(name) or default


def flag(name: str, *, default: bool = False) -> bool:
    """True for 1, true, yes and on, in any case."""
    value = os.environ.get(name)
    return default if not value else value.lower() in {"1", "true", "yes", "on"}


def words(name: str, default: str = "") -> list[str]:
    """The comma separated values of `name`, blanks cut off, empty ones dropped."""
    return [word.strip() for word in text(name, default).split(",") if word.strip()]


def secret(name: str, path: Path) -> str:
    """The environment variable `name`, else the text in `path`, which is made (0600, random) when it is not there."""
    if value := os.environ.get(name):
        return value
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text().strip()
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_urlsafe(48))
    return path.read_text().strip()
