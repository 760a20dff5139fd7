"""Drawings of the reports: inline SVG, each with a `<title>` that says the same in words (PDF/UA-1 clause 7.3)."""

import io
from collections.abc import Sequence

import segno
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from compliance.reports.facts import CoverageState, GroupTotals, StageFacts

WIDTH = 640
INK, MUTED, ACCENT, PALE = "#14233a", "#56657a", "#0b6e6b", "#e4eaf1"
# In the order of the bars: fill, colour of the figure on it, word.
BARS = {
    CoverageState.SUPPORTED: ("#1d6f42", "#ffffff", "Supported"),
    CoverageState.CONTRIBUTING: ("#e0a030", INK, "Contributing"),
    CoverageState.CONTRADICTED: ("#a3202b", "#ffffff", "Contradicted"),
    CoverageState.NONE: ("#dfe5ee", INK, "No support"),
    CoverageState.NOT_ASSESSABLE: ("#b9c2cf", INK, "Not assessable"),
}
LABEL_WIDTH, ROW_HEIGHT, LEGEND_HEIGHT = 178, 22, 26
NARROWEST_WITH_FIGURE = 13  # a narrower bar has no room for its figure
LABEL_CHARACTERS = 32  # what fits LABEL_WIDTH at 10.5 units


def coverage_bars(groups: Sequence[GroupTotals]) -> SafeString:
    """A stacked bar for each group of requirements."""
    longest = max((group.total for group in groups), default=0) or 1
    scale = (WIDTH - LABEL_WIDTH - 30) / longest
    height = ROW_HEIGHT * len(groups) + LEGEND_HEIGHT
    rows = [_bar(group, top=ROW_HEIGHT * index + 2, scale=scale) for index, group in enumerate(groups)]
    said = "; ".join(
        f"{group.title}: " + ", ".join(f"{count} {BARS[state][2].lower()}" for state, count in _parts(group))
        for group in groups
    )
    return _svg(f"Requirements by state. {said}", height, [*rows, _legend(height)])


def life_cycle(stages: Sequence[StageFacts]) -> SafeString:
    """The stages of a meter's life as arrows, with the meters at each."""
    width = (WIDTH - 4) / max(len(stages), 1)
    parts = [_arrow(stage, index, width) for index, stage in enumerate(stages)]
    said = "; ".join(f"{stage.title}: {stage.meters:,}" for stage in stages)
    return _svg(f"Life cycle with meters at each stage. {said}", 62, parts)


def qr_code(text: str, *, title: str) -> SafeString:
    """A QR code of `text` (ISO/IEC 18004, error correction level M)."""
    drawn = io.BytesIO()
    code = segno.make(text, error="m", micro=False)
    code.save(drawn, kind="svg", border=2, xmldecl=False, svgclass=None, lineclass=None, omitsize=True, title=title)
    return mark_safe(drawn.getvalue().decode().replace("<svg ", '<svg class="qr" role="img" ', 1))  # noqa: S308 - segno escapes


def _parts(group: GroupTotals) -> list[tuple[CoverageState, int]]:
    return [(state, group.counts[state]) for state in BARS if group.counts.get(state)]


def _bar(group: GroupTotals, *, top: int, scale: float) -> SafeString:
    left = float(LABEL_WIDTH)
    label = group.title if len(group.title) <= LABEL_CHARACTERS else group.title[: LABEL_CHARACTERS - 1] + "…"
    parts = [_text(label, x=0, y=top + 14, size=10.5)]
    for state, count in _parts(group):
        fill, ink, _ = BARS[state]
        width = count * scale
        parts.append(
            format_html(
                '<rect x="{}" y="{}" width="{}" height="{}" fill="{}"/>',
                _number(left), top, _number(max(width - 1, 0.6)), ROW_HEIGHT - 5, fill,
            )
        )  # fmt: skip
        if width >= NARROWEST_WITH_FIGURE:
            middle = left + width / 2
            parts.append(_text(str(count), x=middle, y=top + 13, size=9.5, fill=ink, weight=600, anchor="middle"))
        left += width
    parts.append(_text(str(group.total), x=left + 5, y=top + 13, size=9.5, fill=MUTED))
    return _joined(parts)


def _legend(height: int) -> SafeString:
    left, parts = float(LABEL_WIDTH), []
    for fill, _, word in BARS.values():
        square = format_html('<rect x="{}" y="{}" width="8" height="8" fill="{}"/>', _number(left), height - 15, fill)
        parts += [square, _text(word, x=left + 12, y=height - 7.5, size=8.5, fill=MUTED)]
        left += 26 + len(word) * 4.9
    return _joined(parts)


def _arrow(stage: StageFacts, index: int, width: float) -> SafeString:
    left = index * width + 2
    fill, ink = (ACCENT, "#ffffff") if stage.meters else (PALE, INK)
    tail = "l8 -17z" if index else "z"
    body = _number(width - 11)
    shape = format_html('<path d="M{} 2h{}l8 17l-8 17h-{}{}" fill="{}"/>', _number(left), body, body, tail, fill)
    title = _text(stage.title, x=left + width / 2 - 0.5, y=22, size=8, fill=ink, weight=600, anchor="middle")
    count = _text(f"{stage.meters:,}", x=left + width / 2 - 3, y=54, size=12, weight=300, anchor="middle")
    return _joined([shape, title, count])


def _text(
    text: str,
    *,
    x: float,
    y: float,
    size: float,
    fill: str = INK,
    weight: int = 400,
    anchor: str = "start",
) -> SafeString:
    return format_html(
        '<text x="{}" y="{}" font-family="Plex" font-size="{}" font-weight="{}" text-anchor="{}" fill="{}">{}</text>',
        _number(x), _number(y), size, weight, anchor, fill, text,
    )  # fmt: skip


def _svg(title: str, height: int, parts: Sequence[SafeString]) -> SafeString:
    return format_html(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {} {}" role="img"><title>{}</title>{}</svg>',
        WIDTH, height, title, _joined(parts),
    )  # fmt: skip


def _joined(parts: Sequence[SafeString]) -> SafeString:
    return format_html_join("", "{}", ((part,) for part in parts))


def _number(value: float) -> str:
    return f"{value:.1f}"
