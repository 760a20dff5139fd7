"""Keyset pages over ordered querysets, with all state in the address.

A page is found by the values of its first or last row, never by an offset: the thousandth page costs what the first
costs, and a row that arrives meanwhile moves nothing. The cursor is an address, not a secret: a broken one is ignored.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import F, Model, Q, QuerySet
from django.http import HttpRequest, QueryDict

PAGE_SIZES = (25, 50, 100)


@dataclass(frozen=True, slots=True)
class Order:
    """One way to sort a list. `field` must never be null; `tie` makes the order total."""

    key: str
    field: str
    words: str
    tie: str = "pk"
    descending_first: bool = False


@dataclass(frozen=True, slots=True)
class SortLink:
    """The head of a sortable column."""

    words: str
    url: str
    direction: str  # "ascending", "descending" or "" as in aria-sort

    @property
    def is_current(self) -> bool:
        """Whether the list is sorted by this column."""
        return bool(self.direction)


@dataclass(frozen=True, slots=True)
class SizeLink:
    """One choice of how many rows a page has."""

    size: int
    url: str
    is_current: bool


@dataclass(frozen=True, slots=True)
class Page:
    """The rows of one page, and the addresses around it."""

    rows: list[Any]
    sorts: Mapping[str, SortLink]
    sizes: list[SizeLink]
    previous: str
    next: str


def page(
    queryset: QuerySet[Any],
    request: HttpRequest,
    *,
    orders: Mapping[str, Order],
    default: str,
    size: int = PAGE_SIZES[0],
) -> Page:
    """The page of `queryset` that the request's `sort`, `rows`, `after` and `before` ask for."""
    query = request.GET
    order, descending = _order(query.get("sort", ""), orders, default)
    size = int(query["rows"]) if query.get("rows") in {str(each) for each in PAGE_SIZES} else size
    after, before = _read(query.get("after")), _read(query.get("before"))
    backwards = before is not None
    rows = _rows(
        queryset, order, descending=descending ^ backwards, mark=before if backwards else after, limit=size + 1
    )
    more, rows = len(rows) > size, rows[:size]
    if backwards:
        rows.reverse()
    has_next = more if not backwards else True
    has_previous = after is not None if not backwards else more
    return Page(
        rows=rows,
        sorts={key: _sort_link(query, each, current=order, descending=descending) for key, each in orders.items()},
        sizes=[SizeLink(each, _address(query, rows=str(each)), each == size) for each in PAGE_SIZES],
        previous=_address(query, before=_mark(rows[0], order)) if rows and has_previous else "",
        next=_address(query, after=_mark(rows[-1], order)) if rows and has_next else "",
    )


def address_without(query: QueryDict, name: str, value: str | None = None) -> str:
    """The same address without one filter, from its first page."""
    rest = query.copy()
    kept = [each for each in rest.getlist(name) if value is not None and each != value]
    rest.setlist(name, kept) if kept else rest.pop(name, None)
    return _encode(rest)


def _order(text: str, orders: Mapping[str, Order], default: str) -> tuple[Order, bool]:
    key = text.removeprefix("-")
    if key in orders:
        return orders[key], text.startswith("-")
    return orders[default.removeprefix("-")], default.startswith("-")


def _rows(queryset: QuerySet[Any], order: Order, *, descending: bool, mark: list[Any] | None, limit: int) -> list[Any]:
    if mark is not None:
        step = "lt" if descending else "gt"
        try:
            value, tie = _typed(queryset.model, order.field, mark[0]), _typed(queryset.model, order.tie, mark[1])
            queryset = queryset.filter(
                Q(**{f"{order.field}__{step}": value}) | Q(**{order.field: value, f"{order.tie}__{step}": tie})
            )
        except (TypeError, ValueError, ValidationError):
            return []
    fields = [F(name).desc() if descending else F(name).asc() for name in (order.field, order.tie)]
    return list(queryset.order_by(*fields)[:limit])


def _mark(row: Model, order: Order) -> str:
    values = [_plain(_value(row, order.field)), _plain(_value(row, order.tie))]
    return base64.urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")


def _value(row: Model, path: str) -> Any:
    value: Any = row
    for name in path.split("__"):
        value = getattr(value, name)
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bytes | memoryview):
        return bytes(value).hex()
    return value


def _read(text: str | None) -> list[Any] | None:
    if not text:
        return None
    try:
        values = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except ValueError:
        return None
    if not isinstance(values, list) or len(values) != 2:
        return None
    return values if all(_is_plain(value) for value in values) else None


def _is_plain(value: Any) -> bool:
    if isinstance(value, str):
        return "\0" not in value
    return isinstance(value, int) and abs(value) < 2**63


def _typed(model: type[Model], path: str, value: Any) -> Any:
    """The value of a mark as the field's type. An annotation is a count, and has no field."""
    names = {field.name: field for field in model._meta.fields}
    field = model._meta.pk if path == "pk" else names.get(path.split("__")[0])
    if field is not None and field.get_internal_type() == "BinaryField" and isinstance(value, str):
        return bytes.fromhex(value)
    return value


def _sort_link(query: QueryDict, order: Order, *, current: Order, descending: bool) -> SortLink:
    if order != current:
        return SortLink(order.words, _address(query, sort=f"-{order.key}" if order.descending_first else order.key), "")
    turned = order.key if descending else f"-{order.key}"
    return SortLink(order.words, _address(query, sort=turned), "descending" if descending else "ascending")


def _address(query: QueryDict, **changes: str) -> str:
    changed = query.copy()
    for name in ("after", "before"):
        changed.pop(name, None)
    for name, value in changes.items():
        changed[name] = value
    return _encode(changed)


def _encode(query: QueryDict) -> str:
    for name in ("after", "before"):
        if not query.get(name):
            query.pop(name, None)
    return "?" + query.urlencode()
