"""A witness on loopback that does what a test tells it: answers slowly, hugely, with lies, or elsewhere."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = Callable[[BaseHTTPRequestHandler, bytes], None]


@dataclass(slots=True)
class LyingWitness:
    """`answer` is called for each request with its handler and body; `asked` keeps the paths; `good` is an answer that
    a test puts aside.
    """

    url: str
    answer: Answer
    good: Answer
    asked: list[str] = field(default_factory=list)


def says(status: int, body: bytes = b"", **headers: str) -> Answer:
    """An answer in one piece. Underscores in header names are dashes."""

    def answer(handler: BaseHTTPRequestHandler, _body: bytes) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def drips(seconds: float) -> Answer:
    """An answer that goes on for ever, a byte at a time."""

    def answer(handler: BaseHTTPRequestHandler, _body: bytes) -> None:
        handler.send_response(200)
        handler.end_headers()
        for _ in range(600):
            handler.wfile.write(b"x")
            handler.wfile.flush()
            time.sleep(seconds)

    return answer


def floods(size: int) -> Answer:
    """An answer of `size` bytes without end in sight."""

    def answer(handler: BaseHTTPRequestHandler, _body: bytes) -> None:
        handler.send_response(200)
        handler.end_headers()
        for _ in range(size // 65_536):
            handler.wfile.write(b"x" * 65_536)

    return answer


@contextmanager
def lying_witness(answer: Answer) -> Iterator[LyingWitness]:
    """Serve until the block ends."""
    witness = LyingWitness("", answer, answer)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            witness.asked.append(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            try:
                witness.answer(self, body)
            except OSError:  # the asker had enough
                self.close_connection = True

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

    with Server(("127.0.0.1", 0), Handler) as server:
        witness.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield witness
        finally:
            server.shutdown()
            thread.join()
