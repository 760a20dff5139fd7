"""What is let in: a file that is what name, declaration and bytes say. A hostile one leaves nothing behind."""

import hashlib
import io
import struct
import time
import tracemalloc
import zipfile
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compliance.evidence import intake, storage
from compliance.evidence.errors import IntakeRefused
from compliance.evidence.intake import IncomingFile, take_in
from compliance.evidence.pdf_content import active_content


@pytest.fixture(autouse=True)
def blob_dir(tmp_path, settings):
    settings.METERPROOF = {**settings.METERPROOF, "BLOB_DIR": tmp_path / "blobs"}
    return tmp_path / "blobs"


def pdf(body: bytes = b"") -> bytes:
    return b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog " + body + b">>\nendobj\ntrailer << /Root 1 0 R >>\n%%EOF\n"


def png(width: int = 2, height: int = 2) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + struct.pack(">II", width, height) + b"\x08\2\0\0\0" + b"\0" * 40


def jpeg(width: int = 2, height: int = 2) -> bytes:
    frame = b"\xff\xc0\x00\x0b\x08" + struct.pack(">HH", height, width) + b"\x01\x11\x00"
    return b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00" + frame + b"\xff\xd9"


def archive(*entries: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as file:
        for name, data in entries:
            file.writestr(name, data)
    return buffer.getvalue()


def symlink_archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        link = zipfile.ZipInfo("link")
        link.external_attr = 0o120777 << 16
        file.writestr(link, "/etc/passwd")
    return buffer.getvalue()


PEM = b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
BOMB = b"""<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><l>&b;</l>"""
XXE = b"""<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a SYSTEM "file:///etc/passwd">]><l>&a;</l>"""

GOOD = [
    ("a.pdf", "application/pdf", pdf()),
    ("A.PDF", "application/pdf; charset=binary", pdf()),
    ("a.png", "image/png", png()),
    ("a.jpg", "image/jpeg", jpeg()),
    ("a.jpeg", "image/jpeg", jpeg()),
    ("a.csv", "text/csv", b"a,b\r\n1,2\r\n"),
    ("a.csv", "text/csv", b"\xef\xbb\xbfz\xc3\xa4hler;wert\n1;2\n"),
    ("a.json", "application/json", b'["meter:x:y"]'),
    ("a.xml", "application/xml", b"<?xml version='1.0'?><a><b/></a>"),
    ("a.xml", "text/xml", b"<a/>"),
    ("a.txt", "text/plain", "Prüfprotokoll".encode()),
    ("a.pem", "application/x-pem-file", PEM),
    ("a.p7m", "application/pkcs7-mime", b"0\x03\x02\x01\x05"),
    ("a.der", "application/pkix-cert", b"0\x82\x01\x00" + b"\0" * 256),
    ("a.zip", "application/zip", archive(("a.txt", b"text"), ("b/c.csv", b"1,2"))),
]

BAD = [
    ("page.html", "text/html", b"<html>", "file.type"),
    ("noextension", "text/plain", b"text", "file.type"),
    ("a.exe", "application/octet-stream", b"MZ", "file.type"),
    ("a.svg", "image/svg+xml", b"<svg/>", "file.type"),
    ("a.pdf", "image/png", pdf(), "file.type"),
    ("a.pdf", "application/pdf", png(), "file.content"),
    ("a.pdf", "application/pdf", b"x" + pdf(), "file.content"),
    ("a.pdf", "application/pdf", pdf()[:40], "file.content"),
    ("a.png", "image/png", pdf(), "file.content"),
    ("a.png", "image/png", png(0, 1), "file.content"),
    ("a.png", "image/png", png(50_001, 1_000), "file.too_large"),
    ("a.jpg", "image/jpeg", png(), "file.content"),
    ("a.jpg", "image/jpeg", jpeg()[:20], "file.content"),
    ("a.jpg", "image/jpeg", jpeg(60_000, 60_000), "file.too_large"),
    ("a.csv", "text/csv", b"a,b\0", "file.content"),
    ("a.csv", "text/csv", b"\xff\xfe1\0", "file.content"),
    ("a.csv", "text/csv", b'a,"b\n', "file.content"),
    ("a.csv", "text/csv", b"a" * 200_000, "file.content"),
    ("a.csv", "text/csv", b"<HTML><script>alert(1)</script>", "file.content"),
    ("a.txt", "text/plain", b"MZ\x90\x00\x03", "file.content"),
    ("a.txt", "text/plain", b" <!DOCTYPE html><p>", "file.content"),
    ("a.json", "application/json", b"{'a': 1}", "file.content"),
    ("a.json", "application/json", b"[" * 100_000, "file.content"),
    ("a.xml", "application/xml", b"<a>", "file.content"),
    ("a.xml", "application/xml", b"not xml", "file.content"),
    ("a.xml", "application/xml", BOMB, "file.content"),
    ("a.xml", "application/xml", XXE, "file.content"),
    ("a.pem", "application/x-pem-file", b"nothing", "file.content"),
    ("a.pem", "application/x-pem-file", PEM.replace(b"CERTIFICATE", b"EC PRIVATE KEY"), "file.secret"),
    ("a.der", "application/pkix-cert", b"0\x03\x02\x01", "file.content"),
    ("a.der", "application/pkix-cert", b"0", "file.content"),
    ("a.zip", "application/zip", b"PK\x03\x04broken", "file.archive"),
    ("a.zip", "application/zip", archive(("../a", b"x")), "file.archive"),
    ("a.zip", "application/zip", archive(("..\\a", b"x")), "file.archive"),
    ("a.zip", "application/zip", archive(("/etc/a", b"x")), "file.archive"),
    ("a.zip", "application/zip", archive(("c:a", b"x")), "file.archive"),
    ("a.zip", "application/zip", symlink_archive(), "file.archive"),
    ("a.zip", "application/zip", archive(("inner.txt", archive(("a", b"x")))), "file.archive"),
    ("a.zip", "application/zip", archive(("zeros", b"\0" * 5_000_000)), "file.archive"),
    ("a.zip", "application/zip", archive(*((str(n), b"") for n in range(1_001))), "file.archive"),
    ("a.txt", "text/plain", b"", "file.empty"),
    ("a/b.txt", "text/plain", b"text", "file.name"),
    ("a\\b.txt", "text/plain", b"text", "file.name"),
    ("a\r\nSet-Cookie: x.txt", "text/plain", b"text", "file.name"),
    ("a\u202etxt.pdf", "application/pdf", pdf(), "file.name"),
    ("..", "text/plain", b"text", "file.name"),
    ("", "text/plain", b"text", "file.name"),
    ("\ud800.txt", "text/plain", b"text", "file.name"),
    ("ä" * 126 + ".txt", "text/plain", b"text", "file.name"),
]


def offered(name: str, media_type: str, data: bytes, digest: str | None = None) -> IncomingFile:
    return IncomingFile(name, media_type, io.BytesIO(data), digest)


@pytest.mark.parametrize(("name", "media_type", "data"), GOOD, ids=[row[0] + " " + row[1] for row in GOOD])
def test_good_files_are_kept_as_they_are(name, media_type, data):
    taken = take_in(offered(name, media_type, data))
    assert storage.read_blob(taken.sha256) == data
    assert (taken.name, taken.size, taken.flags) == (name, len(data), ())
    assert ";" not in taken.media_type


@pytest.mark.parametrize(
    ("name", "media_type", "data", "code"), BAD, ids=[f"{n}-{row[0]!r:.20}" for n, row in enumerate(BAD)]
)
def test_bad_files_are_refused_and_leave_nothing(blob_dir, name, media_type, data, code):
    """T10, F55, F56, F57."""
    with pytest.raises(IntakeRefused) as caught:
        take_in(offered(name, media_type, data))
    assert caught.value.code == code, caught.value.detail
    assert [path for path in blob_dir.rglob("*") if path.is_file() and path.name != ".lock"] == []


def test_other_bytes_than_announced_are_refused():
    """T11."""
    with pytest.raises(IntakeRefused, match=r"file\.digest"):
        take_in(offered("a.txt", "text/plain", b"text", "0" * 64))


def object_stream(inside: bytes) -> bytes:
    return b"2 0 obj << /Type /ObjStm /N 1 /First 4 /Filter /FlateDecode >> stream\n" + zlib.compress(inside)


@pytest.mark.parametrize(
    ("body", "flag"),
    [
        (b"/OpenAction << /S /JavaScript /JS (app.alert(1)) >>", "script"),
        (b"/OpenAction 5 0 R", "action on opening"),
        (b"/J#61vaScript 5 0 R", "script"),
        (b"/AA << >>", "automatic action"),
        (b"/Launch", "starts programs"),
        (b"/Names << /EmbeddedFiles 3 0 R >>", "embedded file"),
        (b"/XFA 3 0 R", "dynamic form"),
        (b"/RichMedia", "rich media"),
        (b"/Encrypt 9 0 R", "encrypted"),
        (object_stream(b"1 0 << /S /Launch >>"), "starts programs"),
    ],
)
def test_active_content_of_a_pdf_is_flagged(body, flag):
    taken = take_in(offered("a.pdf", "application/pdf", pdf(body)))
    assert flag in taken.flags


def test_a_quiet_pdf_has_no_flag():
    assert active_content(pdf(b"/Pages 2 0 R /Lang (en) /AAB 1 /JSX 2")) == ()


def test_a_bomb_inside_a_pdf_costs_bounded_work():
    bomb = b"".join(object_stream(b"\0" * 30_000_000) for _ in range(5))
    assert active_content(pdf(bomb)) == ("too many object streams",)


def test_more_object_streams_than_are_searched_are_flagged_and_never_copy_the_rest_of_the_file():
    """20 MiB of beginnings took the rest of the file once for each of a million: hours."""
    hostile = pdf(b"/ObjStm stream\nx" * (20 * 1024 * 1024 // 16))
    tracemalloc.start()
    try:
        started = time.thread_time()
        assert active_content(hostile) == ("too many object streams",)
        assert time.thread_time() - started < 20
        assert tracemalloc.get_traced_memory()[1] < 4 * 1024 * 1024
    finally:
        tracemalloc.stop()


def test_object_streams_that_lie_over_each_other_are_unpacked_once():
    """Each begins inside the one before and ends where all end."""
    beginning = b"/ObjStm stream\n\x78\x01"
    stored = b"\0" + struct.pack("<HH", len(beginning), len(beginning) ^ 0xFFFF) + beginning
    hostile = beginning + stored * 1_000 + b"\0\0\0\xff\xff" * 200_000
    assert active_content(pdf(hostile)) == ("too many object streams",)


def test_what_stands_before_a_break_in_an_object_stream_is_flagged():
    inside = b"/Launch " + hashlib.shake_128(b"noise").digest(400_000)
    broken = b"/ObjStm stream\n" + zlib.compress(inside)[:300_000] + b"\xff" * 100
    assert active_content(broken) == ("starts programs",)


@pytest.mark.parametrize(
    ("name", "media_type", "repeated"),
    [("a.json", "application/json", b"[],"), ("a.xml", "application/xml", b"a "), ("a.csv", "text/csv", b",\n")],
)
def test_a_file_that_would_take_thirty_times_its_bytes_is_refused_unparsed(blob_dir, name, media_type, repeated):
    hostile = repeated * (20 * 1024 * 1024 // len(repeated))
    tracemalloc.start()
    try:
        with pytest.raises(IntakeRefused, match=r"file\.too_large: .* up to 4 MiB; send it in a ZIP"):
            take_in(offered(name, media_type, hostile))
        assert tracemalloc.get_traced_memory()[1] < 4 * 1024 * 1024
    finally:
        tracemalloc.stop()


def test_one_long_attribute_is_not_read_again_with_every_piece():
    started = time.thread_time()
    take_in(offered("a.xml", "application/xml", b"<a b='" + b"c" * (intake.MAX_PARSED_BYTES - 10) + b"'/>"))
    assert time.thread_time() - started < 5


def test_rows_are_read_one_by_one():
    hostile = b",\n" * 100_000
    tracemalloc.start()
    try:
        assert take_in(offered("a.csv", "text/csv", hostile)).flags == ()
        assert tracemalloc.get_traced_memory()[1] < 12 * len(hostile)
    finally:
        tracemalloc.stop()


def test_a_csv_field_may_hold_line_ends():
    assert take_in(offered("a.csv", "text/csv", b'a,"b\r\nc"\r\n1,2\r\n')).flags == ()


def test_formulas_in_a_list_are_flagged():
    assert take_in(offered("a.csv", "text/csv", b"name\n=1+1\n")).flags == ("formulas",)


def test_an_encrypted_archive_is_flagged():
    data = bytearray(archive(("a.txt", b"text"), method=zipfile.ZIP_STORED))
    data[6] |= 1
    data[data.rindex(b"PK\x01\x02") + 8] |= 1
    assert take_in(offered("a.zip", "application/zip", bytes(data))).flags == ("encrypted",)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA], ids=["bzip2", "lzma"])
def test_a_bomb_that_unpacks_in_one_piece_is_refused_before_it_is_opened(method):
    size = 32 * 1024 * 1024
    bomb = archive(("zeros", b"\0" * size), method=method).replace(struct.pack("<I", size), struct.pack("<I", 100))
    tracemalloc.start()
    try:
        with pytest.raises(IntakeRefused, match=r"file\.archive.*packed with"):
            take_in(offered("a.zip", "application/zip", bomb))
        assert tracemalloc.get_traced_memory()[1] < 4 * 1024 * 1024
    finally:
        tracemalloc.stop()


def test_an_archive_whose_files_share_their_bytes_is_refused():
    data = archive(("a.txt", bytes(range(256))), method=zipfile.ZIP_STORED)
    start, end = data.index(b"PK\x01\x02"), data.index(b"PK\x05\x06")
    directory = data[start:end] * 4
    tail = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 4, 4, len(directory), start, 0)
    with pytest.raises(IntakeRefused, match=r"file\.archive"):
        take_in(offered("a.zip", "application/zip", data[:start] + directory + tail))


@given(st.sampled_from(GOOD), st.data())
def test_no_mutation_breaks_the_intake(row, data):
    """Whatever a file holds, it is taken or refused with a reason; no other error, and never other bytes."""
    name, media_type, good = row
    position = data.draw(st.integers(0, len(good)))
    mutant = good[:position] + data.draw(st.binary(max_size=8)) + good[position + data.draw(st.integers(0, 4)) :]
    try:
        taken = take_in(offered(name, media_type, mutant))
    except IntakeRefused:
        return
    assert storage.read_blob(taken.sha256) == mutant


def test_every_kind_is_declared_once():
    extensions = [extension for kind in intake.KINDS for extension in kind.extensions]
    assert len(extensions) == len(set(extensions))
