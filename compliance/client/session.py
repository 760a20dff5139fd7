"""A sender's session with one platform: the SDK behind the command line, for use in one's own programs.

    with Session("https://meterproof.example", api_key) as session:
        outcome = session.send_batch(signed.ndjson)
        for entry in outcome.receipt.payload["entries"]: ...

Every receipt is verified with the trusted keys before it is kept or returned.
"""

import base64
import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from compliance.client.errors import ClientError, LineProblem, NotTrusted, Refused, Unreachable
from compliance.client.home import Home
from compliance.client.receipts import ReceiptStore
from compliance.client.transport import Transport
from compliance.client.trusting import Trust
from compliance.proof import batch, dsse
from compliance.proof.errors import ProofError
from compliance.proof.receipt import Receipt
from compliance.proof.subject import Subject
from compliance.proof.times import format_time

LEAST_LIMITS = {"batch_events": 1000, "batch_bytes": 5 * 1024 * 1024}  # what every platform takes (docs/api.md)
CHECKS_PER_SECOND = 10  # how often a job or a batch under way is asked after


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a batch. `problems` are events refused one by one; `replayed` if it was known already."""

    batch_id: str
    receipt: Receipt
    problems: Sequence[LineProblem]
    replayed: bool

    @property
    def recorded(self) -> int:
        """Events that became entries."""
        return len(self.receipt.payload["entries"])

    @property
    def duplicates(self) -> int:
        """Events that another batch recorded before."""
        return len(self.receipt.payload["duplicates"])


class Session:
    """One server, one API key, one home folder. Threads may share it."""

    def __init__(
        self,
        server: str,
        api_key: str = "",
        *,
        home: Home | None = None,
        trust: str | Path | None = None,
        patience_seconds: float = 300.0,
        transport: Transport | None = None,
    ) -> None:
        self.home = home or Home.at()
        self.transport = transport or Transport(server, api_key, patience_seconds)
        self._trust_folder = trust

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.transport.close()

    @cached_property
    def service(self) -> Mapping[str, Any]:
        """The platform's description of itself."""
        description = self.transport.get_json("/api/v1/service")
        if not isinstance(description, dict) or not isinstance(description.get("log"), str):
            raise ClientError(f"{self.transport.server} does not speak as a Meterproof server.")
        return description

    @cached_property
    def trust(self) -> Trust:
        """Whom this sender believes; checked against what the server says of itself."""
        if self._trust_folder is None:
            return Trust.pinned(self.home, self.service)
        brought = Trust.load(self._trust_folder)
        brought.require_same(self.service)
        return brought

    @property
    def origin(self) -> str:
        """The log that batches are meant for: the trusted one, so that the server cannot choose."""
        return self.trust.origin

    @property
    def limits(self) -> Mapping[str, int]:
        """How much one batch may hold."""
        given = self.service.get("limits") or {}
        return {name: min(least, int(given.get(name, least))) for name, least in LEAST_LIMITS.items()}

    @property
    def receipts(self) -> ReceiptStore:
        """The receipts kept in the home folder."""
        return ReceiptStore(self.home)

    def chain_of(self, typed: Subject) -> str:
        """The chain that a typed identifier belongs to: the one it joined, or a new one of its own."""
        try:
            found = self.transport.get_json(
                "/api/v1/subjects", params={"kind": typed.kind, "scheme": typed.scheme, "value": typed.value}
            )
        except Refused as refused:
            if refused.status == 404:
                return typed.text
            raise
        return str(found.get("subject") or typed.text)

    def send_batch(self, ndjson: bytes, *, mode: str = "atomic", keep: bool = True) -> Outcome:
        """Send a signed batch until it is answered, verify its receipt and, unless told not to, keep it."""
        try:
            signed = batch.read(ndjson, media_type=batch.NDJSON)
        except ProofError as error:
            raise ClientError(f"This is no signed batch: {error}") from error
        if signed.payload["log"] != self.origin:
            raise ClientError(f"The batch is signed for the log {signed.payload['log']}, this is {self.origin}.")
        answer = self.transport.send(
            "POST",
            "/api/v1/batches",
            content=ndjson,
            params={"mode": mode},
            headers={"Content-Type": batch.NDJSON},
        )
        body = answer.json()
        receipt = self._verified(signed, body["receipt"])
        if keep:
            self.receipts.keep(receipt, ndjson, server=self.transport.server)
        return Outcome(
            signed.batch_id,
            receipt,
            [_problem(one) for one in body.get("problems") or []],
            replayed=answer.status_code == 200,
        )

    def _verified(self, signed: batch.ReceivedBatch, envelope: Mapping[str, Any]) -> Receipt:
        """The receipt, if it is the platform's word about exactly this batch."""
        try:
            statement = dsse.read_envelope(dict(envelope), payload_type=dsse.RECEIPT_TYPE)
        except ProofError as error:
            raise NotTrusted(f"The answer holds no receipt: {error}") from error
        receipt = self.trust.verify_receipt(statement.canonical)
        payload = receipt.payload
        if payload["batch"] != signed.batch_id or payload["count"] != signed.payload["count"] or payload["first"] != 0:
            raise NotTrusted("The receipt is for another batch.")
        sent = {one.index: one for one in signed.events}
        for entry in payload["entries"]:
            event = sent.get(entry["index"])
            if event is None or entry["event_hash"] != event.event_hash.hex() or entry["event_id"] != event.value["id"]:
                raise NotTrusted(f"The receipt names another event at position {entry['index']}.")
        return receipt

    def submit_evidence(
        self,
        content: bytes,
        *,
        name: str,
        media_type: str,
        title: str,
        kind: str,
        covers_from: datetime,
        covers_to: datetime,
        produced_at: datetime,
        links: Sequence[tuple[str, str]] = (),
    ) -> Mapping[str, Any]:
        """Hand in a file with what it shows. The same again is answered with the evidence that is there."""
        metadata = {
            "title": title,
            "kind": kind,
            "name": name,
            "covers_from": format_time(covers_from),
            "covers_to": format_time(covers_to),
            "produced_at": format_time(produced_at),
            "links": [{"kind": link, "reference": reference} for link, reference in links],
        }
        digest = base64.b64encode(hashlib.sha256(content).digest()).decode()
        answer = self.transport.send(
            "POST",
            "/api/v1/evidence",
            content=content,
            headers={
                "Content-Type": media_type,
                "Content-Digest": f"sha-256=:{digest}:",
                "Evidence-Metadata": base64.b64encode(json.dumps(metadata).encode()).decode(),
            },
        )
        taken: Mapping[str, Any] = answer.json()
        return taken

    def inclusion_proof(self, batch_id: str, index: int) -> str | None:
        """The `.tlog-proof` of one event, or None while no checkpoint covers it yet."""
        try:
            return self.transport.get_bytes(f"/api/v1/events/{batch_id}/{index}/proof").decode()
        except Refused as refused:
            if refused.status in {404, 409, 425}:
                return None
            raise

    def pause(self) -> None:
        """Wait a moment before asking again for something that is under way."""
        time.sleep(1 / CHECKS_PER_SECOND)

    def wait_for_job(self, job_id: str, *, patience_seconds: float = 600.0) -> Mapping[str, Any]:
        """The job when it is over. Raises Refused if it failed, Unreachable if it takes longer than your patience."""
        deadline = time.monotonic() + patience_seconds
        while True:
            job: Mapping[str, Any] = self.transport.get_json(f"/api/v1/jobs/{job_id}")
            if job["state"] == "done":
                return job
            if job["state"] == "failed":
                raise Refused(status=500, code="job.failed", detail=str(job.get("failure") or "The job failed."))
            if time.monotonic() > deadline:
                raise Unreachable(f"The job {job_id} is still {job['state']}.")
            self.pause()


def _problem(problem: Mapping[str, Any]) -> LineProblem:
    index = problem.get("index")
    line = problem.get("line")
    return LineProblem(
        line if isinstance(line, int) else index + 2 if isinstance(index, int) else 0,
        str(problem.get("pointer") or ""),
        str(problem.get("code") or ""),
        str(problem.get("detail") or ""),
    )
