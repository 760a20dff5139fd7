"""What a later revision of a report may do, rule by rule, on a PDF of one page that nobody has to seal."""

from collections.abc import Callable, Iterable
from io import BytesIO
from types import SimpleNamespace
from typing import Any

import pytest
from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.pdf_utils.writer import PageObject, PdfFileWriter

from compliance.proof.errors import ProofError
from compliance.proof.report import updates

DER = b"\x30\x03\x02\x01\x07"
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/"'
    b' xmp:CreatorTool="tool"><xmp:ModifyDate>2026</xmp:ModifyDate><dc:title><rdf:Alt><rdf:li>Report</rdf:li></rdf:Alt>'
    b"</dc:title></rdf:Description></rdf:RDF></x:xmpmeta>"
)
Change = Callable[[IncrementalPdfFileWriter], object]


def pdf(value: Any) -> Any:
    """PDF objects of Python's; what is one already stays."""
    match value:
        case bool():
            return generic.BooleanObject(value)
        case int() if not isinstance(value, generic.PdfObject):
            return generic.NumberObject(value)
        case str() if not isinstance(value, generic.PdfObject):
            return generic.pdf_name(value) if value.startswith("/") else generic.pdf_string(value)
        case dict() if not isinstance(value, generic.PdfObject):
            return generic.DictionaryObject({generic.pdf_name(name): pdf(item) for name, item in value.items()})
        case list() if not isinstance(value, generic.PdfObject):
            return generic.ArrayObject([pdf(item) for item in value])
    return value


def stream(data: bytes, **entries: Any) -> generic.StreamObject:
    return generic.StreamObject(pdf({f"/{name}": value for name, value in entries.items()}), stream_data=data)


def base(*, store: bool = True, annotations: str = "inline", form: str = "own", tables: bool = True) -> bytes:
    """A page, two empty signature fields, validation data, information and metadata."""
    writer = PdfFileWriter(stream_xrefs=not tables)
    page = writer.insert_page(PageObject(writer.add_object(stream(b"")), (0, 0, 9, 9)))
    fields = [
        writer.add_object(pdf({"/FT": "/Sig", "/T": f"sig-{name}", "/Rect": [1, 1, 5, 5], "/P": page})) for name in "ab"
    ]
    if annotations != "none":
        listed = pdf(fields)
        page.get_object()[generic.pdf_name("/Annots")] = writer.add_object(listed) if annotations == "own" else listed
    value = pdf({"/Fields": writer.add_object(pdf(fields)) if form == "own" else fields, "/SigFlags": 3})
    writer.root[generic.pdf_name("/AcroForm")] = writer.add_object(value) if form == "own" else value
    if store:
        item = writer.add_object(stream(DER))
        related = {"/" + "AB" * 20: {"/Cert": [item]}}
        writer.root[generic.pdf_name("/DSS")] = writer.add_object(
            pdf({"/Certs": [item], "/CRLs": writer.add_object(pdf([item])), "/VRI": related})
        )
    writer.root[generic.pdf_name("/Metadata")] = writer.add_object(stream(XMP, Type="/Metadata", Subtype="/XML"))
    writer.set_info(writer.add_object(pdf({"/Title": "Report"})))
    writer._update_meta = lambda: None
    output = BytesIO()
    writer.write(output)
    return output.getvalue()


def said(change: Change, data: bytes | None = None) -> list[str]:
    """What the update is said to do. Raises ProofError for what it may not."""
    writer = IncrementalPdfFileWriter(BytesIO(base() if data is None else data))
    writer._update_meta = lambda: None
    change(writer)
    output = BytesIO()
    writer.write(output)
    update = updates._Update(SimpleNamespace(reader=PdfFileReader(BytesIO(output.getvalue()))), 1)  # type: ignore[arg-type]
    update.require_permitted()
    return update.said


def field_of(writer: IncrementalPdfFileWriter, number: int = 0) -> Any:
    return writer.root["/AcroForm"]["/Fields"].raw_get(number).get_object()


def signature(**changes: Any) -> dict[str, Any]:
    entries = {"Type": "/Sig", "Filter": "/Adobe.PPKLite", "SubFilter": "/ETSI.CAdES.detached", "Contents": "00"}
    return {f"/{name}": value for name, value in {**entries, **changes}.items() if value is not None}


def signs(number: int = 0, *, also: Any = None, value: Any = None, **changes: Any) -> Change:
    """A signature in an empty field; `also` changes the field further, `changes` the signature."""

    def change(writer: IncrementalPdfFileWriter) -> None:
        field = field_of(writer, number)
        made = value(writer) if value else writer.add_object(pdf(signature(**changes)))
        field[generic.pdf_name("/V")] = made
        if also:
            also(writer, field)
        writer.update_container(field)

    return change


def shows(make: Callable[[IncrementalPdfFileWriter], Any], *, states: Any = None) -> Change:
    """A signature with an appearance."""

    def also(writer: IncrementalPdfFileWriter, field: Any) -> None:
        normal = make(writer)
        field[generic.pdf_name("/AP")] = pdf(states(normal) if states else {"/N": normal})

    return signs(also=also)


def form_object(*, resources: Any = None, **entries: Any) -> Callable[[IncrementalPdfFileWriter], Any]:
    def make(writer: IncrementalPdfFileWriter) -> Any:
        found = resources(writer) if callable(resources) else resources or {}
        return writer.add_object(
            stream(b"q Q", Type="/XObject", Subtype="/Form", BBox=[0, 0, 4, 4], Resources=found, **entries)
        )

    return make


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return {"/Font": value}


def a_font_and_an_image(writer: IncrementalPdfFileWriter) -> Any:
    image = writer.add_object(stream(b"", Type="/XObject", Subtype="/Image"))
    font = writer.add_object(pdf({"/Type": "/Font", "/Widths": writer.add_object(pdf([1, 2]))}))
    return {"/Font": {"/F1": font, "/F2": font}, "/XObject": {"/I": image}, "/ProcSet": ["/PDF"]}


def root_gets(name: str, value: Any) -> Change:
    def change(writer: IncrementalPdfFileWriter) -> None:
        writer.root[generic.pdf_name(name)] = pdf(value(writer) if callable(value) else value)
        writer.update_root()

    return change


def form_gets(name: str, value: Any) -> Change:
    def change(writer: IncrementalPdfFileWriter) -> None:
        form = writer.root["/AcroForm"]
        form[generic.pdf_name(name)] = pdf(value)
        writer.update_container(form)

    return change


def fields_become(choose: Callable[[IncrementalPdfFileWriter, list[Any]], Iterable[Any]]) -> Change:
    def change(writer: IncrementalPdfFileWriter) -> None:
        fields = writer.root["/AcroForm"]["/Fields"]
        before = [fields.raw_get(at) for at in range(len(fields))]
        fields[:] = [pdf(item) for item in choose(writer, before)]
        writer.update_container(fields)

    return change


def stamps(
    *,
    where: str = "inline",
    page: Any = None,
    listed: bool = True,
    twice: bool = False,
    value: Any = None,
    **changes: Any,
) -> Change:
    """A document time stamp: a new field, in the form's list and in that of the page."""

    def change(writer: IncrementalPdfFileWriter) -> None:
        first = writer.root["/Pages"]["/Kids"].raw_get(0)
        stamped = signature(**{"Type": "/DocTimeStamp", "SubFilter": "/ETSI.RFC3161", **(value or {})})
        entries = {
            "/FT": "/Sig",
            "/T": "stamp-1",
            "/V": writer.add_object(pdf(stamped)),
            "/Rect": [0, 0, 0, 0],
            "/P": page(writer) if page else first,
        }
        more = {f"/{name}": item for name, item in changes.items()}
        field = writer.add_object(pdf({key: item for key, item in {**entries, **more}.items() if item is not None}))
        fields = writer.root["/AcroForm"]["/Fields"]
        fields.append(field)
        writer.update_container(fields)
        shown = first.get_object()
        before = shown["/Annots"] if "/Annots" in shown else generic.ArrayObject()
        items = [before.raw_get(at) for at in range(len(before))] + [field] * (listed + twice)
        if where == "kept":
            before[:] = items
            writer.update_container(before)
            return
        found = pdf(items)
        shown[generic.pdf_name("/Annots")] = writer.add_object(found) if where == "own" else found
        writer.update_container(shown)

    return change


def store_gets(name: str, value: Any) -> Change:
    def change(writer: IncrementalPdfFileWriter) -> None:
        store = writer.root["/DSS"]
        made = value(writer, store) if callable(value) else value
        if made is None:
            del store[name]
        else:
            store[generic.pdf_name(name)] = pdf(made)
        writer.update_container(store)

    return change


def one_more(data: bytes = DER, **entries: Any) -> Callable[[IncrementalPdfFileWriter, Any], Any]:
    return lambda writer, store: [store["/Certs"].raw_get(0), writer.add_object(stream(data, **entries))]


def first_item(store: Any) -> Any:
    return store["/Certs"].raw_get(0)


def overwrites(find: Callable[[IncrementalPdfFileWriter], Any], value: Any) -> Change:
    def change(writer: IncrementalPdfFileWriter) -> None:
        reference = find(writer).reference
        writer.objects[(reference.generation, reference.idnum)] = value

    return change


def information(**changes: Any) -> Change:
    def change(writer: IncrementalPdfFileWriter) -> None:
        info = writer.trailer["/Info"]
        info.update(pdf({f"/{name}": value for name, value in changes.items()}))
        writer.update_container(info)

    return change


def metadata(old: bytes, new: bytes) -> Change:
    assert old in XMP
    return overwrites(
        lambda writer: writer.root.raw_get("/Metadata"), stream(XMP.replace(old, new), Type="/Metadata", Subtype="/XML")
    )


def both(*changes: Change) -> Change:
    def change(writer: IncrementalPdfFileWriter) -> None:
        for one in changes:
            one(writer)

    return change


RELATED = "/" + "CD" * 20
OLD_RELATED = "/" + "AB" * 20

PERMITTED: dict[str, tuple[Change, list[str]]] = {
    "dates of writers": (information(ModDate="D:2027", Producer="x"), []),
    "dates in metadata": (metadata(b">2026<", b">2027<"), []),
    "a signature": (signs(), ["signature in sig-a"]),
    "two signatures": (both(signs(), signs(1)), ["signature in sig-a", "signature in sig-b"]),
    "an appearance": (shows(form_object(Matrix=[1, 0, 0, 1, 0, 0])), ["signature in sig-a"]),
    "an appearance with fonts": (shows(form_object(resources=a_font_and_an_image)), ["signature in sig-a"]),
    "an appearance as deep as may be": (shows(form_object(resources=deep(9))), ["signature in sig-a"]),
    "a certificate more": (store_gets("/Certs", one_more()), ["validation data"]),
    "a certificate more, compressed": (store_gets("/Certs", one_more(Filter=[])), ["validation data"]),
    "a list more": (store_gets("/OCSPs", lambda _, store: [first_item(store)]), ["validation data"]),
    "a list more, of its own": (
        store_gets("/OCSPs", lambda writer, store: writer.add_object(pdf([first_item(store)]))),
        ["validation data"],
    ),
    "validation data of a signature": (
        store_gets(
            "/VRI",
            lambda writer, store: {
                OLD_RELATED: store["/VRI"].raw_get(OLD_RELATED),
                RELATED: writer.add_object(pdf({"/CRL": writer.add_object(pdf([first_item(store)])), "/TU": "D:2026"})),
            },
        ),
        ["validation data"],
    ),
    "a time stamp": (stamps(), ["document time stamp"]),
    "a small extension": (root_gets("/Extensions", {"/ADBE": {"/BaseVersion": "/1.7", "/ExtensionLevel": 8}}), []),
    "a flag of the form": (form_gets("/SigFlags", 1), []),
}


@pytest.mark.parametrize("name", PERMITTED)
def test_what_may_be_done(name: str) -> None:
    change, words = PERMITTED[name]
    assert said(change) == words


@pytest.mark.parametrize(
    ("annotations", "where"),
    [("none", "inline"), ("none", "own"), ("inline", "inline"), ("own", "kept"), ("own", "inline")],
)
@pytest.mark.parametrize("form", ["own", "inline"])
def test_the_list_of_a_page_grows_by_the_time_stamp_however_it_is_written(
    annotations: str, where: str, form: str
) -> None:
    data = base(annotations=annotations, form=form)
    assert said(stamps(where=where), data) == ["document time stamp"]
    for wrong in (stamps(where=where, listed=False), stamps(where=where, twice=True)):
        with pytest.raises(ProofError):
            said(wrong, data)


@pytest.mark.parametrize("inline", [True, False])
def test_validation_data_may_come_where_there_was_none(inline: bool) -> None:
    def store(writer: IncrementalPdfFileWriter) -> Any:
        value = pdf({"/Type": "/DSS", "/Certs": [writer.add_object(stream(DER))]})
        return value if inline else writer.add_object(value)

    assert said(root_gets("/DSS", store), base(store=False)) == ["validation data"]


def test_a_table_of_objects_may_be_an_object() -> None:
    assert said(signs(), base(tables=False)) == ["signature in sig-a"]
    with pytest.raises(ProofError, match="no permitted reason"):
        said(lambda writer: writer.add_object(stream(b"", Type="/ObjStm")), base(tables=False))


REFUSED: dict[str, tuple[Change, str]] = {
    "an action of the document": (root_gets("/OpenAction", {"/S": "/URI"}), "catalog: /OpenAction"),
    "no metadata": (lambda writer: (writer.root.pop("/Metadata"), writer.update_root()), "catalog: /Metadata"),
    "an unknown extension": (root_gets("/Extensions", {"/XYZ": 1}), "Extensions"),
    "an extension that is no dictionary": (root_gets("/Extensions", [1]), "Extensions"),
    "a large extension": (root_gets("/Extensions", {"/ADBE": "x" * 600}), "Extensions"),
    "an extension that refers": (
        root_gets("/Extensions", lambda writer: {"/ADBE": writer.add_object(pdf({}))}),
        "Extensions",
    ),
    "no form": (lambda writer: (writer.root.pop("/AcroForm"), writer.update_root()), "form"),
    "another form": (
        root_gets("/AcroForm", lambda writer: writer.add_object(pdf({"/Fields": []}))),
        "the form points elsewhere",
    ),
    "calculations in the form": (form_gets("/CO", []), "form: /CO"),
    "a form without signatures": (form_gets("/SigFlags", 0), "SigFlags"),
    "a form of another kind": (form_gets("/SigFlags", 2), "SigFlags"),
    "another list of fields": (form_gets("/Fields", []), "the list of fields points elsewhere"),
    "a field less": (fields_become(lambda _, fields: fields[:1]), "fields were removed"),
    "fields in another order": (fields_become(lambda _, fields: reversed(fields)), "fields were removed"),
    "a field twice": (fields_become(lambda _, fields: [*fields, fields[0]]), "added field is not a new object"),
    "a field without an object": (fields_become(lambda _, fields: [*fields, {"/T": "x"}]), "not a new object"),
    "a text field": (stamps(FT="/Tx"), "invisible document time stamp"),
    "a field of a known name": (stamps(T="sig-a"), "invisible document time stamp"),
    "a field that acts": (stamps(AA={}), "invisible document time stamp"),
    "a visible field": (stamps(Rect=[0, 0, 1, 1]), "visible"),
    "a time stamp without a page": (stamps(page=lambda _: {}), "without a page"),
    "a time stamp on no page": (
        stamps(page=lambda writer: writer.root.raw_get("/AcroForm")),
        "something that is no page",
    ),
    "a time stamp of another kind": (stamps(value={"Type": "/Sig"}), "another kind"),
    "a time stamp of another format": (stamps(value={"SubFilter": "/ETSI.CAdES.detached"}), "signature format"),
    "a time stamp that no page lists": (stamps(listed=False), "annotations"),
    "a page turned": (
        both(
            stamps(),
            lambda writer: writer.root["/Pages"]["/Kids"][0].update(pdf({"/Rotate": 90})),
        ),
        "page: /Rotate",
    ),
    "a list of annotations elsewhere": (
        stamps(where="own"),
        "list of annotations points elsewhere",
    ),
    "a signature inside its field": (signs(value=lambda _: pdf(signature())), "signature is not a new object"),
    "a signature that was there": (
        signs(value=lambda writer: writer.root.raw_get("/DSS")),
        "signature is not a new object",
    ),
    "a signature of another kind": (signs(Type="/DocTimeStamp"), "another kind"),
    "a signature without a kind": (signs(Type=None), "another kind"),
    "a signature with more": (signs(Changes=[1]), "unknown entries"),
    "a signature of another format": (signs(SubFilter="/adbe.pkcs7.detached"), "signature format"),
    "a signature that refers": (
        signs(value=lambda writer: writer.add_object(pdf(signature(Prop_Build=writer.add_object(pdf({})))))),
        "references inside",
    ),
    "a field that is moved": (
        signs(also=lambda _, field: field.update(pdf({"/Rect": [0, 0, 9, 9]}))),
        "field sig-a: /Rect",
    ),
    "a field that changed unsigned": (
        overwrites(
            lambda writer: writer.root["/AcroForm"]["/Fields"].raw_get(0),
            pdf({"/FT": "/Sig", "/T": "sig-a", "/Rect": [1, 1, 5, 5], "/AP": {}}),
        ),
        "field sig-a: /P",
    ),
    "an appearance alone": (
        lambda writer: (
            field_of(writer).update(pdf({"/AP": {"/N": form_object()(writer)}})),
            writer.update_container(field_of(writer)),
        ),
        "without being signed",
    ),
    "an appearance when pressed": (
        shows(form_object(), states=lambda normal: {"/N": normal, "/D": normal}),
        "more than one appearance",
    ),
    "an appearance of another state": (shows(form_object(), states=lambda normal: {"/D": normal}), "more than one"),
    "an appearance that was there": (
        shows(lambda writer: writer.root["/Pages"]["/Kids"][0].raw_get("/Contents")),
        "appearance is not a new object",
    ),
    "an appearance with more": (shows(form_object(OPI={})), "unknown entries in the appearance"),
    "an action in an appearance": (shows(form_object(resources={"/JS": "x"})), "action or a file"),
    "a file in an appearance": (shows(form_object(resources={"/Font": [{"/EF": {}}]})), "action or a file"),
    "an older object in an appearance": (
        shows(form_object(resources=lambda writer: {"/Font": writer.root.raw_get("/Metadata")})),
        "an older object",
    ),
    "an older object in a list in an appearance": (
        shows(form_object(resources=lambda writer: {"/Font": [writer.root.raw_get("/Metadata")]})),
        "an older object",
    ),
    "an appearance that is too deep": (shows(form_object(resources=deep(10))), "too deeply"),
    "no validation data": (lambda writer: (writer.root.pop("/DSS"), writer.update_root()), "validation data is gone"),
    "other validation data": (
        root_gets("/DSS", lambda writer: writer.root.raw_get("/AcroForm")),
        "validation data points elsewhere",
    ),
    "new validation data for old": (
        root_gets("/DSS", lambda writer: writer.add_object(writer.root["/DSS"])),
        "validation data points elsewhere",
    ),
    "validation data of another shape": (store_gets("/JS", "x"), "validation data: unknown entries"),
    "validation data that is a list": (
        overwrites(lambda writer: writer.root.raw_get("/DSS"), pdf([])),
        "",
    ),
    "a certificate less": (store_gets("/Certs", []), "/Certs lost something"),
    "a list less": (store_gets("/Certs", None), "/Certs lost something"),
    "another list in place of one": (
        store_gets("/CRLs", lambda writer, _: writer.root["/AcroForm"].raw_get("/Fields")),
        "/CRLs points elsewhere",
    ),
    "a list that is none": (store_gets("/OCSPs", {}), "not a list"),
    "a certificate in the list itself": (store_gets("/OCSPs", [1]), "without an object of its own"),
    "a certificate that is no stream": (
        store_gets("/OCSPs", lambda writer, _: [writer.add_object(pdf({}))]),
        "no plain DER stream",
    ),
    "a certificate that is no DER": (store_gets("/Certs", one_more(b"%PDF")), "no plain DER stream"),
    "a certificate with more": (store_gets("/Certs", one_more(Type="/EmbeddedFile")), "no plain DER stream"),
    "a certificate overwritten": (
        overwrites(lambda writer: writer.root["/DSS"]["/Certs"].raw_get(0), stream(b"\x30\x03\x02\x01\x08")),
        "overwritten",
    ),
    "no validation data of signatures": (store_gets("/VRI", None), "/VRI is gone"),
    "validation data of a signature less": (store_gets("/VRI", {}), "/VRI lost something"),
    "validation data of no signature": (
        store_gets("/VRI", lambda _, store: {OLD_RELATED: store["/VRI"].raw_get(OLD_RELATED), RELATED.lower(): {}}),
        "/VRI has another entry",
    ),
    "validation data of a signature with more": (
        store_gets("/VRI", lambda _, store: {OLD_RELATED: store["/VRI"].raw_get(OLD_RELATED), RELATED: {"/JS": "x"}}),
        "unknown entries in /VRI",
    ),
    "validation data of a signature that is no DER": (
        store_gets(
            "/VRI",
            lambda writer, _: {OLD_RELATED: {"/Cert": []}, RELATED: {"/OCSP": [writer.add_object(stream(b"x"))]}},
        ),
        "no plain DER stream",
    ),
    "validation data of signatures that is none": (store_gets("/VRI", []), "another shape"),
    "another title": (information(Title="x"), "document information: /Title"),
    "information elsewhere": (
        lambda writer: writer.set_info(writer.add_object(pdf({"/Title": "Report"}))),
        "document information points elsewhere",
    ),
    "another title in metadata": (metadata(b"Report", b"Rapport"), "title"),
    "another tool in metadata": (metadata(b'"tool"', b'"file"'), "CreatorTool"),
    "a new object for nothing": (lambda writer: writer.add_object(pdf({})), "no permitted reason"),
    "another content of the page": (
        overwrites(lambda writer: writer.root["/Pages"]["/Kids"][0].raw_get("/Contents"), stream(b"q Q")),
        "no permitted reason",
    ),
    "a page taken out": (
        overwrites(lambda writer: writer.root.raw_get("/Pages"), pdf({"/Type": "/Pages", "/Kids": [], "/Count": 0})),
        "no permitted reason",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_may_not_be_done(name: str) -> None:
    change, words = REFUSED[name]
    with pytest.raises(ProofError) as refused:
        said(change)
    assert refused.value.code == "report.update"
    assert words in refused.value.detail, refused.value.detail


def test_who_signed_already_does_not_sign_again() -> None:
    writer = IncrementalPdfFileWriter(BytesIO(base()))
    writer._update_meta = lambda: None
    signs()(writer)
    output = BytesIO()
    writer.write(output)
    again = IncrementalPdfFileWriter(BytesIO(output.getvalue()))
    again._update_meta = lambda: None
    signs()(again)
    output = BytesIO()
    again.write(output)
    reader = PdfFileReader(BytesIO(output.getvalue()))
    updates._Update(SimpleNamespace(reader=reader), 1).require_permitted()  # type: ignore[arg-type]
    with pytest.raises(ProofError, match="signed already") as refused:
        updates._Update(SimpleNamespace(reader=reader), 2).require_permitted()  # type: ignore[arg-type]
    assert refused.value.place == "sig-a"
    revisions: Any = SimpleNamespace(reader=reader, require_nothing_between=lambda: None, later=lambda: range(1, 2))
    assert updates.require_permitted(revisions) == ["revision 1: signature in sig-a"]


def test_metadata_is_compared_by_what_it_says_not_how_it_is_written() -> None:
    said = updates._properties(XMP)
    assert [(name.rpartition("}")[2], value) for name, value in said] == [("CreatorTool", "tool"), ("title", "Report")]
    as_element = XMP.replace(b' xmp:CreatorTool="tool"', b"").replace(
        b"<xmp:Mod", b"<xmp:CreatorTool> tool </xmp:CreatorTool><xmp:Mod"
    )
    assert updates._properties(as_element) == said
    nested = XMP.replace(b"<dc:title>", b"<dc:other>").replace(b"</dc:title>", b"</dc:other>")
    assert updates._properties(nested) != said
    with pytest.raises(Exception, match="DTD"):
        updates._properties(b"<!DOCTYPE x>" + XMP)
