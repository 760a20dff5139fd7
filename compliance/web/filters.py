"""List filters as a GET form: what was chosen, what each choice would give, and the address without it.

All state is in the address, so that a view can be saved, sent and reloaded, and works without script.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Count, Q, QuerySet
from django.http import QueryDict

from compliance.web.paging import address_without

MAX_SEARCH_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Facet:
    """One group of checkboxes: the name in the address, its heading, and the condition behind each value."""

    name: str
    heading: str
    conditions: Mapping[str, Q]
    words: Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Choice:
    """One checkbox with the number of rows it stands for, under the other filters."""

    value: str
    words: str
    count: int
    checked: bool


@dataclass(frozen=True, slots=True)
class Choices:
    """One group of checkboxes as drawn."""

    name: str
    heading: str
    choices: list[Choice]


@dataclass(frozen=True, slots=True)
class Chip:
    """A filter in force, and the address without it."""

    words: str
    url: str


@dataclass(frozen=True, slots=True)
class Filtered:
    """A filtered list with everything its form shows."""

    rows: QuerySet[Any]
    search: str
    groups: list[Choices]
    chips: list[Chip]

    @property
    def is_filtered(self) -> bool:
        """Whether any filter is in force."""
        return bool(self.chips)


def filtered(
    queryset: QuerySet[Any], query: QueryDict, *, facets: Sequence[Facet], search: Callable[[str], Q] | None = None
) -> Filtered:
    """Apply what `query` asks for. Choices of one facet are alternatives, facets narrow each other."""
    text = query.get("q", "").strip().replace("\0", "")[:MAX_SEARCH_CHARACTERS] if search else ""
    if text and search:
        queryset = queryset.filter(search(text))
    chosen = {each.name: [value for value in query.getlist(each.name) if value in each.conditions] for each in facets}
    narrowing = {each.name: _any_of(each, chosen[each.name]) for each in facets}
    groups = []
    for each in facets:
        others = [condition for name, condition in narrowing.items() if name != each.name]
        groups.append(_choices(each, queryset.filter(*others), chosen[each.name]))
    chips = [Chip(f"“{text}”", address_without(query, "q"))] if text else []
    chips += [
        Chip(each.words(value), address_without(query, each.name, value))
        for each in facets
        for value in chosen[each.name]
    ]
    return Filtered(queryset.filter(*narrowing.values()), text, groups, chips)


def _any_of(facet: Facet, values: Sequence[str]) -> Q:
    condition = Q()
    for value in values:
        condition |= facet.conditions[value]
    return condition


def _choices(facet: Facet, queryset: QuerySet[Any], chosen: Sequence[str]) -> Choices:
    counts = count_each(queryset, facet.conditions)
    return Choices(
        facet.name,
        facet.heading,
        [Choice(value, facet.words(value), counts[value], value in chosen) for value in facet.conditions],
    )


def count_each(queryset: QuerySet[Any], conditions: Mapping[str, Q]) -> dict[str, int]:
    """How many rows meet each condition, in one query."""
    if not conditions:
        return {}
    names = {f"n{place}": value for place, value in enumerate(conditions)}
    found = queryset.order_by().aggregate(
        **{name: Count("pk", filter=conditions[value], distinct=False) for name, value in names.items()}
    )
    return {value: found[name] for name, value in names.items()}
