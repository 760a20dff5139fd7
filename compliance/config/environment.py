"""Reading settings from the environment, and secrets from files that only the owner may read."""

import json
import os
import secrets
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured


def text(name: str, default: str = "") -> str:
    """Value of the environment variable `name`, or `default` when it is unset or empty."""
    return os.environ.get(name) or default


def flag(name: str, *, default: bool = False) -> bool:
    """True for 1, true, yes and on, in any case."""
    value = os.environ.get(name)
    return default if not value else value.lower() in {"1", "true", "yes", "on"}


def number(name: str, default: int = 0) -> int:
    """The whole number from 0 in `name`. Raises ImproperlyConfigured for anything else."""
    value = text(name, str(default))
    if not (value.isascii() and value.isdigit()):
        raise ImproperlyConfigured(f"{name} must be a whole number from 0, not {value!r}")
    return int(value)


def words(name: str, default: str = "") -> list[str]:
    """The comma separated values of `name`, blanks cut off, empty ones dropped."""
    return [word.strip() for word in text(name, default).split(",") if word.strip()]


def objects(name: str) -> list[dict[str, Any]]:
    """The JSON list of objects in `name`; empty when it is unset. Raises ImproperlyConfigured for anything else."""
    try:
        value = json.loads(text(name, "[]"))
    except json.JSONDecodeError as error:
        raise ImproperlyConfigured(f"{name} is not JSON: {error}") from None
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise ImproperlyConfigured(f'{name} must be a JSON list of objects, as [{{"url": "…"}}]')
    return value


def secret(name: str, path: Path) -> str:
    """The environment variable `name`, else the text in `path`, which is made (0600, random) when it is not there."""
    if value := os.environ.get(name):
        return value
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not path.exists():
        _write_once(path, secrets.token_urlsafe(48))
    return path.read_text().strip()


def _write_once(path: Path, content: str) -> None:
    """Of two processes that start together one wins, and nobody ever reads half of it."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(content)
    try:
        os.link(draft, path)
    except FileExistsError:
        return
    finally:
        draft.unlink()
