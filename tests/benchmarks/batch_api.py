"""Events per second through the batch API, over HTTP with two web workers, beside a binary COPY of the rows it stored.

The events are signed before the clock starts; what is measured is what a factory waits for: upload, verification,
rules, durable commit and receipt.
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
from pathlib import Path
from uuid import NAMESPACE_OID, uuid5

import httpx

from compliance.proof import batch
from compliance.proof.keys import PrivateKey
from tests.benchmarks.copying import copy_seconds
from tests.services.process import free_port, running

PROJECT = Path(__file__).resolve().parents[2]
ORGANISATION = "benchmaker"
EVENTS_A_BATCH = 1_000
METERS = 10_000
WEB_WORKERS = 2
SENDERS = 2
OCCURRED = "2026-11-22T09:00:00Z"


@dataclass(frozen=True, slots=True)
class Rates:
    """What one run measured."""

    events: int
    event_bytes: float
    api_per_second: float
    copy_per_second: float


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
        self.key = PrivateKey.generate("ed25519")

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
        told = self.manage("apikey", "create", "--organisation", ORGANISATION, "--scope", "events:write")
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
    def served(self) -> Iterator[str]:
        """Serve it with two web workers and return the address."""
        port = free_port()
        command = [sys.executable, "-m", "gunicorn", "compliance.config.wsgi:application", "--chdir", str(PROJECT)]
        command += ["--bind", f"127.0.0.1:{port}", "--workers", str(WEB_WORKERS), "--log-level", "warning"]
        address = f"http://127.0.0.1:{port}"

        def answers() -> bool:
            try:
                return httpx.get(f"{address}/livez", timeout=2).status_code == 200
            except httpx.TransportError:
                return False

        with running(command, answers=answers, log=self.home / "web.log", environment=self.environment):
            yield address


def measure(database_url: str, home: Path, *, batches: int = 40) -> Rates:
    """Send `batches` full batches, a quarter of them about new meters, and then COPY the rows that came of them.

    Leaves the installation in `home` and `database_url` as it is, for what else is measured on it.
    """
    installation = Installation(home, database_url)
    secret = installation.prepare()
    births, calibrations = _events(batches)
    signed = [[installation.signed(events) for events in part] for part in (births, calibrations)]
    with installation.served() as address:
        _send(address, secret, [installation.signed([_calibration(9_999_999)])])  # warms both ends
        seconds = sum(_send(address, secret, part) for part in signed)
    ids = [one.batch_id for part in signed for one in part]
    count = len(ids) * EVENTS_A_BATCH
    size = sum(len(line) for part in signed for one in part for line in one.event_lines) / count
    return Rates(count, size, count / seconds, count / copy_seconds(database_url, ids))


def an_event() -> dict[str, object]:
    """One of the events that are sent."""
    return _calibration(0)


def _event(number: int, code: str, subject: str) -> dict[str, object]:
    return {
        "v": 1,
        "id": str(uuid5(NAMESPACE_OID, f"{code} {number}")),
        "type": code,
        "schema": 1,
        "subject": subject,
        "occurred_at": OCCURRED,
        "actor": {"station": "line-1"},
    }


def _meter(number: int) -> str:
    return f"meter:dlms_system_title:424E43{number:010X}"


def _birth(number: int) -> dict[str, object]:
    data = {
        "identifiers": [{"scheme": "dlms_system_title", "value": f"424E43{number:010X}"}],
        "type_code": "BNC-3",
        "production_order": "PO-2026-0417",
        "line": "line-1",
        "component_lots": [f"component_lot:{ORGANISATION}:LOT-{number % 40:05d}-{part:02d}" for part in range(8)],
    }
    return {**_event(number, "mfg.assembled", _meter(number)), "data": data}


def _calibration(number: int) -> dict[str, object]:
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
    return {**_event(number, "mfg.calibrated", _meter(number % METERS)), "data": data}


def _events(batches: int) -> tuple[list[list[dict[str, object]]], list[list[dict[str, object]]]]:
    new = min(batches // 4, METERS // EVENTS_A_BATCH)
    births = [[_birth(b * EVENTS_A_BATCH + n) for n in range(EVENTS_A_BATCH)] for b in range(new)]
    later = [
        [_calibration((b + 1) * METERS + _stride(b, n, new)) for n in range(EVENTS_A_BATCH)]
        for b in range(batches - new)
    ]
    return births, later


def _stride(batch_number: int, position: int, new: int) -> int:
    """Spreads a batch over all meters, so that two senders cross on the same ones."""
    return (position * new + batch_number) % (new * EVENTS_A_BATCH)


def _send(address: str, secret: str, signed: Sequence[batch.SignedBatch]) -> float:
    """Send all, two at a time, and return the seconds it took. Anything but 201 ends the run."""

    def send(part: Sequence[batch.SignedBatch]) -> None:
        headers = {"Authorization": f"Bearer {secret}", "Content-Type": batch.NDJSON}
        with httpx.Client(base_url=address, headers=headers, timeout=120) as client:
            for one in part:
                answer = client.post("/api/v1/batches", content=one.ndjson)
                if answer.status_code != 201:
                    raise RuntimeError(f"{answer.status_code}: {answer.text[:2000]}")

    started = time.perf_counter()
    with ThreadPoolExecutor(SENDERS) as pool:
        list(pool.map(send, [signed[number::SENDERS] for number in range(SENDERS)]))
    return time.perf_counter() - started
