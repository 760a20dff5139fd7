"""HTTP to the platform: bearer key, patience, problem documents (RFC 9457).

Every request sent through here may be sent again: batches and evidence are answered alike when they come twice, and all
others read or ask for a job. So a lost answer is mended by asking again, with pauses that double, are shortened by
chance so that a fleet does not knock in step, and are never shorter than the server's Retry-After.
"""

import random
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import httpx

from compliance.client.errors import ClientError, Faulty, LineProblem, NotTrusted, Refused, Unreachable

LATER = frozenset({429, 500, 502, 503, 504, 507})  # "not now": the same request may succeed unchanged
FAULT = 500  # the server's own mistake: waiting rarely mends it
FAULT_TRIES = 4  # enough to pass over a restart in the middle of a request; takes about two seconds
FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 30.0
CONNECT_SECONDS, READ_SECONDS = 10.0, 120.0  # a full batch on a slow disk takes seconds, not minutes
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(slots=True)
class Transport:
    """One server and one API key. `patience_seconds` bounds the time spent on retries of one request."""

    server: str
    api_key: str = ""
    patience_seconds: float = 300.0
    connections: int = 8
    on_wait: Callable[[str, float], None] | None = None
    sleep: Callable[[float], None] = time.sleep
    _client: httpx.Client = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Refuse to send an API key in the clear over a network."""
        place = urlsplit(self.server)
        if place.scheme not in {"http", "https"} or not place.hostname:
            raise ClientError(f"{self.server!r} is not the address of a server.", mend="Give --server https://…")
        if place.scheme == "http" and place.hostname not in LOOPBACK:
            raise ClientError(
                f"{self.server} is not encrypted, so the API key could be read on the way.",
                mend="Use https://, or http:// only to this very machine.",
            )
        headers = {"User-Agent": "meterproof-client/1", "Accept": "application/json, application/problem+json"}
        if self.api_key:
            headers["Authorization"] = f"Bearer {self.api_key}"
        self._client = httpx.Client(
            base_url=self.server,
            headers=headers,
            timeout=httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS),
            limits=httpx.Limits(max_connections=self.connections),
            follow_redirects=False,
        )

    def close(self) -> None:
        """Give the connections back."""
        self._client.close()

    def get_json(self, path: str, *, params: Mapping[str, str | int] | None = None) -> Any:
        """The JSON answer of `GET path`."""
        return _json(self.send("GET", path, params=params))

    def get_bytes(self, path: str) -> bytes:
        """The body of `GET path`."""
        return self.send("GET", path).content

    def post_json(self, path: str, value: object, *, headers: Mapping[str, str] | None = None) -> Any:
        """The JSON answer of `POST path` with `value`."""
        return _json(self.send("POST", path, json=value, headers=headers))

    def send(
        self,
        method: str,
        path: str,
        *,
        content: bytes | None = None,
        json: object | None = None,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str | int] | None = None,
    ) -> httpx.Response:
        """Send until there is an answer. Raises Refused when it is a no, Unreachable when patience ends first, and
        Faulty when the server fails at it again and again.
        """
        deadline = time.monotonic() + self.patience_seconds
        pause = FIRST_PAUSE_SECONDS
        faults = 0
        while True:
            asked_for = 0.0
            try:
                answer = self._client.request(
                    method,
                    path,
                    content=content,
                    json=json,
                    headers=dict(headers or {}),
                    params=dict(params) if params else None,
                )
                if answer.status_code not in LATER:
                    return _accept(answer)
                reason = f"{_refusal(answer).message}."
                asked_for = _retry_after(answer)
                faults += answer.status_code == FAULT
                if faults == FAULT_TRIES:
                    raise Faulty(f"{self.server} failed {faults} times: {reason}", request=_request_id(answer))
            except httpx.TransportError as error:
                reason = f"No answer: {_words(error)}."
            wait = max(asked_for, pause * random.uniform(0.5, 1.0))  # noqa: S311  spreads load, guards nothing
            if time.monotonic() + wait > deadline:
                why = f"it asks to wait {asked_for:.0f} s" if asked_for else f"tried for {self.patience_seconds:.0f} s"
                raise Unreachable(f"{self.server}: {reason} Given up: {why}.")
            if self.on_wait is not None:
                self.on_wait(reason, wait)
            self.sleep(wait)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)


def _accept(answer: httpx.Response) -> httpx.Response:
    if answer.is_success:
        return answer
    if answer.is_redirect:
        raise ClientError(
            f"The server sends us on to {answer.headers.get('location', 'nowhere')}; an API key is not sent there.",
            mend="Give the address that finally answers as --server.",
        )
    raise _refusal(answer)


def _refusal(answer: httpx.Response) -> Refused:
    try:
        problem = answer.json()
    except ValueError:
        problem = {}
    if not isinstance(problem, dict):
        problem = {}
    lines = [line for line in problem.get("errors") or [] if isinstance(line, dict)]
    return Refused(
        status=answer.status_code,
        code=str(problem.get("code") or "http"),
        detail=str(problem.get("detail") or problem.get("title") or answer.reason_phrase),
        mend=str(problem.get("mend") or ""),
        problems=[
            LineProblem(
                line=_line(line),
                pointer=str(line.get("pointer") or ""),
                code=str(line.get("code") or ""),
                detail=str(line.get("detail") or ""),
            )
            for line in lines
        ],
    )


def _line(problem: Mapping[str, object]) -> int:
    """Line in the batch as sent (the envelope is line 1), 0 when the problem is the batch's."""
    line, index = problem.get("line"), problem.get("index")
    if isinstance(line, int):
        return line
    return index + 2 if isinstance(index, int) else 0


def _words(error: httpx.TransportError) -> str:
    """What the system said, without its number."""
    return re.sub(r"^\[Errno -?[0-9]+\] ", "", str(error)) or type(error).__name__


def _request_id(answer: httpx.Response) -> str:
    return str(answer.headers.get("x-request-id", ""))


def _json(answer: httpx.Response) -> Any:
    try:
        return answer.json()
    except ValueError as error:
        raise NotTrusted(f"The answer to {answer.request.url.path} is not JSON.") from error


def _retry_after(answer: httpx.Response) -> float:
    text = answer.headers.get("retry-after", "")
    if text.isdigit():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (TypeError, ValueError):
        return 0.0
