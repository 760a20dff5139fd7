"""Which characters the shipped fonts can show, and a legible form for those they cannot.

A report is drawn with our fonts alone (PDF/A-3, ISO 19005-3 clause 6.2.11.8, forbids references to missing glyphs).
Names in the record may hold any character: what no font of ours shows, and what would change the reading direction or
hide, is written as its code point.
"""

import re
import unicodedata
from functools import cache
from pathlib import Path

FONTS = Path(__file__).resolve().parents[1] / "fonts"
_NOT_PLAIN = re.compile(r"[^\t\n\r\x20-\x7e]")
_HIDDEN = {"Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp"}


def font_files() -> list[Path]:
    """The fonts we ship."""
    return sorted(FONTS.glob("*.ttf"))


def legible(text: str) -> str:
    """`text` with every character that no shipped font shows, or that hides, spelled out as `[U+hhhh]`."""
    return _NOT_PLAIN.sub(_shown, text)


def _shown(match: re.Match[str]) -> str:
    character = match[0]
    if ord(character) in _shared_characters() and unicodedata.category(character) not in _HIDDEN:
        return character
    return f"[U+{ord(character):04X}]"


@cache
def _shared_characters() -> frozenset[int]:
    from fontTools.ttLib import TTFont  # a third of a second, and only rendering needs it

    covered = []
    for path in font_files():
        with TTFont(path, lazy=True) as font:
            covered.append(set(font.getBestCmap()))
    return frozenset(set.intersection(*covered))
