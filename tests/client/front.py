"""A front before a real server that misbehaves as networks and operators do, once for each word it is given."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

DROP = "drop"  # the connection breaks before the request reaches the server
BUSY = "busy"  # 503 with Retry-After
SLOW_DOWN = "slow down"  # 429 with Retry-After
LOSE_ANSWER = "lose answer"  # the server did it, and nobody heard
FAULT = "fault"  # the server breaks on it: 500
FULL = "full"  # 507 with a Retry-After longer than anybody at a keyboard waits
FORGE_RECEIPT = "forge receipt"  # one letter of the receipt's signature is another

STATUSES = {BUSY: 503, SLOW_DOWN: 429, FAULT: 500, FULL: 507}
REQUEST_ID = "5e0f0d52-7f0e-4d2b-8a9e-0d6f5f0a4e11"


class Front:
    """The words still to come, and what was seen."""

    def __init__(self, upstream: str, words: Sequence[str]) -> None:
        self.upstream = upstream
        self.words = list(words)
        self.posts = 0
        self.lock = threading.Lock()

    def next_word(self) -> str:
        """What to do with this request."""
        with self.lock:
            self.posts += 1
            return self.words.pop(0) if self.words else ""


@contextmanager
def front(upstream: str, *words: str) -> Iterator[tuple[str, Front]]:
    """Serve on loopback until the block ends. Only posts are disturbed."""
    state = Front(upstream, words)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.forward("GET", b"", "")

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            word = state.next_word()
            if word == DROP:
                self.close_connection = True
                self.connection.close()
            elif word in STATUSES:
                self.send_response(STATUSES[word])
                self.send_header("X-Request-Id", REQUEST_ID)
                if word != FAULT:
                    self.send_header("Retry-After", "3600" if word == FULL else "1")
                self.send_header("Content-Length", "0")
                self.end_headers()
            else:
                self.forward("POST", body, word)

        def forward(self, method: str, body: bytes, word: str) -> None:
            headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
            answer = httpx.request(method, state.upstream + self.path, content=body, headers=headers, timeout=60)
            if word == LOSE_ANSWER:
                self.close_connection = True
                self.connection.close()
                return
            content = answer.content
            if word == FORGE_RECEIPT:
                at = content.index(b'"sig":"') + 20
                content = content[:at] + (b"A" if content[at : at + 1] != b"A" else b"B") + content[at + 1 :]
            self.send_response(answer.status_code)
            self.send_header("Content-Type", answer.headers.get("content-type", "application/octet-stream"))
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class names it so
            """Say nothing: the tests look at what was done."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
