"""The bytes after a report's seal: whole revisions, object for object as their tables list them, and nothing else."""

import re
from io import BytesIO
from types import SimpleNamespace
from typing import Any

import pytest
from pyhanko.pdf_utils.reader import PdfFileReader

from compliance.proof.errors import ProofError
from compliance.proof.report import revisions
from compliance.proof.report.revisions import Revisions
from tests.proof.test_report_updates import base

SEALED = base()
LEFT_OUT = re.search(rb"<[0-9A-Fa-f]{8,}>", SEALED)
assert LEFT_OUT is not None
RANGE = (0, LEFT_OUT.start(), LEFT_OUT.end(), len(SEALED) - LEFT_OUT.end())
LAST_TABLE = re.findall(rb"startxref\s+(\d+)", SEALED)[-1].decode()
SIZE = int(re.findall(rb"/Size (\d+)", SEALED)[-1])
PLAIN = b"<< /A 1 >>"
STREAM = b"<< /Length 3 >>\nstream\nq Q\nendstream"


def revision(
    *bodies: bytes,
    to: bytes = SEALED,
    before: bytes = b"",
    between: bytes = b"",
    table: bytes = b"",
    after: bytes = b"",
    shift: int = 0,
) -> bytes:
    """`to` with a revision of new objects, written by hand; the rest puts something where nothing belongs."""
    data = to + before
    entries = []
    for number, body in enumerate(bodies):
        entries.append(len(data) + shift)
        data += b"%d 0 obj\n%b\nendobj\n" % (SIZE + number, body) + between
    start = len(data)
    data += b"xref\n%d %d\n" % (SIZE, len(bodies)) + b"".join(b"%010d 00000 n \n" % entry for entry in entries)
    root = re.findall(rb"/Root (\d+ \d+ R)", SEALED)[-1]
    data += b"trailer\n<< /Size %d /Root %b /Prop 1 /Prev %b >>\n" % (
        SIZE + len(bodies),
        root,
        re.findall(rb"startxref\s+(\d+)", to)[-1],
    )
    return data + table + b"startxref\n%d\n%%%%EOF\n" % start + after


def look(data: bytes, *, signed: tuple[Any, ...] | None = None, level: int | None = 2, first: int = 0) -> Revisions:
    """The revisions of `data`, of which the first is sealed."""
    reader = PdfFileReader(BytesIO(data), strict=False)
    certified = SimpleNamespace(value=level) if level is not None else None
    signatures = [
        SimpleNamespace(signed_revision=first, docmdp_level=certified, byte_range=range_, field_name="sig-seal")
        for range_ in (RANGE,) * (signed is None) + (signed or ())
    ]
    fake: Any = SimpleNamespace(
        xrefs=reader.xrefs, embedded_signatures=signatures, get_historical_resolver=reader.get_historical_resolver
    )
    return Revisions(data, fake)


def refusal(data: bytes, **more: Any) -> tuple[str, str, str | None]:
    with pytest.raises(ProofError) as refused:
        look(data, **more).require_nothing_between()
    return refused.value.code, refused.value.detail, refused.value.place


@pytest.mark.parametrize(
    "data",
    [
        SEALED,
        revision(PLAIN),
        revision(STREAM),
        revision(STREAM.replace(b"stream\nq", b"stream\r\nq")),
        revision(PLAIN, STREAM, PLAIN),
        revision(PLAIN, to=revision(STREAM)),
        revision(PLAIN, before=b"\n \n", after=b"\n"),
        revision(b"<< /Text (endstream obj trailer) >>"),
    ],
    ids=["none", "an object", "a stream", "lines ended otherwise", "three", "two revisions", "white space", "words"],
)
def test_whole_revisions_and_nothing_else(data: bytes) -> None:
    found = look(data)
    found.require_nothing_between()
    count = data.count(b"%%EOF") - SEALED.count(b"%%EOF") + 1
    assert (found.count, found.certified, list(found.later())) == (count, 0, list(range(1, count)))
    assert found.certified_end == len(SEALED)


WRONG: dict[str, tuple[bytes, str]] = {
    "bytes after the seal": (SEALED + b"x", "bytes after the last revision"),
    "bytes after the last": (revision(PLAIN, after=b"x"), "bytes after the last revision"),
    "an end too many": (revision(b"<< /Text (startxref 1 %%EOF) >>"), "end markers"),
    "bytes before an object": (revision(PLAIN, before=b"% x\n"), "bytes before the first object"),
    "bytes after an object": (revision(PLAIN, PLAIN, between=b"% x\n"), "bytes after the object"),
    "bytes after a stream": (revision(STREAM, between=b"% x\n"), "bytes after the object"),
    "bytes after what a stream holds": (revision(STREAM + b" % x"), "a stream of a wrong length"),
    "an object inside": (revision(b"<< /A 1 >>\nendobj\n99 0 obj\n<< >>"), "another object inside"),
    "the beginning of one inside": (revision(b"<< /A 1 >> % 99 0 obj"), "another object inside"),
    "the end of one inside": (revision(b"<< /A 1 >> % endobj"), "another object inside"),
    "a table with more": (revision(PLAIN, table=b"% x\n"), "cross-reference section holds something else"),
    "a table with an object": (revision(PLAIN, table=b"<< 9 0 obj >>\n"), "cross-reference section holds"),
    "two trailers": (revision(PLAIN, table=b"trailer << >>\n"), "cross-reference section holds something else"),
    "an object elsewhere": (revision(PLAIN, shift=-1), ""),
    "an object of the seal": (
        revision(PLAIN).replace(b"%010d 00000 n" % len(SEALED), b"%010d 00000 n" % SEALED.index(b"1 0 obj")),
        "points back into older bytes",
    ),
    "one place for two": (
        revision(PLAIN, PLAIN).replace(
            b"%010d 00000 n" % (len(SEALED) + len(b"%d 0 obj\n%b\nendobj\n" % (SIZE, PLAIN))),
            b"%010d 00000 n" % len(SEALED),
        ),
        "shares its place",
    ),
    "another number": (
        revision(PLAIN).replace(b"%d 0 obj" % SIZE, b"%d 1 obj" % SIZE),
        "",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_anything_else_is_refused(name: str) -> None:
    data, words = WRONG[name]
    code, detail, place = refusal(data)
    assert code == "report.update"
    assert words in detail, detail
    assert place is None or re.fullmatch(r"(?:object \d+ of )?revision 1", place)


@pytest.mark.parametrize(
    ("signed", "words"),
    [
        ((1, RANGE[1], RANGE[2], RANGE[3]), "gaps"),
        ((0, RANGE[1], RANGE[2]), "gaps"),
        ((*RANGE, 1, 1), "gaps"),
        ((0, RANGE[1] - 1, RANGE[2], RANGE[3]), "more than the signature"),
        ((0, RANGE[1], RANGE[2] + 1, RANGE[3]), "more than the signature"),
        ((0, RANGE[1] + 1, RANGE[2], RANGE[3]), "more than the signature"),
    ],
    ids=str,
)
def test_a_signature_covers_all_but_itself(signed: tuple[int, ...], words: str) -> None:
    code, detail, place = refusal(SEALED, signed=(signed,))
    assert (code, place) == ("report.update", "sig-seal")
    assert words in detail
    assert refusal(SEALED, signed=(RANGE, signed))[2] == "sig-seal"


def test_the_first_signature_certifies() -> None:
    assert refusal(SEALED, signed=())[0] == "report.seal"
    for level, code in ((None, "report.seal"), (3, "report.seal"), (0, "report.seal"), (1, ""), (2, "")):
        if code:
            assert refusal(SEALED, level=level)[0] == code
        else:
            look(SEALED, level=level)


def test_revisions_up_to_their_number(monkeypatch: pytest.MonkeyPatch) -> None:
    data = revision(PLAIN)
    monkeypatch.setattr(revisions, "MAX_REVISIONS", 2)
    look(data)
    assert refusal(revision(PLAIN, to=data))[0] == "report.update"
