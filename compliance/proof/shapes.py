"""The shapes that members of our documents have: hashes, ids, codes, integers. Each says yes or no, never raises."""

import re
from functools import lru_cache
from typing import Final, TypeGuard

from compliance.proof.strict_json import MAX_INTEGER

MAX_TYPE_CHARACTERS: Final = 64

_id = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}").fullmatch
_event_id = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}").fullmatch
_type = re.compile(r"[a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)+").fullmatch
_hash = re.compile(r"[0-9a-f]{64}").fullmatch
_slug = re.compile(r"[a-z][a-z0-9_.-]{0,63}").fullmatch


def is_hash(value: object) -> TypeGuard[str]:
    """64 lower-case hex digits."""
    return type(value) is str and _hash(value) is not None


def is_id(value: object) -> TypeGuard[str]:
    """1-64 of `A-Z a-z 0-9 . _ -`, the first a letter or digit."""
    return type(value) is str and _id(value) is not None


def is_event_id(value: object) -> TypeGuard[str]:
    """As an id, colons allowed."""
    return type(value) is str and _event_id(value) is not None


def is_event_type(value: object) -> TypeGuard[str]:
    """A code of the vocabulary, like `mfg.assembled`."""
    return type(value) is str and len(value) <= MAX_TYPE_CHARACTERS and _is_type_code(value)


def is_slug(value: object) -> TypeGuard[str]:
    """A problem's name."""
    return type(value) is str and _slug(value) is not None


def is_integer(value: object, least: int = 0, most: int = MAX_INTEGER) -> TypeGuard[int]:
    """An integer (never a boolean) from `least` to `most`."""
    return type(value) is int and least <= value <= most


@lru_cache(maxsize=1024)
def _is_type_code(text: str) -> bool:
    return _type(text) is not None
