"""A time stamp authority over HTTP on loopback (RFC 3161 section 3.4): the development authority, or one gone wrong."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from asn1crypto import tsp

from compliance.jobs import clock
from compliance.reports.authority import timestamps
from compliance.reports.authority.development import DevelopmentAuthority

Answer = Callable[[tsp.TimeStampReq], bytes | None]


@dataclass
class Desk:
    """Who answers at `address`; what it answers can be changed while it runs. `asked` counts requests."""

    authority: DevelopmentAuthority
    address: str = ""
    answer: Answer | None = None
    asked: int = 0
    others: list[bytes] = field(default_factory=list)

    def right(self, request: tsp.TimeStampReq, *, late: timedelta = timedelta(0)) -> bytes:
        """The right answer, at a moment `late` from now."""
        unit = self.authority.signer("tsa")
        return bytes(timestamps.answer(request, unit=unit, moment=clock.now() + late).dump())

    def wrong_nonce(self, request: tsp.TimeStampReq) -> bytes:
        """An answer to somebody else's request over the same data."""
        request["nonce"] = request["nonce"].native ^ 1
        return self.right(request)

    def other_digest(self, request: tsp.TimeStampReq) -> bytes:
        """An answer over other data under our nonce."""
        other = timestamps.request_for(b"another checkpoint")
        other["nonce"] = request["nonce"].native
        return self.right(other)

    @property
    def root(self) -> Path:
        """Its root certificate."""
        return self.authority.folder / "tsa-root.crt"


@contextmanager
def time_stamp_authority(folder: Path) -> Iterator[Desk]:
    """Serve until the block ends. Its keys lie in `folder`."""
    desk = Desk(DevelopmentAuthority.open(folder))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            desk.asked += 1
            body = self.rfile.read(int(self.headers["Content-Length"]))
            answered = (desk.answer or desk.right)(tsp.TimeStampReq.load(body))
            self.send_response(200 if answered is not None else 503)
            self.send_header("Content-Type", "application/timestamp-reply")
            self.send_header("Content-Length", str(len(answered or b"")))
            self.end_headers()
            self.wfile.write(answered or b"")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the library's word)
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    desk.address = f"http://127.0.0.1:{server.server_port}/tsr"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield desk
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
