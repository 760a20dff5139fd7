"""The revisions of a sealed PDF as bytes: where each begins and ends, and that nothing lies between.

An incremental update (ISO 32000-1 section 7.5.6) is a run of objects, a cross-reference section that lists them, and
an end marker. Readers differ in what they make of bytes outside that, so here there may be none: after the seal each
revision holds exactly the objects its own cross-reference section lists, back to back.
"""

import re
from itertools import pairwise
from typing import Any, Final

from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.reader import PdfFileReader

from compliance.proof.errors import ProofError
from compliance.proof.report.objects import require

MAX_REVISIONS: Final = 40  # a renewal of the archive time stamp each year makes two
MAX_NEW_OBJECTS: Final = 2000
_END: Final = re.compile(rb"startxref\s+\d+\s+%%EOF[ \t]*(\r\n|\n|\r)?")
_LAST_LINES: Final = re.compile(rb"startxref\s+(\d+)\s+%%EOF\s*$")
_END_LINES_BYTES: Final = 64  # more than startxref, a number and the end marker take
_TABLE: Final = re.compile(rb"xref\s[\d\s nf]*trailer\s*<<.*>>\s*", re.DOTALL)
_OBJECT: Final = re.compile(rb"\d\s+obj\b")


class Revisions:
    """The certified revision of a file and those after it."""

    def __init__(self, data: bytes, reader: PdfFileReader) -> None:
        self.data = data
        self.reader = reader
        self.count: int = reader.xrefs.total_revisions
        require(self.count <= MAX_REVISIONS, f"{self.count} revisions, more than {MAX_REVISIONS}")
        self.certified, self.certified_end = self._certified()

    def later(self) -> range:
        """Numbers of the revisions after the certified one."""
        return range(self.certified + 1, self.count)

    def require_nothing_between(self) -> None:
        """Raise ProofError unless the bytes after the seal are whole revisions and nothing else."""
        ends = self._ends()
        position = self.certified_end
        for number in self.later():
            self._require_plain(number, position, ends[number])
            position = ends[number]
        require(not self.data[position:].strip(), "bytes after the last revision")

    def _certified(self) -> tuple[int, int]:
        signatures = sorted(self.reader.embedded_signatures, key=lambda signature: signature.signed_revision)
        if not signatures:
            raise ProofError("report.seal", "nobody signed this file")
        first = signatures[0]
        level = first.docmdp_level
        if level is None or level.value not in {1, 2}:
            raise ProofError("report.seal", "the first signature does not certify the document")
        for signature in signatures:
            self._require_whole_range(signature)
        return first.signed_revision, int(first.byte_range[2] + first.byte_range[3])

    def _require_whole_range(self, signature: Any) -> None:
        """The signed range starts with the file and leaves out the signature's own value alone."""
        name, parts = signature.field_name, [int(part) for part in signature.byte_range]
        require(len(parts) == 4 and parts[0] == 0, "the signed range has gaps", place=name)
        _, before, after, _ = parts
        left_out = self.data[before:after]
        require(
            re.fullmatch(rb"<[0-9A-Fa-f]*>", left_out) is not None,
            "the signed range leaves out more than the signature",
            place=name,
        )

    def _ends(self) -> dict[int, int]:
        found = [match.end() for match in _END.finditer(self.data, self.certified_end)]
        require(len(found) == len(self.later()), "end markers and revisions do not agree")
        return dict(zip(self.later(), found, strict=True))

    def _require_plain(self, number: int, start: int, end: int) -> None:
        offsets = self._offsets(number)
        place = f"revision {number}"
        require(offsets and min(offsets) >= start, "points back into older bytes", place=place)
        require(not self.data[start : min(offsets)].strip(), "bytes before the first object", place=place)
        closing = _LAST_LINES.search(self.data, max(start, end - _END_LINES_BYTES), end)
        require(closing is not None, "no startxref at the end", place=place)
        assert closing is not None  # noqa: S101 - for the type checker
        table = int(closing[1])
        bounds = [*sorted({*offsets, table}), closing.start()]
        for left, right in pairwise(bounds):
            if left in offsets:
                self._require_one_object(offsets[left], number, self.data[left:right])
            else:
                self._require_table(self.data[left:right], place)

    def _offsets(self, number: int) -> dict[int, generic.Reference]:
        offsets: dict[int, generic.Reference] = {}
        revision: Any = self.reader.get_historical_resolver(number)
        for reference in revision.explicit_refs_in_revision():
            where: Any = self.reader.xrefs.get_historical_ref(reference, number)
            require(isinstance(where, int), f"object {reference.idnum} lies in an object stream")
            require(where not in offsets, f"object {reference.idnum} shares its place with another")
            offsets[where] = reference
        return offsets

    def _require_table(self, span: bytes, place: str) -> None:
        plain = _TABLE.fullmatch(span) is not None and span.count(b"trailer") == 1 and b" obj" not in span
        require(plain, "the cross-reference section holds something else", place=place)

    def _require_one_object(self, reference: generic.Reference, number: int, span: bytes) -> None:
        place = f"object {reference.idnum} of revision {number}"
        begin = re.match(rb"%d\s+%d\s+obj\b" % (reference.idnum, reference.generation), span)
        require(begin is not None, "not where the table says", place=place)
        require(span.rstrip().endswith(b"endobj"), "bytes after the object", place=place)
        value = self.reader.get_historical_resolver(number)(reference)
        head = span
        if isinstance(value, generic.StreamObject):
            content = re.compile(rb"stream(\r\n|\n)").search(span)
            require(content is not None, "a stream without content", place=place)
            assert content is not None  # noqa: S101 - for the type checker
            head, rest = span[: content.end()], span[content.end() + len(value.encoded_data) :]
            require(
                re.fullmatch(rb"\s*endstream\s*endobj\s*", rest) is not None, "a stream of a wrong length", place=place
            )
        hidden = len(_OBJECT.findall(head)) != 1 or head.count(b"endobj") > 1
        require(not hidden, "another object inside", place=place)
