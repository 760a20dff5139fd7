"""Our own icons, drawn on a 16 by 16 grid with a 1.4 stroke. An icon never stands alone: a word is always beside it."""

from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

_DISC = '<circle cx="8" cy="8" r="6.3" fill="currentColor" stroke="none"/>'
_ON_DISC = 'stroke="var(--surface)" stroke-width="1.7"'
_ROSETTE = (
    '<path d="M8 .9l1.7 1.2 2.1-.1.7 2 1.8 1.1-.5 2 .8 2-1.6 1.3-.4 2.1-2.1.3L9.1 14.5 8 13.9l-1.1.6-1.4-1.7-2.1-.3'
    '-.4-2.1L1.4 9.1l.8-2-.5-2L3.5 4l.7-2 2.1.1z"/><path d="m5.3 8 1.9 1.9 3.5-3.7"/>'
)

ICONS = {
    "arrow": '<path d="M2.5 8h10M9 4.5 12.5 8 9 11.5"/>',
    "box": '<path d="M2.5 5 8 2.2 13.5 5v6L8 13.8 2.5 11zM2.5 5 8 7.8 13.5 5M8 7.8v6"/>',
    "chevron": '<path d="m4 6 4 4 4-4"/>',
    "chevron-up": '<path d="m4 10 4-4 4 4"/>',
    "disc-check": f'{_DISC}<path d="m5 8.2 2.1 2.1L11 6.2" {_ON_DISC}/>',
    "download": '<path d="M8 2.5v8M4.5 7.2 8 10.7l3.5-3.5M3 13.5h10"/>',
    "evidence": '<path d="M4 2h5l3 3v9H4zM9 2v3h3M6 8.5h4M6 11h4"/>',
    "finding": '<path d="M8 2.5 14 13H2zM8 6.5v3M8 11.2v.3"/>',
    "framework": (
        '<path d="M2.5 4h7M12 4h1.5M2.5 8h1.5M6.5 8h7M2.5 12h5M10 12h3.5"/>'
        '<circle cx="10.7" cy="4" r="1.3"/><circle cx="5.2" cy="8" r="1.3"/><circle cx="8.7" cy="12" r="1.3"/>'
    ),
    "half-disc": (
        '<circle cx="8" cy="8" r="5.5"/><path d="M8 2.5a5.5 5.5 0 0 1 0 11z" fill="currentColor" stroke="none"/>'
    ),
    "info": '<circle cx="8" cy="8" r="6"/><path d="M8 7.3v4M8 4.8v.4"/>',
    "lock": '<path d="M3.5 7h9v6.5h-9zM5.5 7V5a2.5 2.5 0 0 1 5 0v2"/>',
    "menu": '<path d="M2.5 4.5h11M2.5 8h11M2.5 11.5h11"/>',
    "meter": '<circle cx="8" cy="6.8" r="4.8"/><path d="M8 6.8 10.2 4.6M4.5 13.5h7M6.5 11.4v2M9.5 11.4v2"/>',
    "node-check": (
        f'<path d="M2 2h12v12H2z" fill="currentColor" stroke="none"/><path d="m5 8.2 2.1 2.1L11 6.2" {_ON_DISC}/>'
    ),
    "organisation": '<path d="M2.5 13.5v-9L8 2l5.5 2.5v9zM6 13.5V9h4v4.5"/>',
    "overview": '<path d="M2.5 2.5H7v5H2.5zM9 2.5h4.5v3H9zM9 7.5h4.5v6H9zM2.5 9.5H7v4H2.5z"/>',
    "report": '<path d="M3 3h10v10H3zM5.5 8l1.8 1.8 3.4-3.6"/>',
    "ring": '<circle cx="8" cy="8" r="5.5" stroke-dasharray="2.4 2"/>',
    "rosette": _ROSETTE,
    "search": '<circle cx="7" cy="7" r="4.3"/><path d="m10.3 10.3 3.2 3.2"/>',
    "square-cross": (
        '<path d="M2.2 2.2h11.6v11.6H2.2z" fill="currentColor" stroke="none"/>'
        f'<path d="m5.5 5.5 5 5M10.5 5.5l-5 5" {_ON_DISC}/>'
    ),
    "triangle": (
        f'<path d="M8 1.8 14.8 14H1.2z" fill="currentColor" stroke="none"/><path d="M8 6.2v3.6M8 11.6v.6" {_ON_DISC}/>'
    ),
    "waiting": '<path d="M8 2.5a5.5 5.5 0 1 0 .001 0"/>',
}


def icon(name: str, *, size: int | None = None, css: str = "", stroke: str = "1.4") -> SafeString:
    """The inline SVG of the icon `name`, hidden from assistive technology."""
    extent = format_html(' width="{0}" height="{0}"', size) if size else ""
    css_class = format_html(' class="{}"', css) if css else ""
    return format_html(
        '<svg{}{} viewBox="0 0 16 16" fill="none" stroke="currentColor" stroke-width="{}" stroke-linecap="round" '
        'stroke-linejoin="round" aria-hidden="true" focusable="false">{}</svg>',
        css_class,
        extent,
        stroke,
        mark_safe(ICONS[name]),  # noqa: S308  our own constant above
    )
