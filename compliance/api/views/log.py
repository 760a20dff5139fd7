"""The public face of the log: its checkpoint and hash tiles, as files (C2SP tlog-tiles), and consistency proofs.

They hold hashes only, so everybody may have them. Entry bundles hold the events themselves and are never served here.
"""

from pathlib import Path

from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe

from compliance.ledger import anchors, proofs, tiles
from compliance.proof import cose_receipt

FOR_EVER = "public, max-age=31536000, immutable"  # a tile has one content for ever
MOMENT = "public, max-age=1"  # the specification asks for a few seconds at most; ours is new each second
# An index below 2^64 has at most seven groups of three digits.
TILE = r"log/tile/(?P<path>(?:[0-9]|[1-5][0-9]|6[0-3])/(?:x[0-9]{3}/){0,6}[0-9]{3}(?:\.p/[1-9][0-9]{0,2})?)"

_SIZE = r"(?:0|[1-9][0-9]{0,15})"
CONSISTENCY = rf"log/consistency/(?P<first>{_SIZE})/(?P<second>{_SIZE})"


@csrf_exempt
@require_safe
def checkpoint(request: HttpRequest) -> HttpResponse:
    """`/log/checkpoint`: the signed note that was published last."""
    note = _read(tiles.folder() / tiles.CHECKPOINT)
    return _public(note, content_type="text/plain; charset=utf-8", cache=MOMENT)


@csrf_exempt
@require_safe
def anchored(request: HttpRequest) -> HttpResponse:
    """`/log/checkpoint.anchored`: the newest note that a time stamp authority has stamped."""
    note = _read(tiles.folder() / anchors.ANCHORED)
    return _public(note, content_type="text/plain; charset=utf-8", cache=MOMENT)


@csrf_exempt
@require_safe
def time_stamp(request: HttpRequest) -> HttpResponse:
    """`/log/checkpoint.tsr`: the RFC 3161 response over exactly those bytes."""
    return _public(_read(tiles.folder() / anchors.STAMP), content_type="application/timestamp-reply", cache=MOMENT)


@csrf_exempt
@require_safe
def tile(request: HttpRequest, path: str) -> HttpResponse:
    """`/log/tile/<L>/<N>[.p/<W>]`: hashes of one level of the tree."""
    return _public(_read(tiles.folder() / "tile" / path), content_type="application/octet-stream", cache=FOR_EVER)


@csrf_exempt
@require_safe
def consistency(request: HttpRequest, first: str, second: str) -> HttpResponse:
    """`/log/consistency/<old>/<new>`: from one published size to a later one, as a witness takes it."""
    try:
        proof = proofs.consistency_proof(int(first), int(second))
    except proofs.NotPublished:
        raise Http404 from None
    return _public(proof, content_type="text/plain; charset=utf-8", cache=MOMENT)


@csrf_exempt
@require_safe
def consistency_receipt(request: HttpRequest, first: str, second: str) -> HttpResponse:
    """`/log/consistency/<old>/<new>.cose`: the same, signed by the receipt key as a COSE receipt (RFC 9942)."""
    try:
        receipt = proofs.consistency_receipt(int(first), int(second))
    except proofs.NotPublished:
        raise Http404 from None
    return _public(receipt, content_type=cose_receipt.MEDIA_TYPE, cache=MOMENT)


@csrf_exempt
@require_safe
def receipt_keys(request: HttpRequest) -> HttpResponse:
    """`/log/receipt-keys`: the keys of receipts as a COSE_KeySet, for tools that read COSE."""
    try:
        keys = proofs.receipt_key_set()
    except proofs.NotPublished:
        raise Http404 from None
    return _public(keys, content_type=cose_receipt.KEY_SET_MEDIA_TYPE, cache=MOMENT)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise Http404 from None


def _public(data: bytes, *, content_type: str, cache: str) -> HttpResponse:
    headers = {
        "Cache-Control": cache,
        "Access-Control-Allow-Origin": "*",  # monitors and verifiers in other people's pages
        "Cross-Origin-Resource-Policy": "cross-origin",
    }
    return HttpResponse(data, content_type=content_type, headers=headers)
