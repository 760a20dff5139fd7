"""Lists in pages: by key, never by offset, with a cursor nobody can forge or carry to another list.

The cursor holds the last key seen, signed together with the list's name, its filters and the credential. A page is
stable while rows are added; there is no total, which would tell one organisation how much the others do.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from urllib.parse import urlencode

from django.core import signing
from django.db import models

from compliance.api.problems import ApiProblem
from compliance.api.shapes import QueryWhole, Shape, Text

DEFAULT_LIMIT = 50
MAX_LIMIT = 200

_Row = TypeVar("_Row", bound=models.Model)


class PageQuery(Shape):
    """The parameters every list takes."""

    cursor = Text(required=False, max_length=1000, help_text="`next` of the page before, unchanged.")
    limit = QueryWhole(required=False, min_value=1, max_value=MAX_LIMIT, help_text="Rows in a page, 50 if not said.")


@dataclass(frozen=True, slots=True)
class Cursors:
    """Makes and reads the cursors of one list for one reader."""

    bound_to: str
    query: Mapping[str, Any]

    @property
    def limit(self) -> int:
        """How many rows the reader wants in a page."""
        return int(self.query.get("limit", DEFAULT_LIMIT))

    @property
    def after(self) -> Any | None:
        """The key that the page before ended with, None for the first page. Raises ApiProblem for a cursor not ours."""
        cursor = self.query.get("cursor")
        if not cursor:
            return None
        try:
            return self._signer.unsign_object(cursor)
        except (signing.BadSignature, ValueError, TypeError):
            raise ApiProblem("request.cursor") from None

    def following(self, key: Any) -> str:
        """The cursor to what comes after `key`."""
        return self._signer.sign_object(key)

    @property
    def _signer(self) -> signing.Signer:
        filters = [f"{name}={value}" for name, value in sorted(self.query.items()) if name not in PageQuery().fields]
        text = "\n".join([self.bound_to, *filters])
        return signing.Signer(salt="meterproof.api.cursor." + hashlib.sha256(text.encode()).hexdigest())


@dataclass(frozen=True, slots=True)
class Page(Generic[_Row]):
    """Some rows, and the cursor to the next ones."""

    rows: list[_Row]
    next: str | None


def page_of(
    rows: models.QuerySet[_Row], *, key: str, query: Mapping[str, Any], bound_to: str, descending: bool = False
) -> Page[_Row]:
    """The page of `rows` that `query` asks for, ordered by the unique column `key`.

    `bound_to` names the list and who reads it; filters in `query` bind the cursor as well.
    """
    cursors = Cursors(bound_to, query)
    if (last := cursors.after) is not None:
        rows = rows.filter(**{f"{key}__{'lt' if descending else 'gt'}": last})
    found = list(rows.order_by(f"-{key}" if descending else key)[: cursors.limit + 1])
    has_more = len(found) > cursors.limit
    found = found[: cursors.limit]
    return Page(rows=found, next=cursors.following(getattr(found[-1], key)) if has_more else None)


def link_to(path: str, query: Mapping[str, Any], cursor: str | None) -> dict[str, str]:
    """The header `Link` (RFC 8288) to the next page, when there is one."""
    if cursor is None:
        return {}
    return {"Link": f'<{path}?{urlencode({**query, "cursor": cursor})}>; rel="next"'}
