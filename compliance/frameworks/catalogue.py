"""Reading catalogue files: YAML or JSON for frameworks and mapping sets, CSV for a plain list of requirements.

Pure: bytes in, checked dataclasses out, or a `CatalogueError` that names the file, the place in it and the remedy. The
shape is described in docs/frameworks.md; the files in fixtures/frameworks/ are examples of every part of it.
"""

import csv
import io
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import yaml

from compliance.frameworks.models import ASSESSABLE_KINDS, KINDS, Relationship, Verification

MAX_CATALOGUE_BYTES = 8 * 1024 * 1024  # ten times the largest public control catalogue; a bound, not a wish
CSV_COLUMNS = ("id", "title", "group", "kind", "summary", "verification", "source_ref")


class CatalogueError(Exception):
    """The file is not a catalogue we can load. `place` points into it, e.g. `requirements[12].group`."""

    def __init__(self, name: str, place: str, detail: str) -> None:
        super().__init__(f"{name}: {place}: {detail}" if place else f"{name}: {detail}")
        self.name, self.place, self.detail = name, place, detail


@dataclass(frozen=True, slots=True)
class GroupRow:
    """A chapter."""

    ref: str
    title: str
    parent: str | None
    path: str


@dataclass(frozen=True, slots=True)
class RequirementRow:
    """An item."""

    ref: str
    title: str
    group: str
    kind: str
    summary: str
    assessable: bool
    verification: str
    source_ref: str
    details: dict[str, Any]


@dataclass(frozen=True, slots=True)
class FrameworkFile:
    """A framework with its chapters and items."""

    name: str
    digest: str
    head: dict[str, Any]
    details: dict[str, Any]
    supersedes: tuple[str, str] | None
    groups: tuple[GroupRow, ...]
    requirements: tuple[RequirementRow, ...]


@dataclass(frozen=True, slots=True)
class MappingRow:
    """One mapping; ends are (framework key, requirement ref)."""

    ref: str
    source: tuple[str, str]
    target: tuple[str, str]
    relationship: str
    rationale: str
    rationale_type: str
    confidence: str
    details: dict[str, Any]
    place: str


@dataclass(frozen=True, slots=True)
class MappingFile:
    """A mapping set."""

    name: str
    digest: str
    head: dict[str, Any]
    details: dict[str, Any]
    mappings: tuple[MappingRow, ...]


@dataclass(frozen=True, slots=True)
class DocumentsFile:
    """A list of reference documents."""

    name: str
    digest: str
    documents: tuple[dict[str, str], ...]


CatalogueFile = FrameworkFile | MappingFile | DocumentsFile


@dataclass(frozen=True, slots=True)
class ListHead:
    """What a CSV list cannot say about itself."""

    key: str
    title: str
    edition: str
    publisher: str
    url: str = ""
    licence_note: str = ""
    supersedes: str = ""
    details: dict[str, Any] = field(default_factory=dict)


def read_file(path: Path, *, list_head: ListHead | None = None) -> CatalogueFile:
    """The catalogue in `path`. A `.csv` needs `list_head`; every other file says what it is itself."""
    try:
        data = path.read_bytes()
    except OSError as problem:
        raise CatalogueError(path.name, "", f"cannot be read: {problem.strerror}") from problem
    if path.suffix.lower() == ".csv":
        if list_head is None:
            raise CatalogueError(path.name, "", "a CSV list needs --key, --title, --edition and --publisher")
        return read_list(data, name=path.name, head=list_head)
    return read_catalogue(data, name=path.name)


def read_catalogue(data: bytes, *, name: str) -> CatalogueFile:
    """The framework, mapping set or list of documents in the YAML or JSON text `data`."""
    document = _parse(data, name)
    digest = sha256(data).hexdigest()
    if "framework" in document:
        return _framework(document, name, digest)
    if "mapping_set" in document:
        return _mapping_set(document, name, digest)
    if "documents" in document:
        return _documents(document, name, digest)
    raise CatalogueError(name, "", "holds neither `framework`, `mapping_set` nor `documents`")


def read_list(data: bytes, *, name: str, head: ListHead) -> FrameworkFile:
    """A framework from a CSV list with the columns of `CSV_COLUMNS`; `id` and `title` must be filled in each line.

    Groups come into being by being named; their title is their name.
    """
    _bounded(data, name)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise CatalogueError(name, f"byte {problem.start}", "is not UTF-8; save the list as CSV UTF-8") from problem
    groups: dict[str, dict[str, str]] = {}
    requirements: list[dict[str, Any]] = []
    for line, row in _csv_rows(text, name):
        if None in row or None in row.values():
            raise CatalogueError(name, f"line {line}", "has not exactly as many fields as line 1")
        filled = {key: value.strip() for key, value in row.items() if value.strip()}
        group = filled.setdefault("group", "all")
        groups.setdefault(group, {"id": group[:64], "title": group})
        filled["group"] = group[:64]
        filled.setdefault("kind", "control")
        filled.setdefault("verification", Verification.VERIFIED_SECONDARY)
        filled.setdefault("source_ref", f"{head.title} {head.edition}, {filled.get('id', '')}")
        requirements.append(filled)
    document = {
        "framework": {
            "id": head.key,
            "title": head.title,
            "version": head.edition,
            "publisher": head.publisher,
            "url": head.url or None,
            "licence_note": head.licence_note
            or "Imported by the operator of this installation, who answers for the right to.",
            "verification": "As each line says; imported from a list.",
            **({"supersedes": head.supersedes} if head.supersedes else {}),
            **head.details,
        },
        "groups": list(groups.values()),
        "requirements": requirements,
    }
    return _framework(document, name, sha256(data).hexdigest())


def _csv_rows(text: str, name: str) -> Iterator[tuple[int, dict[Any, Any]]]:
    """Line number and fields of each line after the first, which names the columns."""
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    known = ", ".join(CSV_COLUMNS)
    try:
        columns = list(reader.fieldnames or [])
        for wanted in ("id", "title"):
            if wanted not in columns:
                raise CatalogueError(name, "line 1", f"has no column `{wanted}`; the columns are {known}")
        if unknown := [column for column in columns if column not in CSV_COLUMNS]:
            raise CatalogueError(name, "line 1", f"has the unknown column `{unknown[0]}`; known are {known}")
        for row in reader:
            yield reader.line_num, row
    except csv.Error as problem:
        raise CatalogueError(name, f"line {reader.line_num}", f"is not CSV: {problem}") from problem


class _UniqueNames(yaml.CSafeLoader if hasattr(yaml, "CSafeLoader") else yaml.SafeLoader):  # type: ignore[misc]
    """Plain YAML without the second value of a repeated name winning silently."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                raise yaml.constructor.ConstructorError(None, None, "a name must be text", key_node.start_mark)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"`{key}` is said twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def _bounded(data: bytes, name: str) -> None:
    if len(data) > MAX_CATALOGUE_BYTES:
        raise CatalogueError(name, "", f"is larger than {MAX_CATALOGUE_BYTES} bytes")


def _parse(data: bytes, name: str) -> dict[str, Any]:
    _bounded(data, name)
    try:
        document = yaml.load(data, Loader=_UniqueNames)  # noqa: S506 - a subclass of the safe loader
    except yaml.MarkedYAMLError as problem:
        mark = problem.problem_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise CatalogueError(name, place, problem.problem or "is not YAML") from problem
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as problem:
        raise CatalogueError(name, "", f"is not YAML: {problem}") from problem
    if not isinstance(document, dict):
        raise CatalogueError(name, "", "is not an object")
    return document


class _Reader:
    """Takes members out of one object and complains with its place."""

    def __init__(self, name: str, place: str, value: Any) -> None:
        if not isinstance(value, Mapping):
            raise CatalogueError(name, place, "must be an object")
        self.name, self.place = name, place
        self.rest = dict(value)

    def text(self, member: str, *, longest: int = 100_000) -> str:
        value = self.rest.pop(member, None)
        if value is None or value == "":
            raise CatalogueError(self.name, f"{self.place}.{member}", "is missing")
        return self._checked(member, value, longest)

    def optional(self, member: str, *, longest: int = 100_000) -> str:
        value = self.rest.pop(member, None)
        return "" if value is None else self._checked(member, value, longest)

    def flag(self, member: str, *, default: bool) -> bool:
        value = self.rest.pop(member, default)
        if not isinstance(value, bool):
            raise CatalogueError(self.name, f"{self.place}.{member}", "must be true or false")
        return value

    def one_of(self, member: str, allowed: Sequence[str] | frozenset[str]) -> str:
        value = self.text(member)
        if value not in allowed:
            known = ", ".join(sorted(allowed))
            raise CatalogueError(self.name, f"{self.place}.{member}", f"`{value}` is none of: {known}")
        return value

    def _checked(self, member: str, value: Any, longest: int) -> str:
        if not isinstance(value, str):
            raise CatalogueError(self.name, f"{self.place}.{member}", f"must be text; write it in quotes: '{value}'")
        if len(value) > longest:
            raise CatalogueError(self.name, f"{self.place}.{member}", f"is longer than {longest} characters")
        return value


def _rows(document: Mapping[str, Any], member: str, name: str) -> Iterator[_Reader]:
    rows = document.get(member)
    if not isinstance(rows, list) or not rows:
        raise CatalogueError(name, member, "must be a list with at least one item")
    for position, row in enumerate(rows):
        yield _Reader(name, f"{member}[{position}]", row)


def _head(reader: _Reader) -> dict[str, Any]:
    key = reader.text("id", longest=64)
    if not all(part.isalnum() for part in key.split("-")) or key != key.lower():
        raise CatalogueError(reader.name, f"{reader.place}.id", "must be lower-case letters, digits and single hyphens")
    return {"key": key, "title": reader.text("title", longest=300)}


def _framework(document: dict[str, Any], name: str, digest: str) -> FrameworkFile:
    if unknown := set(document) - {"framework", "groups", "requirements"}:
        raise CatalogueError(name, min(unknown), "is not a member of a framework file")
    reader = _Reader(name, "framework", document["framework"])
    head = _head(reader) | {
        "edition": reader.text("version", longest=64),
        "publisher": reader.text("publisher", longest=200),
        "published": reader.optional("published", longest=20),
        "url": reader.optional("url", longest=500),
        "licence_note": reader.text("licence_note"),
        "verification": reader.text("verification"),
        "editorial": reader.flag("editorial", default=False),
        "status": reader.optional("status"),
        "completeness": reader.optional("completeness"),
    }
    supersedes = reader.optional("supersedes")
    predecessor = None
    if supersedes:
        key, separator, edition = supersedes.partition("@")
        if not separator:
            raise CatalogueError(name, "framework.supersedes", "must be <framework id>@<version>")
        predecessor = (key, edition)
    groups = _groups(document, name)
    known = {group.ref for group in groups}
    requirements: list[RequirementRow] = []
    seen: dict[str, str] = {}
    for row in _rows(document, "requirements", name):
        ref = row.text("id", longest=64)
        if ref in seen:
            raise CatalogueError(name, f"{row.place}.id", f"`{ref}` is already the id of {seen[ref]}")
        seen[ref] = row.place
        group = row.text("group", longest=64)
        if group not in known:
            raise CatalogueError(name, f"{row.place}.group", f"`{group}` is not a group of this file")
        kind = row.one_of("kind", KINDS)
        requirements.append(
            RequirementRow(
                ref=ref,
                title=row.text("title", longest=400),
                group=group,
                kind=kind,
                summary=row.optional("summary"),
                assessable=row.flag("assessable", default=kind in ASSESSABLE_KINDS),
                verification=row.one_of("verification", Verification.values),
                source_ref=row.optional("source_ref"),
                details=row.rest,
            )
        )
    return FrameworkFile(name, digest, head, reader.rest, predecessor, groups, tuple(requirements))


def _groups(document: dict[str, Any], name: str) -> tuple[GroupRow, ...]:
    groups: dict[str, GroupRow] = {}
    for row in _rows(document, "groups", name):
        ref, title, parent = row.text("id", longest=64), row.text("title", longest=300), row.optional("parent") or None
        if ref in groups:
            raise CatalogueError(name, f"{row.place}.id", f"`{ref}` is there twice")
        if parent is not None and parent not in groups:
            raise CatalogueError(name, f"{row.place}.parent", f"`{parent}` is not a group above this one")
        if row.rest:
            raise CatalogueError(name, f"{row.place}.{min(row.rest)}", "is not a member of a group")
        path = f"{groups[parent].path}{ref}/" if parent is not None else f"/{ref}/"
        groups[ref] = GroupRow(ref, title, parent, path)
    return tuple(groups.values())


def _mapping_set(document: dict[str, Any], name: str, digest: str) -> MappingFile:
    if unknown := set(document) - {"mapping_set", "mappings"}:
        raise CatalogueError(name, min(unknown), "is not a member of a mapping file")
    reader = _Reader(name, "mapping_set", document["mapping_set"])
    head = _head(reader) | {
        "edition": reader.optional("version", longest=64) or "1",
        "published": reader.optional("published", longest=20),
        "editorial": reader.flag("editorial", default=True),
        "verification": reader.optional("verification"),
        "note": reader.optional("note") or reader.optional("status"),
    }
    mappings: list[MappingRow] = []
    seen: set[str] = set()
    for position, row in enumerate(_rows(document, "mappings", name)):
        if "blocked_until" in row.rest:
            raise CatalogueError(name, row.place, f"is blocked until {row.rest['blocked_until']}")
        ref = row.optional("id", longest=64) or f"{position + 1:04d}"
        if ref in seen:
            raise CatalogueError(name, f"{row.place}.id", f"`{ref}` is there twice")
        seen.add(ref)
        mappings.append(
            MappingRow(
                ref=ref,
                source=_end(row, "source"),
                target=_end(row, "target"),
                relationship=row.one_of("relationship", Relationship.values),
                rationale=row.optional("rationale"),
                rationale_type=row.optional("rationale_type", longest=20),
                confidence=row.optional("confidence", longest=10),
                details=row.rest,
                place=row.place,
            )
        )
    return MappingFile(name, digest, head, reader.rest, tuple(mappings))


def _end(row: _Reader, member: str) -> tuple[str, str]:
    value = row.rest.pop(member, None)
    if isinstance(value, str) and ":" in value:
        framework, _, requirement = value.partition(":")
        return framework, requirement
    end = _Reader(row.name, f"{row.place}.{member}", value)
    return end.text("framework"), end.text("requirement")


def _documents(document: dict[str, Any], name: str, digest: str) -> DocumentsFile:
    documents = tuple(
        {
            "key": row.text("id", longest=64),
            "title": row.text("title", longest=400),
            "edition": row.optional("version", longest=200),
            "url": row.optional("url", longest=500),
            "why": row.optional("why"),
            "verification": row.optional("verification"),
        }
        for row in _rows(document, "documents", name)
    )
    return DocumentsFile(name, digest, documents)
