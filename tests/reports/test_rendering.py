"""What is drawn: the same bytes for the same input, tagged and self-contained (PDF/A-3a, PDF/UA-1), our files only.

Structure is checked here rule by rule with a reader that did not write it. That the whole passes an ISO validator was
found with veraPDF when the design was made; it needs Java and is not part of this suite.
"""

import re
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from pyhanko.pdf_utils.reader import PdfFileReader
from weasyprint.urls import FatalURLFetchingError

from compliance.reports import rendering
from compliance.reports.rendering import RenderFailed
from compliance.reports.rendering.fetcher import AssetFetcher
from compliance.reports.rendering.glyphs import legible
from tests.reports.making import Workshop, draw

MADE = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
PAGE = '<!DOCTYPE html><html lang="en"><head><title>t</title>{head}</head><body>{body}</body></html>'
SHEET = '<link rel="stylesheet" href="report:/report.css">'


@pytest.fixture(scope="session")
def root(unsigned_audit: bytes) -> Any:
    return PdfFileReader(BytesIO(unsigned_audit)).root


def elements(node: Any) -> Iterator[Any]:
    """The structure elements below `node`, in reading order."""
    kids = node.get("/K", [])
    for kid in kids if isinstance(kids, list) else [kids]:
        if hasattr(kid, "get_object") and not isinstance(kid, int):
            kid = kid.get_object()
        if isinstance(kid, dict) and "/S" in kid:
            yield kid
            yield from elements(kid)


def test_the_same_draft_gives_the_same_bytes(workshop: Workshop, unsigned_certificate: bytes) -> None:
    """Another process, with another hash seed and another folder."""
    assert draw(workshop.certificate_draft(events=5)) == unsigned_certificate


def test_it_says_what_it_conforms_to(root: Any) -> None:
    told = root["/Metadata"].data.decode()
    for words in ('pdfaid:part="3"', 'pdfaid:conformance="A"', 'pdfuaid:part="1"', "PDF/UA identification"):
        assert words in told, told
    assert [intent["/S"] for intent in root["/OutputIntents"]] == ["/GTS_PDFA1"]
    assert root["/MarkInfo"]["/Marked"]
    assert root["/Lang"] == "en"
    assert root["/ViewerPreferences"]["/DisplayDocTitle"]


def test_nothing_runs_and_nothing_is_fetched(root: Any, unsigned_audit: bytes) -> None:
    assert not {"/OpenAction", "/AA"} & set(root)
    for words in (b"/JavaScript", b"/Launch", b"/GoToR", b"/Encrypt", b"/ObjStm"):
        assert words not in unsigned_audit
    assert not re.search(rb"/URI\s*\(", unsigned_audit)


def test_headings_do_not_skip_a_level(root: Any) -> None:
    levels = [int(item["/S"][2:]) for item in elements(root["/StructTreeRoot"]) if re.fullmatch("/H[1-6]", item["/S"])]
    assert levels[0] == 1
    assert len(levels) > 15
    assert all(after <= before + 1 for before, after in pairwise(levels)), levels


def test_pictures_say_what_they_show_and_tables_name_their_columns(root: Any) -> None:
    found = list(elements(root["/StructTreeRoot"]))
    pictures = [item for item in found if item["/S"] == "/Figure" and "/Alt" in item]
    assert {str(item["/Alt"]).partition(":")[0].partition(".")[0] for item in pictures} >= {
        "QR code",
        "Requirements by state",
        "Life cycle with meters at each stage",
    }
    heads = {str(item["/ID"]) for item in found if item["/S"] == "/TH"}
    cells = [item for item in found if item["/S"] == "/TD"]
    assert (len(heads) > 30, len(cells) > 30) == (True, True)
    for cell in cells:
        named = {str(name) for name in cell["/A"]["/Headers"]}
        assert named, "a screen reader says the column's name with the cell"
        assert named <= heads


def test_the_fields_for_signatures_are_tagged_and_named(root: Any) -> None:
    fields = [field.get_object() for field in root["/AcroForm"]["/Fields"]]
    assert [str(field["/T"]) for field in fields] == ["sig-seal", "sig-auditor", "sig-regulator"]
    for field in fields:
        assert field["/FT"] == "/Sig"
        assert "/V" not in field
        assert field["/TU"], "what a screen reader says"
        assert "/StructParent" in field
    forms = [item for item in elements(root["/StructTreeRoot"]) if item["/S"] == "/Form"]
    assert len(forms) == len(fields)
    assert "/NeedAppearances" not in root["/AcroForm"]


def test_attached_files_say_how_they_relate(root: Any) -> None:
    names = root["/Names"]["/EmbeddedFiles"]["/Names"]
    relations = {str(names[place]): names[place + 1]["/AFRelationship"] for place in range(0, len(names), 2)}
    assert relations == {
        "coverage.json": "/Data",
        "evidence-manifest.csv": "/Supplement",
        "meter.proof": "/Supplement",
        "report.json": "/Data",
    }
    assert len(root["/AF"]) == len(relations)


def test_only_our_fonts_and_all_of_them_inside(unsigned_audit: bytes, tmp_path: Path) -> None:
    (tmp_path / "report.pdf").write_bytes(unsigned_audit)
    told = subprocess.run(
        ["pdffonts", str(tmp_path / "report.pdf")], capture_output=True, text=True, check=True
    ).stdout.splitlines()[2:]
    assert len(told) >= 4
    for line in told:
        name, *_, embedded, subset, unicode, _number, _generation = line.split()
        assert re.fullmatch(r"[A-Z]{6}\+Plex(Mono)?(-\w+)*", name), line
        assert (embedded, subset, unicode) == ("yes", "yes", "yes"), line


def drawn(body: str, head: str = SHEET) -> bytes:
    return rendering.render(PAGE.format(head=head, body=body), made_at=MADE).data


def test_a_page_that_asks_for_something_foreign_is_not_drawn() -> None:
    with pytest.raises(RenderFailed, match="may not load file:///etc/passwd"):
        drawn('<img src="file:///etc/passwd" alt="x">')


def test_nothing_but_our_own_files_is_served() -> None:
    assets = AssetFetcher()
    for name in ("report.css", "fonts/IBMPlexSans-Regular.ttf"):
        assert assets.fetch(f"report:/{name}").read()
    for address in ("http://127.0.0.1:9/x.png", "report:/../../manage.py", "report:/fonts/OFL.txt", "data:text/css,a"):
        with pytest.raises(FatalURLFetchingError):
            assets.fetch(address)


def test_a_font_that_is_not_ours_is_not_drawn() -> None:
    with pytest.raises(RenderFailed):
        drawn("<p>No style sheet, so the machine's own font would be taken.</p>", head="")


def test_what_no_font_shows_or_what_hides_is_spelled_out() -> None:
    assert legible("Prüfstelle Łódź ✓") == "Prüfstelle Łódź ✓"
    assert legible("\u202egnp.exe") == "[U+202E]gnp.exe"
    assert legible("漢字\u200b") == "[U+6F22][U+5B57][U+200B]"
    assert b"%PDF-1.7" in drawn(f"<h1>{legible(chr(0x1F600))} x</h1>")[:20]
