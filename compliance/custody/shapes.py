"""The shape of an event's `data`, by the names that `fixtures/custody/data.yaml` explains.

A shape is compiled twice: into a msgspec type that answers "right" or "don't know" in microseconds, with a memory for
the subjects that events name again and again, and into functions that say what is wrong and where, asked only then.
Members that no shape names are kept as sent and not looked at: a sender may say more than we ask.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from typing import Annotated, Any, Literal

import msgspec

from compliance.custody import vocabulary

Problems = list[tuple[str, str]]
Checker = Callable[[Any, str, Problems], None]

MISSING = object()
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_DECIMAL = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,9})?")
_ORGANISATION = re.compile(r"[a-z][a-z0-9_]{1,30}")
_TIME = re.compile(
    r"(19[7-9][0-9]|[2-9][0-9]{3})-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
    r"T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,6})?Z"
)
_SUBJECT_VALUE = r"([A-Za-z0-9._~/+-]|%[0-9A-F]{2}){1,128}"
_SUBJECT = re.compile(rf"([a-z_]+):[a-z][a-z0-9_]{{0,31}}:{_SUBJECT_VALUE}")
_MAX_SUBJECT = 180  # bytes of a subject text, ledger format 2.8
_REMEMBERED_SUBJECTS = 65_536  # lots, sessions and types come back in every event of a shift; some ten megabytes

_PATTERNS = {
    "id": (_ID, "1 to 64 of A-Z a-z 0-9 . _ -"),
    "sha256": (_SHA256, "64 lower-case hex digits"),
    "decimal": (_DECIMAL, 'a decimal in text, such as "0.125"'),
    "organisation": (_ORGANISATION, "the id of an organisation"),
    "time": (_TIME, "a UTC time such as 2026-04-14T06:00:00Z"),
}


@dataclass(frozen=True, slots=True)
class DataShape:
    """Compiled shape of one event type."""

    checkers: Mapping[str, Checker]
    required: tuple[tuple[str, ...], ...]
    fast: type[msgspec.Struct]
    subjects: Mapping[str, Callable[[Any], bool]]  # members that the type takes for any text, or any list of texts

    def problems(self, data: Mapping[str, Any]) -> Problems:
        """What is wrong with `data`; empty when nothing is."""
        return [] if self.is_right(data) else self.explain(data)

    def is_right(self, data: Mapping[str, Any]) -> bool:
        """Whether `explain` would find nothing, told in microseconds."""
        try:
            msgspec.convert(data, self.fast)
        except msgspec.ValidationError:
            return False
        return all(name not in data or are_subjects(data[name]) for name, are_subjects in self.subjects.items())

    def explain(self, data: Mapping[str, Any]) -> Problems:
        """The same answer member by member, with the place of each problem."""
        found: Problems = []
        for path in self.required:
            _require(data, path, "", found)
        for name, value in data.items():
            checker = self.checkers.get(name)
            if checker is not None:
                checker(value, "/" + name, found)
        return found


@cache
def of(code: str) -> DataShape:
    """The shape of the event type `code`."""
    event_type = vocabulary.load().events[code]
    return compile_shape(event_type.shape, event_type.required_fields)


def compile_shape(shape: Mapping[str, Any], required_fields: tuple[str, ...]) -> DataShape:
    """Compile `shape`; `required_fields` may reach into the objects of a list (`keys[].role`)."""
    return DataShape(
        checkers={name: _compile(inner) for name, inner in shape.items()},
        required=tuple(tuple(name.split("[].")) for name in required_fields),
        fast=_struct("Data", {name: _looser(inner) for name, inner in shape.items()}, frozenset(required_fields)),
        subjects={name: _are_subjects(inner) for name, inner in shape.items() if _looser(inner) != inner},
    )


def missing(data: Mapping[str, Any], required_fields: tuple[str, ...]) -> list[str]:
    """Pointers below `data` of those of `required_fields` that are not there."""
    found: Problems = []
    for name in required_fields:
        _require(data, tuple(name.split("[].")), "", found)
    return [pointer for pointer, _ in found]


def _looser(shape: Any) -> Any:
    """A subject, or a list of them, as mere text: a pattern looked at for each costs more than all the rest."""
    if isinstance(shape, list):
        return [_looser(shape[0])]
    is_subject = isinstance(shape, str) and shape.startswith("subject") and not shape.endswith("?")
    return "any text" if is_subject else shape


def _are_subjects(shape: Any) -> Callable[[Any], bool]:
    """Whether a text, or each text of a list, is a subject of the kinds that `shape` names."""
    if isinstance(shape, list):
        inner = _are_subjects(shape[0])
        return lambda texts: all(map(inner, texts))
    return partial(_is_subject, shape.partition(":")[2])


@lru_cache(maxsize=_REMEMBERED_SUBJECTS)
def _is_subject(kinds: str, text: str) -> bool:
    match = _SUBJECT.fullmatch(text) if len(text) <= _MAX_SUBJECT else None
    return match is not None and (not kinds or match[1] in kinds.split("|"))


def _struct(name: str, members: Mapping[str, Any], required: frozenset[str]) -> type[msgspec.Struct]:
    """The msgspec type of an object with `members`; `required` may hold `list[].member` names for the objects below."""
    fields: list[Any] = []
    for member, shape in members.items():
        inner = frozenset(path.partition("[].")[2] for path in required if path.startswith(member + "[]."))
        if member in required or inner:
            fields.append((member, _type(shape, inner)))
        else:
            fields.append((member, _type(shape, inner) | msgspec.UnsetType, msgspec.UNSET))
    return msgspec.defstruct(name, fields, kw_only=True)


def _type(shape: Any, required: frozenset[str] = frozenset()) -> Any:
    if isinstance(shape, list):
        return list[_type(shape[0], required)]  # type: ignore[misc]
    if isinstance(shape, Mapping):
        return Literal[tuple(shape["one_of"])] if set(shape) == {"one_of"} else _struct("Item", shape, required)
    if shape.endswith("?"):
        return _type(shape[:-1]) | None
    if shape.startswith("subject"):
        kinds = shape.partition(":")[2] or "[a-z_]+"
        pattern = rf"\A({kinds}):[a-z][a-z0-9_]{{0,31}}:{_SUBJECT_VALUE}\Z"
        return Annotated[str, msgspec.Meta(pattern=pattern, max_length=_MAX_SUBJECT)]
    if shape in _PATTERNS:
        return Annotated[str, msgspec.Meta(pattern=rf"\A(?:{_PATTERNS[shape][0].pattern})\Z")]
    return _SIMPLE_TYPES[shape]


def _require(data: Mapping[str, Any], path: tuple[str, ...], place: str, found: Problems) -> None:
    name = path[0]
    pointer = f"{place}/{name}"
    if name not in data:
        if all(known != pointer for known, _ in found):
            found.append((pointer, "is missing"))
    elif len(path) > 1 and isinstance(data[name], list):
        for position, item in enumerate(data[name]):
            if isinstance(item, Mapping):
                _require(item, path[1:], f"{pointer}/{position}", found)


def _compile(shape: Any) -> Checker:
    if isinstance(shape, list):
        return _list_of(_compile(shape[0]))
    if isinstance(shape, Mapping):
        return _one_of(shape["one_of"]) if set(shape) == {"one_of"} else _object_of(shape)
    if shape.endswith("?"):
        return _or_null(_compile(shape[:-1]))
    if shape.startswith("subject"):
        kinds = shape.partition(":")[2]
        return _subject(frozenset(kinds.split("|")) if kinds else None)
    if shape in _PATTERNS:
        return _matching(*_PATTERNS[shape])
    return _SIMPLE[shape]


def _text(value: Any, pointer: str, found: Problems) -> None:
    if type(value) is not str or not value:
        found.append((pointer, "must be a text that is not empty"))


def _integer(value: Any, pointer: str, found: Problems) -> None:
    if type(value) is not int:
        found.append((pointer, "must be an integer"))


def _count(value: Any, pointer: str, found: Problems) -> None:
    if type(value) is not int or value < 0:
        found.append((pointer, "must be an integer from 0"))


def _boolean(value: Any, pointer: str, found: Problems) -> None:
    if type(value) is not bool:
        found.append((pointer, "must be true or false"))


def _any(value: Any, pointer: str, found: Problems) -> None:
    """Whatever the common rules of the formats allow."""


_SIMPLE: dict[str, Checker] = {"text": _text, "integer": _integer, "count": _count, "boolean": _boolean, "any": _any}
_SIMPLE_TYPES: dict[str, Any] = {
    "text": Annotated[str, msgspec.Meta(min_length=1)],
    "any text": str,
    "integer": int,
    "count": Annotated[int, msgspec.Meta(ge=0)],
    "boolean": bool,
    "any": Any,
}


def _matching(pattern: re.Pattern[str], says: str) -> Checker:
    match = pattern.fullmatch

    def check(value: Any, pointer: str, found: Problems) -> None:
        if type(value) is not str or not match(value):
            found.append((pointer, f"must be {says}"))

    return check


def _subject(kinds: frozenset[str] | None) -> Checker:
    says = "a subject text" if kinds is None else f"a subject text of {' or '.join(sorted(kinds))}"

    def check(value: Any, pointer: str, found: Problems) -> None:
        match = _SUBJECT.fullmatch(value) if type(value) is str and len(value) <= _MAX_SUBJECT else None
        if match is None or (kinds is not None and match[1] not in kinds):
            found.append((pointer, f"must be {says}"))

    return check


def _one_of(words: list[str]) -> Checker:
    allowed = frozenset(words)

    def check(value: Any, pointer: str, found: Problems) -> None:
        if type(value) is not str or value not in allowed:
            found.append((pointer, f"must be one of {', '.join(words)}"))

    return check


def _or_null(inner: Checker) -> Checker:
    def check(value: Any, pointer: str, found: Problems) -> None:
        if value is not None:
            inner(value, pointer, found)

    return check


def _list_of(inner: Checker) -> Checker:
    def check(value: Any, pointer: str, found: Problems) -> None:
        if type(value) is not list:
            found.append((pointer, "must be a list"))
            return
        for position, item in enumerate(value):
            inner(item, f"{pointer}/{position}", found)

    return check


def _object_of(members: Mapping[str, Any]) -> Checker:
    checkers = {name: _compile(shape) for name, shape in members.items()}

    def check(value: Any, pointer: str, found: Problems) -> None:
        if type(value) is not dict:
            found.append((pointer, "must be an object"))
            return
        for name, checker in checkers.items():
            if name in value:
                checker(value[name], f"{pointer}/{name}", found)

    return check
