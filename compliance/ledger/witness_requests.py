"""Asking witnesses over HTTP, all at the same time: C2SP tlog-witness (https://c2sp.org/tlog-witness), the log's side.

A witness may be down, slow or lying. So every request has one time-out in all, answers are cut off at a size, redirects
are not followed, compression is not unpacked, and only a line that verifies under the key of the policy counts.
"""

import asyncio
import logging
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

import httpx

from compliance.proof import note
from compliance.proof.checkpoint import Checkpoint
from compliance.proof.errors import ProofError
from compliance.proof.note import NoteVerifier
from compliance.proof.witness_protocol import (
    ADD_CHECKPOINT,
    MAX_ANSWER_BYTES,
    MAX_CLOCK_DIFFERENCE_SECONDS,
    AddCheckpoint,
    Cosignature,
    checkpoint_path,
    read_cosignature,
    read_size,
)

logger = logging.getLogger(__name__)

MOST_TRIES: Final = 3  # a second after a 409 that names the size; a third if somebody else asked between the two

Prove = Callable[[int], Sequence[bytes]]


@dataclass(frozen=True, slots=True)
class Asked:
    """A witness to ask, and the size that it cosigned last as far as we know."""

    name: str
    url: str
    verifier: NoteVerifier
    size: int


@dataclass(frozen=True, slots=True)
class Told:
    """What a witness answered at last. `alarm` says that it knows another history of this log."""

    name: str
    vkey: str
    size: int
    outcome: str
    cosignature: Cosignature | None = None
    alarm: bool = False
    status: int = 0
    request: bytes = b""
    body: bytes = b""
    their_checkpoint: bytes = b""


class _NoAnswer(Exception):
    """There is nothing to read; the text says why."""


@dataclass(frozen=True, slots=True)
class _Round:
    signed: str
    checkpoint: Checkpoint
    prove: Prove
    seconds: float
    now: datetime


def is_address(url: str) -> bool:
    """Whether a request can be sent there: http or https, a host, no credentials, nothing after the path."""
    try:
        place = urlsplit(url)
        return (
            place.scheme in ("http", "https")
            and bool(place.hostname)
            and place.username is None
            and not place.query
            and not place.fragment
            and (place.port is None or place.port > 0)
        )
    except ValueError:
        return False


def ask_all(
    witnesses: Sequence[Asked], *, signed: str, checkpoint: Checkpoint, prove: Prove, seconds: float, now: datetime
) -> list[Told]:
    """Ask all `witnesses` to cosign the note `signed`; what each told, in their order.

    `prove` gives the consistency path from a size to the checkpoint's. Each request may take `seconds`.
    """
    # Not asyncio.run: that waits for name look-ups that hang, however long, before it returns.
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(_ask_all(witnesses, _Round(signed, checkpoint, prove, seconds, now)))
    finally:
        loop.close()


async def _ask_all(witnesses: Sequence[Asked], round_: _Round) -> list[Told]:
    async with httpx.AsyncClient(
        verify=_certificates(),
        follow_redirects=False,
        timeout=round_.seconds,
        headers={"User-Agent": "meterproof-log/1", "Accept-Encoding": "identity"},
    ) as client:
        return list(await asyncio.gather(*(_ask(client, witness, round_) for witness in witnesses)))


async def _ask(client: httpx.AsyncClient, witness: Asked, round_: _Round) -> Told:
    old = witness.size if witness.size <= round_.checkpoint.size else 0
    told = Told(witness.name, witness.verifier.vkey, witness.size, "")
    for _ in range(MOST_TRIES):
        body = AddCheckpoint(old, tuple(round_.prove(old)), round_.signed).to_bytes()
        try:
            status, content_type, answer = await _send(client, "POST", f"{witness.url}/{ADD_CHECKPOINT}", body, round_)
            told = _read(witness, old, status, content_type, answer, round_)
        except _NoAnswer as error:
            return replace(told, outcome=str(error))
        if told.alarm:
            theirs = await _their_checkpoint(client, witness, round_)
            return replace(told, request=body, body=answer, status=status, their_checkpoint=theirs)
        if status != HTTPStatus.CONFLICT or told.size == old:
            return told
        if told.size < witness.size:
            logger.warning("witness %s cosigned %d entries and has forgotten them", witness.name, witness.size)
        old = told.size
    return replace(told, outcome="names another size each time")


def _read(witness: Asked, old: int, status: int, content_type: str, answer: bytes, round_: _Round) -> Told:
    """What one answer means."""
    size = round_.checkpoint.size
    told = Told(witness.name, witness.verifier.vkey, witness.size, "", status=status)
    if status == HTTPStatus.OK:
        try:
            cosignature = read_cosignature(answer, note.split(round_.signed)[0], witness.verifier)
        except ProofError as error:
            return replace(told, outcome=f"answered without its cosignature ({error.code})")
        if abs(cosignature.time - round_.now.timestamp()) > MAX_CLOCK_DIFFERENCE_SECONDS:
            return replace(told, outcome="cosigned with a time that is minutes from ours: one clock is wrong")
        return replace(told, outcome="cosigned", size=size, cosignature=cosignature)
    if status == HTTPStatus.CONFLICT:
        try:
            named = read_size(content_type, answer)
        except ProofError:
            return replace(told, outcome="answered 409 without a size", size=old)
        if named > size:
            return replace(
                told, alarm=True, outcome=f"has cosigned a log of {named} entries, more than were ever signed here"
            )
        if named == old == size:  # version 1.0.0 of the text; 1.1.0 answers 422
            return replace(told, alarm=True, outcome=f"has cosigned another root of {size} entries")
        return replace(told, outcome=f"has cosigned {named} entries", size=named)
    if status == HTTPStatus.UNPROCESSABLE_ENTITY:
        why = f"answered 422: the log of {size} entries does not continue what it cosigned at {old}"
        return replace(told, alarm=True, outcome=why)
    return replace(told, outcome=f"answered {status}", size=old)


async def _their_checkpoint(client: httpx.AsyncClient, witness: Asked, round_: _Round) -> bytes:
    """What the witness cosigned instead, if it serves that: with ours, the proof of two histories."""
    url = f"{witness.url}/{checkpoint_path(round_.checkpoint.origin)}"
    try:
        status, _, answer = await _send(client, "GET", url, b"", round_)
    except _NoAnswer:
        return b""
    return answer if status == HTTPStatus.OK else b""


async def _send(
    client: httpx.AsyncClient, method: str, url: str, body: bytes, round_: _Round
) -> tuple[int, str, bytes]:
    """Status, content type and body of one answer that came in time. Raises _NoAnswer."""
    headers = {"Content-Type": "text/plain; charset=utf-8"} if body else {}
    read = bytearray()
    try:
        async with (
            asyncio.timeout(round_.seconds),
            client.stream(method, url, content=body or None, headers=headers) as answer,
        ):
            async for chunk in answer.aiter_raw():
                read += chunk
                if len(read) > MAX_ANSWER_BYTES:
                    raise _NoAnswer(f"answered more than {MAX_ANSWER_BYTES} bytes")
            return answer.status_code, answer.headers.get("content-type", ""), bytes(read)
    except (TimeoutError, httpx.TimeoutException):
        raise _NoAnswer(f"did not answer within {round_.seconds:g} s") from None
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        raise _NoAnswer(f"could not be asked: {type(error).__name__}") from None


@cache
def _certificates() -> ssl.SSLContext:
    return httpx.create_ssl_context()
