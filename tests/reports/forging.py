"""What a forger does to a sealed report: further revisions, as PDF tools write them, and bytes in between."""

from collections.abc import Callable
from io import BytesIO
from typing import Any

from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.generic import pdf_name, pdf_string
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter

Change = Callable[[IncrementalPdfFileWriter], None]


def updated(data: bytes, change: Change) -> bytes:
    """`data` with one more revision."""
    writer = IncrementalPdfFileWriter(BytesIO(data))
    change(writer)
    output = BytesIO()
    writer.write(output)
    return output.getvalue()


def overlay(writer: IncrementalPdfFileWriter) -> None:
    """A white box over the conclusion, with other words on it."""
    stream = generic.StreamObject(stream_data=b"q 1 1 1 rg 50 200 400 90 re f Q")
    writer.add_stream_to_page(0, writer.add_object(stream))


def page_removed(writer: IncrementalPdfFileWriter) -> None:
    pages = writer.root["/Pages"]
    del pages["/Kids"][-1]
    pages["/Count"] = generic.NumberObject(pages["/Count"] - 1)
    writer.update_container(pages)


def page_turned(writer: IncrementalPdfFileWriter) -> None:
    page = _first_page(writer)
    page["/Rotate"] = generic.NumberObject(180)
    writer.update_container(page)


def note_added(writer: IncrementalPdfFileWriter) -> None:
    page = _first_page(writer)
    note = {"/Type": "/Annot", "/Subtype": "/FreeText", "/Rect": [50, 200, 450, 290], "/Contents": "void"}
    entries = {
        pdf_name("/Type"): pdf_name(note["/Type"]),
        pdf_name("/Subtype"): pdf_name(note["/Subtype"]),
        pdf_name("/Rect"): generic.ArrayObject(map(generic.NumberObject, note["/Rect"])),
        pdf_name("/Contents"): pdf_string(note["/Contents"]),
    }
    page.setdefault(pdf_name("/Annots"), generic.ArrayObject())
    page["/Annots"].append(writer.add_object(generic.DictionaryObject(entries)))
    writer.update_container(page["/Annots"])
    writer.update_container(page)


def attachment_swapped(writer: IncrementalPdfFileWriter) -> None:
    files = writer.root["/Names"]["/EmbeddedFiles"]["/Names"]
    contents = files[1]["/EF"]
    other = generic.StreamObject(stream_data=b'{"format":"meterproof-report/1"}')
    contents["/F"] = writer.add_object(other)
    writer.update_container(files[1])


def attachment_emptied(writer: IncrementalPdfFileWriter) -> None:
    """The stream itself is replaced, under its own number."""
    reference = writer.root["/Names"]["/EmbeddedFiles"]["/Names"][1]["/EF"].raw_get("/F").reference
    writer.objects[(reference.generation, reference.idnum)] = generic.StreamObject(stream_data=b"")


def title_changed(writer: IncrementalPdfFileWriter) -> None:
    information = writer.trailer["/Info"]
    information["/Title"] = pdf_string("Another report")
    writer.update_container(information)


def opens_a_page(writer: IncrementalPdfFileWriter) -> None:
    """Something that runs when the file is opened."""
    action = {pdf_name("/S"): pdf_name("/URI"), pdf_name("/URI"): pdf_string("https://example.org/")}
    writer.root["/OpenAction"] = generic.DictionaryObject(action)
    writer.update_root()


def metadata_changed(writer: IncrementalPdfFileWriter) -> None:
    old = writer.root["/Metadata"]
    reference = writer.root.raw_get("/Metadata").reference
    entries = {pdf_name("/Type"): pdf_name("/Metadata"), pdf_name("/Subtype"): pdf_name("/XML")}
    forged = bytes(old.data).replace(b"pdfuaid:part", b"pdfuaid:prat")
    writer._update_meta = lambda: None  # it would write its own over ours
    writer.objects[(reference.generation, reference.idnum)] = generic.StreamObject(entries, stream_data=forged)


def validation_data_emptied(writer: IncrementalPdfFileWriter) -> None:
    store = writer.root["/DSS"]
    store["/CRLs"] = generic.ArrayObject()
    writer.update_container(store)


def seal_taken_off(writer: IncrementalPdfFileWriter) -> None:
    field = _field(writer, "sig-seal")
    del field["/V"]
    writer.update_container(field)


def field_moved(writer: IncrementalPdfFileWriter) -> None:
    field = _field(writer, "sig-seal")
    field["/Rect"] = generic.ArrayObject(map(generic.NumberObject, (0, 0, 10, 10)))
    writer.update_container(field)


def object_nobody_lists(data: bytes) -> bytes:
    """Bytes between two revisions, which some readers take for an object."""
    return data + b"99999 0 obj\n<</Type/Catalog>>\nendobj\n"


def flipped(data: bytes, place: int) -> bytes:
    """`data` with one bit changed."""
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def _first_page(writer: IncrementalPdfFileWriter) -> Any:
    return writer.root["/Pages"]["/Kids"][0]


def _field(writer: IncrementalPdfFileWriter, name: str) -> Any:
    return next(field for field in writer.root["/AcroForm"]["/Fields"] if field.get_object()["/T"] == name).get_object()
