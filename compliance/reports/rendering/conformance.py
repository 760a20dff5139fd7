"""PDF/A-3a (ISO 19005-3) and PDF/UA-1 (ISO 14289-1) in one file, ready for PAdES signatures in tagged fields.

WeasyPrint writes one variant at a time and knows no signature fields. What it writes is changed in its `finisher` hook,
before the bytes exist:

- the XMP packet also names PDF/UA-1, with the extension schema that PDF/A-3 clause 6.6.2.3.1 asks for;
- text inputs called `sig-…` become empty signature fields: placed, named and tagged as they were;
- a form element of the structure tree points at its field directly, not through a list of one, because the difference
  analysis of PDF libraries finds a tagged field only by a path that ends `/K /Obj`;
- objects are written one by one, not in an object stream: readers that compare revisions would decode the whole stream
  again for each object.
"""

from collections.abc import Callable
from typing import Any

import pydyf
from weasyprint.pdf.metadata import DocumentMetadata

FIELD_PREFIX = "sig-"  # no period: in a PDF that separates levels of a field's name
WIDGET_FLAGS = 132  # print, locked
EMPTY_SIGNATURES_EXIST = 1  # /SigFlags

PDF_UA = (
    b'<rdf:Description rdf:about="" xmlns:pdfuaid="http://www.aiim.org/pdfua/ns/id/" pdfuaid:part="1"/>'
    b'<rdf:Description rdf:about="" xmlns:pdfaExtension="http://www.aiim.org/pdfa/ns/extension/"'
    b' xmlns:pdfaSchema="http://www.aiim.org/pdfa/ns/schema#" xmlns:pdfaProperty="http://www.aiim.org/pdfa/ns/property#">'
    b'<pdfaExtension:schemas><rdf:Bag><rdf:li rdf:parseType="Resource">'
    b"<pdfaSchema:schema>PDF/UA identification</pdfaSchema:schema>"
    b"<pdfaSchema:namespaceURI>http://www.aiim.org/pdfua/ns/id/</pdfaSchema:namespaceURI>"
    b"<pdfaSchema:prefix>pdfuaid</pdfaSchema:prefix>"
    b'<pdfaSchema:property><rdf:Seq><rdf:li rdf:parseType="Resource">'
    b"<pdfaProperty:name>part</pdfaProperty:name><pdfaProperty:valueType>Integer</pdfaProperty:valueType>"
    b"<pdfaProperty:category>internal</pdfaProperty:category>"
    b"<pdfaProperty:description>Part of ISO 14289 that the file follows</pdfaProperty:description>"
    b"</rdf:li></rdf:Seq></pdfaSchema:property>"
    b"</rdf:li></rdf:Bag></pdfaExtension:schemas></rdf:Description>"
)


class AccessibleArchiveMetadata(DocumentMetadata):
    """WeasyPrint's metadata, which also says PDF/UA-1."""

    def generate_rdf_metadata(self, *arguments: object) -> bytes:
        """The RDF of the XMP packet."""
        described: bytes = super().generate_rdf_metadata(*arguments)
        return described.replace(b"</rdf:RDF>", PDF_UA + b"</rdf:RDF>")


class ForeignFont(Exception):
    """The page was drawn with a font that we do not ship, so another machine would draw it otherwise."""


def finisher(families: frozenset[str]) -> Callable[[object, pydyf.PDF], None]:
    """The hook that turns what WeasyPrint made into a file that can be sealed. Raises ForeignFont."""

    def finish(_document: object, pdf: pydyf.PDF) -> None:
        _require_fonts(pdf, families)
        _make_signature_fields(pdf)
        _point_at_fields_directly(pdf)
        _name_associated_files_once(pdf)
        _write_without_object_stream(pdf)

    return finish


def _require_fonts(pdf: pydyf.PDF, families: frozenset[str]) -> None:
    for item in _dictionaries(pdf):
        if item.get("Type") == "/FontDescriptor":
            _, _, name = item["FontName"].decode("ascii").partition("+")  # six letters of the subset come first
            embedded = any(key in item for key in ("FontFile", "FontFile2", "FontFile3"))
            if name.partition("-")[0] not in families or not embedded:
                raise ForeignFont(name)


def _make_signature_fields(pdf: pydyf.PDF) -> None:
    widgets = [item for item in _dictionaries(pdf) if item.get("Subtype") == "/Widget"]
    if not widgets:
        return
    form = {"Type": "/XObject", "Subtype": "/Form", "BBox": pydyf.Array([0, 0, 1, 1])}
    empty = pydyf.Stream([b""], {**form, "Resources": pydyf.Dictionary()})
    pdf.add_object(empty)
    for widget in widgets:
        if not widget["T"].string.startswith(FIELD_PREFIX):
            raise ValueError(f"{widget['T'].string} is not a signature field")
        for key in ("DA", "V", "Ff", "MaxLen"):
            widget.pop(key, None)
        left, top, right, bottom = widget["Rect"]
        corners = (min(left, right), min(top, bottom), max(left, right), max(top, bottom))
        widget["FT"] = "/Sig"
        widget["F"] = WIDGET_FLAGS
        widget["Rect"] = pydyf.Array([round(value, 2) for value in corners])
        widget["AP"] = pydyf.Dictionary({"N": empty.reference})
    acro_form = pdf.catalog["AcroForm"]
    acro_form.pop("NeedAppearances", None)
    acro_form.pop("DR", None)
    acro_form["SigFlags"] = EMPTY_SIGNATURES_EXIST


def _point_at_fields_directly(pdf: pydyf.PDF) -> None:
    for item in _dictionaries(pdf):
        if item.get("S") == "/Form" and isinstance(item.get("K"), list) and len(item["K"]) == 1:
            item["K"] = item["K"][0]


def _name_associated_files_once(pdf: pydyf.PDF) -> None:
    if "AF" in pdf.catalog:  # WeasyPrint finds each file twice: in the name tree and among the objects
        pdf.catalog["AF"] = pydyf.Array(dict.fromkeys(pdf.catalog["AF"]))


def _write_without_object_stream(pdf: pydyf.PDF) -> None:
    write = pdf.write

    def write_plainly(output: object, version: object, identifier: object, _compress: object) -> None:
        write(output, version, identifier, False)  # streams stay compressed, each on its own

    pdf.write = write_plainly


def _dictionaries(pdf: pydyf.PDF) -> list[dict[str, Any]]:
    return [item for item in pdf.objects if isinstance(item, dict)]
