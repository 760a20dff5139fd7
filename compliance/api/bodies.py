"""Bodies as bytes: read once, bounded, complete, unpacked; and strict JSON for the small ones.

REST framework's own parsers keep the last of two equal names and take NaN and floats, so none of them is used.
"""

import base64
import binascii
import hashlib
import re
import zlib

from django.http import HttpRequest

from compliance.api.problems import ApiProblem
from compliance.proof import strict_json

MAX_BATCH_BYTES = 5 * 1024 * 1024  # about 1,000 events of the usual size; what a client can well repeat after a fault
MAX_BATCH_EVENTS = 1_000  # one transaction, one receipt; larger ones belong into a job
MAX_EVIDENCE_BYTES = 20 * 1024 * 1024
MAX_JSON_BYTES = 64 * 1024  # requests that are not batches: a registration, a report's parameters
MAX_EXPANSION = 10  # events compress about five-fold; more is no event stream

_DIGEST = re.compile(r"(?:^|,)\s*sha-256=:([A-Za-z0-9+/]{43}=):\s*(?:,|$)")


def read(request: HttpRequest, *, max_bytes: int) -> bytes:
    """The whole body, unpacked if it came as gzip. Raises ApiProblem when it is too large, cut short or without
    length."""
    length = request.META.get("CONTENT_LENGTH") or ""
    if not length.isascii() or not length.isdigit():
        raise ApiProblem("length.required")
    if int(length) > max_bytes:
        raise ApiProblem("body.too_large", f"{int(length)} bytes were announced, at most {max_bytes} are taken here.")
    try:
        data = request.read(max_bytes + 1)
    except OSError as error:
        raise ApiProblem("request.truncated") from error
    if len(data) != int(length):
        raise ApiProblem("request.truncated")
    match request.headers.get("Content-Encoding", "identity").strip().lower():
        case "identity" | "":
            return data
        case "gzip":
            return _expand(data, max_bytes=max_bytes)
    raise ApiProblem("encoding.unsupported")


def read_json(request: HttpRequest) -> tuple[strict_json.JSON, bytes]:
    """The body as strict JSON, and its bytes."""
    if media_type(request) != "application/json":
        raise ApiProblem("media_type.unsupported")
    data = read(request, max_bytes=MAX_JSON_BYTES)
    return strict_json.parse(data, max_bytes=MAX_JSON_BYTES), data


def media_type(request: HttpRequest) -> str:
    """What Content-Type says, without parameters."""
    return (request.content_type or "").strip().lower()


def content_digest(request: HttpRequest) -> bytes:
    """The SHA-256 that the header Content-Digest promises (RFC 9530). Other algorithms beside it are ignored."""
    match = _DIGEST.search(request.headers.get("Content-Digest", ""))
    if match is None:
        raise ApiProblem("digest.form")
    try:
        return base64.b64decode(match.group(1), validate=True)
    except binascii.Error:
        raise ApiProblem("digest.form") from None


def check_digest(data: bytes, promised: bytes) -> None:
    """Raise ApiProblem unless `data` is what the digest promised."""
    if hashlib.sha256(data).digest() != promised:
        raise ApiProblem("digest.mismatch")


def _expand(data: bytes, *, max_bytes: int) -> bytes:
    bound = min(max_bytes, len(data) * MAX_EXPANSION + 1024)
    expander = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        expanded = expander.decompress(data, bound + 1)
    except zlib.error:
        raise ApiProblem("encoding.broken") from None
    if len(expanded) > bound:
        raise ApiProblem("body.too_large", f"The body unpacks to more than {bound} bytes.")
    if not expander.eof or expander.unused_data:
        raise ApiProblem("encoding.broken")
    return expanded
