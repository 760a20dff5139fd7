"""Loading catalogues: an edition is written once, whole, in one transaction, and never changed.

Loading the same file again does nothing. Other content under the same key and edition is refused: an auditor who relied
on an edition must find it unchanged, so new content takes a new edition.
"""

from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from django.conf import settings
from django.db import transaction

from compliance.frameworks.catalogue import (
    CatalogueError,
    CatalogueFile,
    DocumentsFile,
    FrameworkFile,
    GroupRow,
    MappingFile,
    read_file,
)
from compliance.frameworks.models import Framework, Group, Mapping, MappingSet, ReferenceDocument, Requirement
from compliance.jobs import clock


@dataclass(frozen=True, slots=True)
class Loaded:
    """What became of one file."""

    name: str
    what: str
    digest: str
    rows: int
    was_there: bool


def shipped_catalogues() -> list[Path]:
    """The catalogue files that come with the product; frameworks, before mappings, which point at them."""
    files = sorted((Path(settings.BASE_DIR) / "fixtures" / "frameworks").glob("*.yaml"))
    return sorted(files, key=lambda path: ("mapping" in path.name or "-to-" in path.name, path.name))


def load_shipped() -> list[Loaded]:
    """Load every shipped catalogue; what is there already stays as it is. All or nothing."""
    with transaction.atomic():
        return [load(read_file(path)) for path in shipped_catalogues()]


@transaction.atomic
def load(file: CatalogueFile) -> Loaded:
    """Write `file` into the database. Raises CatalogueError where it contradicts what is there or points nowhere."""
    match file:
        case FrameworkFile():
            return _load_framework(file)
        case MappingFile():
            return _load_mappings(file)
        case DocumentsFile():
            return _load_documents(file)


def _load_framework(file: FrameworkFile) -> Loaded:
    key, edition = file.head["key"], file.head["edition"]
    what = f"{key} {edition}"
    existing = Framework.objects.filter(key=key, edition=edition).first()
    if existing is not None:
        _require_same(existing.digest, file, what)
        return Loaded(file.name, what, file.digest, existing.requirements.count(), was_there=True)
    supersedes = _predecessor(file)
    framework = Framework.objects.create(
        **file.head, details=file.details, supersedes=supersedes, digest=file.digest, loaded_at=clock.now()
    )
    groups: dict[str, Group] = {}
    by_depth = groupby(sorted(enumerate(file.groups), key=_depth), key=_depth)
    for _, rows in by_depth:
        chapters = Group.objects.bulk_create(
            Group(
                framework=framework,
                parent=groups[row.parent] if row.parent else None,
                ref=row.ref,
                title=row.title,
                path=row.path,
                position=position,
            )
            for position, row in rows
        )
        groups |= {chapter.ref: chapter for chapter in chapters}
    Requirement.objects.bulk_create(
        Requirement(
            framework=framework,
            group=groups[row.group],
            ref=row.ref,
            kind=row.kind,
            title=row.title,
            summary=row.summary,
            assessable=row.assessable,
            verification=row.verification,
            source_ref=row.source_ref,
            details=row.details,
            position=position,
        )
        for position, row in enumerate(file.requirements)
    )
    return Loaded(file.name, what, file.digest, len(file.requirements), was_there=False)


def _load_mappings(file: MappingFile) -> Loaded:
    key, edition = file.head["key"], file.head["edition"]
    what = f"{key} {edition}"
    existing = MappingSet.objects.filter(key=key, edition=edition).first()
    if existing is not None:
        _require_same(existing.digest, file, what)
        return Loaded(file.name, what, file.digest, existing.mappings.count(), was_there=True)
    ends = {end for row in file.mappings for end in (row.source, row.target)}
    # Ascending pk: of several editions of a framework the one loaded last wins.
    known = {
        (framework, ref): pk
        for pk, framework, ref in Requirement.objects.filter(framework__key__in={framework for framework, _ in ends})
        .order_by("framework_id", "pk")
        .values_list("pk", "framework__key", "ref")
    }
    for row in file.mappings:
        for member, end in (("source", row.source), ("target", row.target)):
            if end not in known:
                raise CatalogueError(
                    file.name, f"{row.place}.{member}", f"no loaded framework holds {end[0]}:{end[1]}; load it first"
                )
    mapping_set = MappingSet.objects.create(
        **file.head, details=file.details, digest=file.digest, loaded_at=clock.now()
    )
    Mapping.objects.bulk_create(
        Mapping(
            mapping_set=mapping_set,
            ref=row.ref,
            source_id=known[row.source],
            target_id=known[row.target],
            relationship=row.relationship,
            rationale=row.rationale,
            rationale_type=row.rationale_type,
            confidence=row.confidence,
            details=row.details,
        )
        for row in file.mappings
    )
    return Loaded(file.name, what, file.digest, len(file.mappings), was_there=False)


def _load_documents(file: DocumentsFile) -> Loaded:
    known = set(ReferenceDocument.objects.values_list("key", flat=True))
    new = [ReferenceDocument(**row) for row in file.documents if row["key"] not in known]
    ReferenceDocument.objects.bulk_create(new)
    return Loaded(file.name, "reference documents", file.digest, len(file.documents), was_there=not new)


def _depth(row: tuple[int, GroupRow]) -> int:
    return row[1].path.count("/")


def _predecessor(file: FrameworkFile) -> Framework | None:
    if file.supersedes is None:
        return None
    key, edition = file.supersedes
    predecessor = Framework.objects.filter(key=key, edition=edition).first()
    if predecessor is None:
        raise CatalogueError(file.name, "framework.supersedes", f"{key}@{edition} is not loaded")
    return predecessor


def _require_same(digest: str, file: FrameworkFile | MappingFile, what: str) -> None:
    if digest != file.digest:
        raise CatalogueError(
            file.name,
            "",
            f"{what} is loaded with other content (SHA-256 {digest[:16]}… there, {file.digest[:16]}… here). "
            "An edition never changes: give the new content another `version`",
        )
