"""How reports write figures, moments and digests."""

from datetime import UTC, datetime

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

from compliance.reports.facts import CoverageState

register = template.Library()

STATE_WORDS = {
    CoverageState.SUPPORTED: ("ok", "Supported"),
    CoverageState.CONTRIBUTING: ("pt", "Contributing"),
    CoverageState.CONTRADICTED: ("no", "Contradicted"),
    CoverageState.NONE: ("nil", "No support"),
    CoverageState.NOT_ASSESSABLE: ("na", "Not assessable"),
}
NEVER = "\N{EN DASH}"
SIZE_UNITS = ("bytes", "KiB", "MiB", "GiB")


@register.filter
def figure(value: int) -> str:
    """12345 as 12,345."""
    return f"{value:,}"


@register.filter
def moment(value: datetime | None) -> str:
    """A moment in UTC, to the second."""
    return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if value else NEVER


@register.filter
def day(value: datetime | None) -> str:
    """A date in words, in UTC: 20 November 2026."""
    if value is None:
        return NEVER
    there = value.astimezone(UTC)
    return f"{there.day} {there:%B %Y}"


@register.filter
def isoformat(value: datetime) -> str:
    """A moment as PDF metadata wants it."""
    return f"{value.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


@register.filter
def halves(digest: str) -> SafeString:
    """A digest that breaks in the middle, if it must."""
    middle = len(digest) // 2
    return format_html("{}<wbr>{}", digest[:middle], digest[middle:])


@register.filter
def short(digest: str) -> str:
    """The beginning of a digest, marked as such."""
    return f"{digest[:20]}…"


@register.filter
def size(count: int) -> str:
    """A number of bytes for people."""
    value, unit = float(count), 0
    while value >= 1024 and unit < len(SIZE_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{count} bytes" if unit == 0 else f"{value:,.1f} {SIZE_UNITS[unit]}"


@register.filter
def state_mark(state: CoverageState) -> SafeString:
    """The state of a requirement: mark, word and colour."""
    tone, word = STATE_WORDS[state]
    return format_html('<span class="st {}">{}</span>', tone, word)
