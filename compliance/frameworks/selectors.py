"""Reading frameworks, requirements and mappings. Catalogues are public to everyone who may sign in."""

from collections.abc import Iterable

from django.db.models import Count, Max, Q, QuerySet

from compliance.frameworks.models import Framework, Mapping, MappingSet, ReferenceDocument, Requirement


def frameworks() -> QuerySet[Framework]:
    """The current edition of each framework: the one loaded last under its key. Counts what it holds."""
    current = Framework.objects.values("key").annotate(last=Max("pk")).values("last")
    return Framework.objects.filter(pk__in=current).annotate(
        requirement_count=Count("requirements"),
        assessable_count=Count("requirements", filter=Q(requirements__assessable=True)),
    )


def framework(key: str, *, edition: str | None = None) -> Framework:
    """The framework `key` in its current or the given edition. Raises Framework.DoesNotExist."""
    if edition is not None:
        return Framework.objects.get(key=key, edition=edition)
    found = Framework.objects.filter(key=key).order_by("-pk").first()
    if found is None:
        raise Framework.DoesNotExist(f"no framework `{key}` is loaded")
    return found


def editions(key: str) -> QuerySet[Framework]:
    """Every loaded edition of `key`, the current one first."""
    return Framework.objects.filter(key=key).order_by("-pk")


def requirements(framework: Framework) -> QuerySet[Requirement]:
    """The items of `framework` in the order of its publisher, each with its chapter."""
    return Requirement.objects.filter(framework=framework).select_related("framework", "group").order_by("position")


def requirement(reference: str) -> Requirement:
    """The requirement cited as `<framework key>:<ref>`, in the current edition. Raises Requirement.DoesNotExist."""
    key, _, ref = reference.partition(":")
    found = (
        Requirement.objects.filter(framework__key=key, ref=ref)
        .select_related("framework", "group")
        .order_by("-framework_id")
        .first()
    )
    if found is None:
        raise Requirement.DoesNotExist(f"no loaded framework holds `{reference}`")
    return found


def known_references(references: Iterable[str]) -> set[str]:
    """Those of `references` that some loaded framework holds, in one query."""
    wanted = {reference.partition(":")[::2] for reference in references}
    rows = Requirement.objects.filter(
        framework__key__in={key for key, _ in wanted}, ref__in={ref for _, ref in wanted}
    ).values_list("framework__key", "ref")
    return {f"{key}:{ref}" for key, ref in rows if (key, ref) in wanted}


def mappings_of(requirement: Requirement) -> QuerySet[Mapping]:
    """Every mapping that has `requirement` at either end."""
    return _with_ends(Mapping.objects.filter(Q(source=requirement) | Q(target=requirement)))


def mappings_touching(framework: Framework) -> QuerySet[Mapping]:
    """Every mapping with an end in `framework`."""
    return _with_ends(Mapping.objects.filter(Q(source__framework=framework) | Q(target__framework=framework)))


def mapping_sets() -> QuerySet[MappingSet]:
    """All loaded mapping sets with the number of their rows."""
    return MappingSet.objects.annotate(mapping_count=Count("mappings"))


def reference_documents() -> QuerySet[ReferenceDocument]:
    """Documents worth knowing whose items are not catalogued."""
    return ReferenceDocument.objects.all()


def _with_ends(mappings: QuerySet[Mapping]) -> QuerySet[Mapping]:
    return mappings.select_related(
        "mapping_set", "source", "source__framework", "target", "target__framework"
    ).order_by("mapping_set__key", "pk")
