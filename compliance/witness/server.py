"""The witness over HTTP: `POST <prefix>/add-checkpoint`, `GET <prefix>/<hash of the origin>/checkpoint`.

A WSGI application, and gunicorn around it, which reads HTTP, keeps connections and bounds what comes in.
"""

from collections.abc import Callable, Iterable
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from gunicorn.app.base import BaseApplication

from compliance.proof.witness_protocol import ADD_CHECKPOINT, MAX_REQUEST_BYTES
from compliance.witness import home
from compliance.witness.cosign import TEXT, Answer, Witness

IDLE_SECONDS: Final = 75  # logs come back every few seconds to minutes
Start = Callable[[str, list[tuple[str, str]]], object]


class Application:
    """The WSGI application of `witness` below `prefix`."""

    def __init__(self, witness: Witness, prefix: str = "") -> None:
        self._witness = witness
        self._prefix = f"/{prefix.strip('/')}/" if prefix.strip("/") else "/"

    def __call__(self, environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        """Answer one request."""
        answer = self._answer(environ)
        start(
            f"{answer.status} {HTTPStatus(answer.status).phrase}",
            [
                ("Content-Type", answer.content_type),
                ("Content-Length", str(len(answer.body))),
                ("Cache-Control", "no-store"),
                *answer.headers,
            ],
        )
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [answer.body]

    def _answer(self, environ: dict[str, Any]) -> Answer:
        path = environ.get("PATH_INFO", "")
        if not path.startswith(self._prefix):
            return Answer(404, b"nothing is here\n")
        name = path.removeprefix(self._prefix)
        if name == ADD_CHECKPOINT:
            if environ["REQUEST_METHOD"] != "POST":
                return Answer(405, b"send it with POST\n", TEXT, (("Allow", "POST"),))
            body = environ["wsgi.input"].read(MAX_REQUEST_BYTES + 1)
            if len(body) > MAX_REQUEST_BYTES:
                return Answer(413, b"too large\n", TEXT, (("Connection", "close"),))
            return self._witness.add_checkpoint(body)
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return Answer(405, b"only GET\n", TEXT, (("Allow", "GET, HEAD"),))
        cosigned = self._witness.checkpoint_at(name)
        return Answer(404, b"nothing is here\n") if cosigned is None else Answer(200, cosigned.encode())


class _Gunicorn(BaseApplication):
    def __init__(self, application: Application, options: dict[str, Any]) -> None:
        self._application = application
        self._options = options
        super().__init__()

    def load_config(self) -> None:
        for name, value in self._options.items():
            self.cfg.set(name, value)

    def load(self) -> Application:
        return self._application


def serve(
    folder: Path,
    *,
    listen: str,
    prefix: str = "",
    workers: int = 2,
    threads: int = 8,
    certificate: Path | None = None,
    private_key: Path | None = None,
) -> None:
    """Serve the witness in `folder` until SIGTERM or Ctrl-C. Raises HomeError before anything is bound."""
    options = {
        "bind": [listen],
        "workers": workers,
        "threads": threads,
        "worker_class": "gthread",
        "keepalive": IDLE_SECONDS,
        "limit_request_line": 1024,
        "limit_request_fields": 50,
        "limit_request_field_size": 4096,
        "loglevel": "warning",
        "certfile": str(certificate) if certificate else None,
        "keyfile": str(private_key) if private_key else None,
    }
    _Gunicorn(Application(home.load(folder), prefix), options).run()
