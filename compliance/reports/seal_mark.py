"""What a reader sees in the seal's field: a few lines, drawn as outlines.

Outlines need no font in the file, so the appearance refers to nothing at all: it keeps PDF/A-3 (no font to embed),
and the verifier can see that it hides nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from typing import Any

from fontTools.pens.basePen import BasePen
from fontTools.ttLib import TTFont
from pyhanko.pdf_utils.layout import BoxConstraints
from pyhanko.pdf_utils.writer import BasePdfFileWriter
from pyhanko.stamp.base import BaseStamp, BaseStampStyle

from compliance.reports.rendering.glyphs import FONTS

FACE = FONTS / "IBMPlexSans-Regular.ttf"
SIZE, LEADING, MARGIN = 7.5, 10.5, 8.0  # points
COLOUR = b"0.08 0.14 0.23 rg"


@dataclass(frozen=True)
class MarkStyle(BaseStampStyle):
    """The lines to draw."""

    lines: tuple[str, ...] = ()
    border_width: int = 0

    def create_stamp(
        self, writer: BasePdfFileWriter, box: BoxConstraints, _text_params: dict[str, object]
    ) -> BaseStamp:
        """The appearance for a field of the size of `box`."""
        return Mark(writer=writer, style=self, box=box)


class Mark(BaseStamp):
    """The appearance itself."""

    def _render_inner_content(self) -> list[bytes]:
        lines: Sequence[str] = self.style.lines
        scale = SIZE / _face()["head"].unitsPerEm
        widest = max((_width(line) * scale for line in lines), default=1.0)
        shrink = min(1.0, (self.box.width - 2 * MARGIN) / widest)
        top = (self.box.height + len(lines) * LEADING) / 2 - LEADING + (LEADING - SIZE) / 2
        return [COLOUR, *(_outline(line, top - index * LEADING, scale * shrink) for index, line in enumerate(lines))]


class _PathPen(BasePen):
    """Collects path operators of PDF (ISO 32000-1 section 8.5.2)."""

    def __init__(self, glyphs: Any) -> None:
        super().__init__(glyphs)
        self.operators: list[str] = []

    def _moveTo(self, point: tuple[float, float]) -> None:  # noqa: N802 - the pen protocol of fontTools
        self.operators.append(f"{_at(point)} m")

    def _lineTo(self, point: tuple[float, float]) -> None:  # noqa: N802
        self.operators.append(f"{_at(point)} l")

    def _curveToOne(self, *points: tuple[float, float]) -> None:  # noqa: N802
        self.operators.append(f"{' '.join(map(_at, points))} c")

    def _closePath(self) -> None:  # noqa: N802
        self.operators.append("h")


def _outline(line: str, bottom: float, scale: float) -> bytes:
    glyphs = _face().getGlyphSet()
    parts, left = [], 0.0
    for character in line:
        name = _glyph_name(character)
        pen = _PathPen(glyphs)
        glyphs[name].draw(pen)
        parts.append(f"q 1 0 0 1 {left:g} 0 cm {' '.join(pen.operators)} f Q" if pen.operators else "")
        left += glyphs[name].width
    return f"q {scale:.5f} 0 0 {scale:.5f} {MARGIN:g} {bottom:.2f} cm {' '.join(parts)} Q".encode("ascii")


def _width(line: str) -> float:
    glyphs = _face().getGlyphSet()
    return float(sum(glyphs[_glyph_name(character)].width for character in line))


def _glyph_name(character: str) -> str:
    name: str = _face().getBestCmap().get(ord(character), ".notdef")
    return name


def _at(point: tuple[float, float]) -> str:
    return f"{point[0]:g} {point[1]:g}"


@cache
def _face() -> TTFont:
    return TTFont(BytesIO(FACE.read_bytes()))
