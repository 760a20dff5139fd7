"""Charts as inline SVG, drawn from numbers and digests alone.

No inline style: size and position are attributes, colour is a class. The same drawing serves screen and print.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

BARS = 11  # leading hex digits drawn: 44 bits help the eye, and prove nothing
_BAR_HEIGHT = 14
_FLOW_HEIGHT, _FLOW_TOP, _FLOW_SPAN = 132, 10, 92
_FLOW_WIDTH = 1200


def hash_bars(digest: str) -> SafeString:
    """The first hex digits of `digest` as bars."""
    heights = [2 + int(digit, 16) * 12 // 15 for digit in digest[:BARS]]
    return format_html(
        '<svg viewBox="0 0 33 14" fill="currentColor" aria-hidden="true" focusable="false">{}</svg>',
        format_html_join(
            "",
            '<rect x="{}" y="{}" width="2" height="{}"/>',
            ((3 * place, _BAR_HEIGHT - height, height) for place, height in enumerate(heights)),
        ),
    )


def root_bars(digest: str) -> SafeString:
    """All 32 bytes of `digest` as bars, for the sign-in page."""
    heights = [6 + byte * 144 / 255 for byte in bytes.fromhex(digest)]
    return format_html(
        '<svg class="big-root" viewBox="0 0 376 150" fill="currentColor" aria-hidden="true" focusable="false">{}</svg>',
        format_html_join(
            "",
            '<rect x="{}" y="{}" width="7.4" height="{}"/>',
            ((f"{11.8 * place:.1f}", f"{150 - height:.1f}", f"{height:.1f}") for place, height in enumerate(heights)),
        ),
    )


@dataclass(frozen=True, slots=True)
class Share:
    """One part of a bar: how many, which fill, and what to call it."""

    count: int
    fill: str
    words: str


def share_bar(shares: Sequence[Share], *, label: str) -> SafeString:
    """A horizontal bar of `shares` with a hairline between them. `label` and the counts are its text."""
    total = sum(share.count for share in shares)
    rects, x = [], 0.0
    for share in shares:
        width = 100 * share.count / total if total else 0.0
        if width:
            rects.append((share.fill, f"{x:.2f}", f"{max(width - 0.4, 0.4):.2f}"))
        x += width
    return format_html(
        '<svg class="meterbar" viewBox="0 0 100 8" preserveAspectRatio="none" role="img" aria-label="{}: {}">'
        '<rect class="bg" width="100" height="8"/>{}</svg>',
        label,
        ", ".join(f"{share.count:,} {share.words}" for share in shares),
        format_html_join("", '<rect class="{}" x="{}" width="{}" height="8"/>', rects),
    )


def flow_ribbon(bands: Sequence[int], marked: Sequence[int]) -> SafeString:
    """The ribbon under the custody phases: `bands` are meters that reached each phase, `marked` those to look at.

    Decoration: every number it draws stands above or below it as text, and in the table.
    """
    column = _FLOW_WIDTH / len(bands)
    largest = max(*bands, 1)
    heights = [_FLOW_SPAN * count / largest for count in bands]
    middle = _FLOW_TOP + _FLOW_SPAN / 2
    left = [place * column + 14 for place in range(len(bands))]
    strokes = [
        f'<path class="vl" d="M{place * column:.0f} 0V{_FLOW_HEIGHT}" vector-effect="non-scaling-stroke"/>'
        for place in range(1, len(bands))
    ]
    for place in range(len(bands) - 1):
        x0, x1, bend = left[place], left[place + 1], (left[place] + left[place + 1]) / 2
        top0, low0 = middle - heights[place] / 2, middle + heights[place] / 2
        top1, low1 = middle - heights[place + 1] / 2, middle + heights[place + 1] / 2
        strokes.append(
            f'<path class="rb" d="M{x0:.1f} {top0:.1f}C{bend:.1f} {top0:.1f} {bend:.1f} {top1:.1f} {x1:.1f} {top1:.1f}'
            f'V{low1:.1f}C{bend:.1f} {low1:.1f} {bend:.1f} {low0:.1f} {x0:.1f} {low0:.1f}z"/>'
        )
    for place, count in enumerate(marked):
        x, low = left[place], middle + heights[place] / 2
        if count:
            width = min(9.0, 1.6 + 7 * count / largest)
            strokes.append(
                f'<path class="ex" stroke-width="{width:.1f}" d="M{x + 5:.1f} {low - 2:.1f}'
                f'C{x + 34:.1f} {low - 2:.1f} {x + 26:.1f} 132 {x + 26:.1f} 134"/>'
            )
        if bands[place]:
            drawn = max(heights[place], 2.6)
            strokes.append(
                f'<rect class="nd" x="{x:.1f}" y="{middle - drawn / 2:.1f}" width="5" height="{drawn:.1f}"/>'
            )
    return format_html(
        '<svg class="rib" viewBox="0 0 {} {}" preserveAspectRatio="none" aria-hidden="true" focusable="false">{}</svg>',
        _FLOW_WIDTH,
        _FLOW_HEIGHT,
        mark_safe("".join(strokes)),  # noqa: S308  numbers only
    )
