"""Events per second through the batch API, over HTTP with two web workers, beside a binary COPY of the rows it stored.

The events are signed before the clock starts; what is measured is what a factory waits for: upload, verification,
rules, durable commit and receipt. Full batches about meters of their own come first and are not counted: a worker's
first batches load what is loaded once, and touch memory that PostgreSQL had not touched either.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from uuid import NAMESPACE_OID, uuid5

import httpx

from compliance.proof import batch
from compliance.proof.keys import PrivateKey
from compliance.web.management.commands.serve import THREADS_A_WORKER
from tests.benchmarks import processors, single_events
from tests.benchmarks.copying import copy_seconds
from tests.services.process import free_port, running

PROJECT = Path(__file__).resolve().parents[2]
ORGANISATION = "benchmaker"
EVENTS_A_BATCH = 1_000
METERS = 10_000
WEB_WORKERS = 2
SENDERS = 4  # so that no worker waits for the next request
WARMING_BATCHES = 8  # of either kind
FIRST_WARMING_METER = 500_000
OCCURRED = "2026-11-22T09:00:00Z"


@dataclass(frozen=True, slots=True)
class Rates:
    """What one run measured."""

    events: int
    event_bytes: float
    api_per_second: float
    copy_per_second: float
    spent: processors.Spent  # processor seconds, all events together
    answers: single_events.Latency
    commits: single_events.Latency
    installation: "Installation"


class Installation:
    """An installation on `database_url`, with a manufacturer who has a key and an API key."""

    def __init__(self, home: Path, database_url: str) -> None:
        self.home = home
        self.database_url = database_url
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        self.environment = {
            **kept,
            "METERPROOF_VAR": str(home / "var"),
            "DATABASE_URL": database_url,
            "DJANGO_SETTINGS_MODULE": "compliance.config.settings.embedded",
            "PYTHONPATH": str(PROJECT),
            "PYTHONUTF8": "1",
        }
        self._pem = PrivateKey.generate("ed25519").to_pem()  # as text: it travels to other processes

    @property
    def key(self) -> PrivateKey:
        """What the manufacturer signs with."""
        return PrivateKey.from_pem(self._pem)

    def manage(self, *arguments: str) -> str:
        """Output of `manage.py arguments`."""
        command = [sys.executable, str(PROJECT / "manage.py"), *arguments]
        return subprocess.run(command, env=self.environment, check=True, capture_output=True, text=True).stdout

    def prepare(self) -> str:
        """Migrate, make the log, register the manufacturer. Returns the secret of its API key."""
        self.manage("migrate", "--verbosity", "0")
        self.manage("bootstrap")
        (self.home / "registration.ndjson").write_bytes(self._registration().ndjson)
        register = ["organisation", "register", "--id", ORGANISATION, "--name", "Bench", "--role", "manufacturer"]
        self.manage(*register, "--registration", str(self.home / "registration.ndjson"))
        scopes = ["--scope", "events:write", "--scope", "events:read"]
        told = self.manage("apikey", "create", "--organisation", ORGANISATION, *scopes)
        return next(word for word in told.split() if word.startswith("mp_live_") and len(word) > 40)

    def signed(self, events: Sequence[dict[str, object]]) -> batch.SignedBatch:
        """A batch of the manufacturer."""
        return batch.build(
            events=events,
            log="meterproof.example/log",
            issuer=ORGANISATION,
            source="bench",
            sequence=None,
            created=datetime.now(UTC),
            keys=[self.key],
        )

    def _registration(self) -> batch.SignedBatch:
        key = self.key.public
        event = {
            **_event(0, "org.key_registered", f"signing_key:{key.keyid}"),
            "data": {
                "organisation": ORGANISATION,
                "holder": {"service": "bench"},
                "key": key.to_object(),
                "valid_from": "2026-01-01T00:00:00Z",
                "valid_until": None,
            },
        }
        return self.signed([event])

    @contextmanager
    def served(self) -> Iterator["Served"]:
        """Serve it with two web workers."""
        port = free_port()
        command = [sys.executable, "-m", "gunicorn", "compliance.config.wsgi:application", "--chdir", str(PROJECT)]
        command += ["--bind", f"127.0.0.1:{port}", "--workers", str(WEB_WORKERS), "--threads", str(THREADS_A_WORKER)]
        command += ["--log-level", "warning"]
        address = f"http://127.0.0.1:{port}"

        def answers() -> bool:
            try:
                return httpx.get(f"{address}/livez", timeout=2).status_code == 200
            except httpx.TransportError:
                return False

        with running(command, answers=answers, log=self.home / "web.log", environment=self.environment) as process:
            yield Served("127.0.0.1", port, process.pid)


@dataclass(frozen=True, slots=True)
class Served:
    """Where the web server listens, and its process."""

    host: str
    port: int
    pid: int

    def send(self, secret: str, body: bytes) -> None:
        """Hand in one batch. Anything but 201 ends the run: a refusal is fast, counting it would flatter.

        By the plainest client there is: it shares the cores with what it measures.
        """
        connection = HTTPConnection(self.host, self.port, timeout=120)
        headers = {"Authorization": f"Bearer {secret}", "Content-Type": batch.NDJSON}
        connection.request("POST", "/api/v1/batches", body=body, headers=headers)
        answer = connection.getresponse()
        told = answer.read()
        connection.close()
        if answer.status != 201:
            raise RuntimeError(f"{answer.status}: {told[:2000]!r}")


def measure(database_url: str, home: Path, *, batches: int = 40, singles: int = 500) -> Rates:
    """Send `batches` full batches, a quarter of them about new meters, then `singles` of one event; and COPY the rows
    that came of the full ones.

    Leaves the installation in `home` and `database_url` as it is, for what else is measured on it.
    """
    installation = Installation(home, database_url)
    secret = installation.prepare()
    births, calibrations = _events(batches)
    signed = [[installation.signed(events) for events in part] for part in (births, calibrations)]
    alone = [installation.signed([_spread(8_000_000 + number)]).ndjson for number in range(singles)]
    with installation.served() as server:
        for part in _warming():
            _send(server, secret, [installation.signed(events) for events in part])
        before = processors.look(server.pid, database_url)
        seconds = sum(_send(server, secret, part) for part in signed)
        spent = processors.look(server.pid, database_url).since(before)
        answers = single_events.answer_times(partial(server.send, secret), alone)
    commits = single_events.commit_times(database_url, times=singles)
    ids = [one.batch_id for part in signed for one in part]
    count = len(ids) * EVENTS_A_BATCH
    size = sum(len(line) for part in signed for one in part for line in one.event_lines) / count
    copied = count / copy_seconds(database_url, ids)
    return Rates(count, size, count / seconds, copied, spent, answers, commits, installation)


def further_batches(installation: Installation, number: int) -> list[bytes]:
    """Full batches about meters that `measure` made."""
    return [
        installation.signed(
            [_spread(7_000_000 + which * METERS + _stride(which, n, 1)) for n in range(EVENTS_A_BATCH)]
        ).ndjson
        for which in range(number)
    ]


def an_event() -> dict[str, object]:
    """One of the events that are sent."""
    return _spread(0)


def _event(number: int | str, code: str, subject: str) -> dict[str, object]:
    return {
        "v": 1,
        "id": str(uuid5(NAMESPACE_OID, f"{code} {number}")),
        "type": code,
        "schema": 1,
        "subject": subject,
        "occurred_at": OCCURRED,
        "actor": {"station": "line-1"},
    }


def meter_text(number: int) -> str:
    """The subject of one of the meters."""
    return f"meter:dlms_system_title:424E43{number:010X}"


def birth(number: int) -> dict[str, object]:
    """The event that begins its life."""
    data = {
        "identifiers": [{"scheme": "dlms_system_title", "value": f"424E43{number:010X}"}],
        "type_code": "BNC-3",
        "production_order": "PO-2026-0417",
        "line": "line-1",
        "component_lots": [f"component_lot:{ORGANISATION}:LOT-{number % 40:05d}-{part:02d}" for part in range(8)],
    }
    return {**_event(number, "mfg.assembled", meter_text(number)), "data": data}


def calibration(number: int, *, told: int) -> dict[str, object]:
    """An event about it; `told` tells several about one meter apart."""
    data = {
        "standard_ref": "EN 50470-3:2022 accuracy at the reference points, no-load and starting current",
        "bench_id": "bench-07",
        "bench_calibration_due": "2027-03-31",
        "result": "pass",
        "registers_after_test": {
            "import_kwh": "0.512",
            "export_kwh": "0.000",
            "import_kvarh": "0.017",
            "idle_kvah": "0.009",
        },
        "mid_module": "B+D",
        "marking_year": 2026,
        "notified_body_no": "0102",
        "note": "error at Imax, cos phi 1: 0.12 %; at 0.5 inductive: 0.21 %; burden and ambient within limits",
    }
    return {**_event(f"{number}/{told}", "mfg.calibrated", meter_text(number)), "data": data}


def _spread(number: int) -> dict[str, object]:
    """The event that is `number` among those spread over all meters."""
    return calibration(number % METERS, told=number // METERS)


def _events(batches: int) -> tuple[list[list[dict[str, object]]], list[list[dict[str, object]]]]:
    new = min(batches // 4, METERS // EVENTS_A_BATCH)
    births = [[birth(b * EVENTS_A_BATCH + n) for n in range(EVENTS_A_BATCH)] for b in range(new)]
    later = [
        [_spread((b + 1) * METERS + _stride(b, n, new)) for n in range(EVENTS_A_BATCH)] for b in range(batches - new)
    ]
    return births, later


def _warming() -> list[list[list[dict[str, object]]]]:
    """Births of meters of their own, and an event about each."""
    meters = [
        [FIRST_WARMING_METER + b * EVENTS_A_BATCH + n for n in range(EVENTS_A_BATCH)] for b in range(WARMING_BATCHES)
    ]
    return [
        [[birth(number) for number in part] for part in meters],
        [[calibration(number, told=1) for number in part] for part in meters],
    ]


def _stride(batch_number: int, position: int, new: int) -> int:
    """Spreads a batch over all meters, so that two senders cross on the same ones."""
    return (position * new + batch_number) % (new * EVENTS_A_BATCH)


def _send(server: Served, secret: str, signed: Sequence[batch.SignedBatch]) -> float:
    """Send all, `SENDERS` at a time, and return the seconds it took."""
    bodies = [one.ndjson for one in signed]  # ready before the clock starts

    def send(part: Sequence[bytes]) -> None:
        for body in part:
            server.send(secret, body)

    started = time.perf_counter()
    with ThreadPoolExecutor(SENDERS) as pool:
        list(pool.map(send, [bodies[number::SENDERS] for number in range(SENDERS)]))
    return time.perf_counter() - started
