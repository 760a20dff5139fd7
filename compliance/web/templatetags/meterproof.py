"""What templates need beyond Django's own tags: icons, status words, digests, times and numbers in our spelling."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django import template
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from compliance.jobs import clock
from compliance.web import charts
from compliance.web.icons import icon as draw_icon

register = template.Library()

STATUS_ICONS = {
    "ok": "disc-check",
    "warn": "triangle",
    "bad": "square-cross",
    "info": "half-disc",
    "none": "ring",
}
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))


@register.simple_tag
def icon(name: str, size: int | None = None, css: str = "", stroke: str = "1.4") -> SafeString:
    """The icon `name`; hidden from assistive technology, so a word must stand beside it."""
    return draw_icon(name, size=size, css=css, stroke=stroke)


@register.simple_tag
def status(kind: str, words: str, hidden: bool = False) -> SafeString:
    """A status: shape and word. With `hidden`, the word is only for assistive technology."""
    said = format_html('<span class="vh">{}</span>', words) if hidden else words
    return format_html('<span class="st st-{}">{}{}</span>', kind, draw_icon(STATUS_ICONS[kind]), said)


@register.simple_tag
def status_mark(kind: str) -> SafeString:
    """The shape of a status alone, where the words stand beside it."""
    return draw_icon(STATUS_ICONS[kind])


@register.simple_tag
def hash_bars(digest: str) -> SafeString:
    """The bars of a digest."""
    return charts.hash_bars(digest)


@register.simple_tag
def hash(digest: str, short: bool = False) -> SafeString:  # noqa: A001
    """A digest as bars and its ends; the whole value is its title."""
    digest = digest.removeprefix("sha256:")
    ends = digest[:8] if short else f"{digest[:8]}…{digest[-4:]}"
    return format_html('<span class="hash" title="{}">{}<span>{}</span></span>', digest, charts.hash_bars(digest), ends)


@register.filter
def number(value: Any) -> str:
    """A count with thousands separated."""
    return f"{value:,}" if isinstance(value, int) else ""


@register.filter
def bytes_size(value: int) -> str:
    """A size in bytes, and in a unit one can picture."""
    if value < 1_000:
        return f"{value} bytes"
    if value < 1_000_000:
        return f"{value / 1_000:.0f} kB"
    return f"{value / 1_000_000:.1f} MB"


@register.filter
def when(value: datetime | None) -> str:
    """`22 Nov 2026, 09:31 UTC`."""
    if value is None:
        return ""
    moment = value.astimezone(timezone.get_fixed_timezone(0))
    return f"{moment.day} {moment:%b %Y, %H:%M} UTC"


@register.filter
def day(value: Any) -> str:
    """`22 Nov 2026`, of a date or a time."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        value = value.astimezone(timezone.get_fixed_timezone(0))
    return f"{value.day} {value:%b %Y}"


@register.filter
def short_day(value: Any) -> str:
    """`22 Nov`, where the year is said nearby."""
    return day(value).rsplit(" ", 1)[0]


@register.filter
def clock_time(value: datetime | None) -> str:
    """`09:31 UTC`."""
    return f"{value.astimezone(timezone.get_fixed_timezone(0)):%H:%M} UTC" if value else ""


@register.filter
def ago(value: datetime | None) -> str:
    """How long ago, in one unit. Only beside a fixed date, or with the date as title."""
    if value is None:
        return ""
    seconds = int((clock.now() - value).total_seconds())
    for length, unit in _UNITS:
        if seconds >= length:
            return f"{seconds // length} {unit} ago"
    return "just now"


@register.filter
def plural(count: int, words: str) -> str:
    """`{{ n|plural:"event,events" }}` gives the count with the right word."""
    one, _, many = words.partition(",")
    return f"{count:,} {one if count == 1 else many}"


@register.filter
def item(mapping: Mapping[str, Any], key: str) -> Any:
    """The value under `key`, or nothing."""
    return mapping.get(key)
