"""The main job, step by step, over HTTP: from the first signed event to a report that verifies without us."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from compliance.client import ClientError, Home, Session
from compliance.client.inclusion import Standing, check_receipt
from compliance.client.receipts import KeptReceipt
from compliance.demo import truth as truths
from compliance.demo.account import Account
from compliance.demo.customers import Customer, register_all
from compliance.demo.papers import Paper
from compliance.demo.people import ORGANISATIONS
from compliance.demo.review import Auditor
from compliance.demo.scenario import Scenario
from compliance.demo.sending import Sent, hand_in, send_waves
from compliance.demo.statements import plan
from compliance.demo.world import Meter
from compliance.proof import subject as subjects

PROJECT = Path(__file__).resolve().parents[2]
THREADS = 4  # enough to keep a server on two cores busy
FRAMEWORKS = ("iso27001-2022", "bsi-cc-pp-0073", "uk-cpa-sm")
AUDIT_REPORT, CERTIFICATE, BUNDLE = "audit-report.pdf", "meter-certificate.pdf", "meter.proof"
TRUTH, SUMMARY = "truth.json", "summary.json"
PATIENCE_SECONDS = 300.0


class NotVerified(Exception):
    """Something that the demo made does not verify, or a detector was wrong. The sentence says what."""


@dataclass(slots=True)
class Journey:
    """One run against one server. `folder` gets the results, `trust` is the relying party's trust folder."""

    admin: Session
    auditor: tuple[str, str]
    scenario: Scenario
    folder: Path
    trust: Path
    account: Account
    customers: dict[str, Customer] = field(default_factory=dict)
    sent: Sent = field(default_factory=Sent)
    failures: list[str] = field(default_factory=list)

    def run(self) -> None:
        """All steps. Raises NotVerified at the end if anything was not as it must be."""
        with ThreadPoolExecutor(THREADS) as executor:
            self._register(executor)
            evidence = self._hand_in(executor)
            self._send(executor)
            self._review(evidence)
            self._await_inclusion(executor)
        self._check()
        self._compare()
        self._cover()
        meter = self._meter_to_certify()
        reports = self._report(meter)
        self._export(meter)
        self._verify([*reports, BUNDLE])
        self._leave()

    def _register(self, executor: Executor) -> None:
        with self.account.step("register organisations and keys") as step:
            self.customers = register_all(
                self.admin, ORGANISATIONS, folder=self.folder / "clients", trust=self.trust, executor=executor
            )
            keys = sum(len(customer.keys) for customer in self.customers.values())
            step.says = f"{len(self.customers)} organisations, {keys} signing keys"
            self.account.figures.update(organisations=len(self.customers), signing_keys=keys)

    def _hand_in(self, executor: Executor) -> dict[str, Paper]:
        papers = self.scenario.papers
        with self.account.step("hand in evidence", len(papers), "files") as step:
            evidence = hand_in(papers, self.customers, executor=executor, advance=step.advance)
            size = sum(len(paper.content) for paper in papers)
            step.says = f"{len(evidence)} files, {size:,} bytes"
            self.account.figures.update(evidence_files=len(evidence), evidence_bytes=size)
        return evidence

    def _send(self, executor: Executor) -> None:
        waves = plan(self.scenario.statements)
        total = len(self.scenario.statements)
        with self.account.step("sign and send events", total, "events") as step:
            self.sent = send_waves(waves, self.customers, executor=executor, advance=step.advance)
            answered = self.sent.recorded + self.sent.duplicates
            step.says = f"{answered:,} events in {len(self.sent.outcomes)} batches, every receipt verified"
        if answered != total:
            self.failures.append(f"{total - answered} of {total} events were not recorded")
        seconds = self.account.seconds["sign and send events"]
        self.account.figures.update(
            meters=self.scenario.meters,
            events=total,
            batches=len(self.sent.outcomes),
            duplicates=self.sent.duplicates,
            events_per_second=round(total / seconds) if seconds else None,
        )

    def _review(self, evidence: Mapping[str, Paper]) -> None:
        username, password = self.auditor
        with (
            self.account.step("review evidence in the pages", len(evidence), "files") as step,
            Auditor.sign_in(self.admin.transport.server, username=username, password=password) as auditor,
        ):
            counts = auditor.decide(evidence, advance=step.advance)
            step.says = f"{counts['accept']} accepted, {counts['return']} returned, {counts['']} left open"
            self.account.figures.update(evidence_accepted=counts["accept"], evidence_returned=counts["return"])

    def _await_inclusion(self, executor: Executor) -> None:
        """The last entry of every batch proven under a checkpoint that the trusted log key signed."""
        with self.account.step("publish and prove inclusion") as step:
            receipts = [(customer, kept) for customer in self.customers.values() for kept in customer.session.receipts]
            found = list(executor.map(_proven, receipts))
            broken = [says for says in found if says]
            step.says = f"{len(receipts) - len(broken)} of {len(receipts)} receipts proven under the log's checkpoint"
            self.account.figures["receipts_proven"] = len(receipts) - len(broken)
        self.failures += broken

    def _check(self) -> None:
        with self.account.step("run the detectors") as step:
            job = self.admin.transport.post_json("/api/v1/checks/runs", {})
            done = self.admin.wait_for_job(job["id"], patience_seconds=PATIENCE_SECONDS)
            step.says = str(done.get("message") or "")

    def _compare(self) -> None:
        """The platform's findings against what was planted."""
        mine = {statement.subject for statement in self.scenario.statements}
        findings = [
            finding
            for finding in self._pages("/api/v1/findings")
            if {finding["subject"], *finding.get("meters", ())} & mine
        ]
        truth = self.scenario.truth
        compared = truths.compare(truth, findings)
        self.account.say(
            f"    {len(compared.found)} of {len(truth.plants)} planted anomalies found, "
            f"{len(compared.decoys_reported)} of {len(truth.decoys)} decoys reported, "
            f"{len(compared.unexpected)} other findings"
        )
        self.account.figures.update(
            planted=len(truth.plants),
            found=len(compared.found),
            decoys=len(truth.decoys),
            decoys_reported=len(compared.decoys_reported),
            unexpected_findings=len(compared.unexpected),
        )
        self.failures += [f"{one.detector} missed: {one.story} ({one.subject})" for one in compared.missed]
        self.failures += [f"{one.detector} reported a decoy: {one.story}" for one in compared.decoys_reported]
        if compared.unexpected and not compared.decoys_reported:
            named = ", ".join(f"{one['detector']} on {one['subject']}" for one in compared.unexpected[:5])
            self.failures.append(f"{len(compared.unexpected)} findings that nobody planted: {named}")

    def _cover(self) -> None:
        """Coverage of each framework, as the platform computes it from evidence and checks."""
        with self.account.step("compute coverage") as step:
            coverage = {}
            for framework in FRAMEWORKS:
                answer = self.admin.transport.get_json(f"/api/v1/coverage/{framework}")
                coverage[framework] = answer["totals"]
            step.says = "; ".join(f"{name}: {_totals(totals)}" for name, totals in coverage.items())
            self.account.figures["coverage"] = coverage

    def _meter_to_certify(self) -> Meter:
        """A meter with a long and clean life that still operates."""
        touched = self.scenario.truth.touched
        clean = [
            meter for meter in self.scenario.world.meters if meter.subject not in touched and meter.commissioned_at
        ]
        for fate in ("reused", "reprovisioned", ""):
            for meter in clean:
                if meter.fate == fate:
                    return meter
        raise NotVerified("no meter lived a clean life")

    def _report(self, meter: Meter) -> list[str]:
        wanted = {
            AUDIT_REPORT: ("framework_audit", {"framework": FRAMEWORKS[0]}),
            CERTIFICATE: ("meter_certificate", {"meter": meter_id(meter)}),
        }
        with self.account.step("issue two signed reports") as step:
            asked = {}
            for name, (kind, parameters) in wanted.items():
                answer = self.admin.transport.post_json(
                    "/api/v1/reports",
                    {"kind": kind, "parameters": parameters},
                    headers={"Idempotency-Key": str(uuid4())},
                )
                asked[name] = answer
            sizes = []
            for name, answer in asked.items():
                self.admin.wait_for_job(answer["job"], patience_seconds=PATIENCE_SECONDS)
                content = self.admin.transport.get_bytes(f"/api/v1/reports/{answer['id']}/content")
                (self.folder / name).write_bytes(content)
                sizes.append(f"{name} ({len(content):,} bytes)")
            step.says = ", ".join(sizes)
        return list(wanted)

    def _export(self, meter: Meter) -> None:
        with self.account.step("export a proof bundle") as step:
            content = self.admin.transport.get_bytes(f"/api/v1/meters/{meter_id(meter)}/proof")
            (self.folder / BUNDLE).write_bytes(content)
            step.says = f"{BUNDLE} ({len(content):,} bytes) of {meter.subject}"
            self.account.figures["certified_meter"] = meter.subject

    def _verify(self, names: Sequence[str]) -> None:
        """As a stranger would: another process, the files, and the trust folder."""
        with self.account.step("verify offline") as step:
            running = {name: _verifier(self.folder / name, self.trust) for name in names}
            said = {name: process.communicate()[0] for name, process in running.items()}
            bad = [name for name, process in running.items() if process.returncode != 0]
            step.says = f"{len(names) - len(bad)} of {len(names)} files verified"
        for name, text in said.items():
            self.account.say(f"    {name}")
            for line in text.splitlines():
                self.account.say(f"        {line}")
        self.account.figures["verified"] = [name for name in names if name not in bad]
        self.failures += [f"{name} does not verify" for name in bad]

    def _leave(self) -> None:
        """Write what is left, and only then raise NotVerified if anything is not as it must be."""
        (self.folder / TRUTH).write_text(json.dumps(self.scenario.truth.to_json(), indent=1) + "\n")
        summary = {
            "seed": self.scenario.seed,
            "verified": not self.failures,
            "failures": self.failures,
            "figures": self.account.figures,
            "seconds": self.account.seconds,
            "total_seconds": self.account.total_seconds,
        }
        (self.folder / SUMMARY).write_text(json.dumps(summary, indent=1) + "\n")
        if self.failures:
            raise NotVerified("; ".join(self.failures))

    def _pages(self, path: str) -> Iterator[Mapping[str, Any]]:
        cursor = None
        while True:
            parameters: dict[str, str | int] = {"limit": 200}
            if cursor:
                parameters["cursor"] = cursor
            page = self.admin.transport.get_json(path, params=parameters)
            yield from page["items"]
            cursor = page["next"]
            if not cursor:
                return


def meter_id(meter: Meter) -> str:
    """The platform's public id of a meter: its subject's key."""
    return f"mtr_{subjects.key_of(meter.subject).hex()}"


@contextmanager
def administrator(server: str, api_key: str, *, home: Path, trust: Path) -> Iterator[Session]:
    """A session of the platform's administrator."""
    with Session(server, api_key, home=Home.at(home), trust=trust, patience_seconds=60) as session:
        yield session


def _proven(one: tuple[Customer, KeptReceipt]) -> str:
    """Wait until the receipt's first and last entry are proven. Returns what is wrong, if anything is."""
    customer, kept = one
    while True:
        try:
            found = check_receipt(customer.session, kept)
        except ClientError as error:
            return f"batch {kept.batch_id}: {error.message}"
        if found.standing in {Standing.INCLUDED, Standing.NOTHING}:
            return ""
        if found.standing is Standing.BROKEN:
            return f"batch {kept.batch_id}: {found.says}"
        customer.session.pause()


def _totals(totals: Mapping[str, Any]) -> str:
    return ", ".join(f"{count} {name}" for name, count in totals.items() if isinstance(count, int) and count)


def _verifier(file: Path, trust: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "compliance.proof", "verify", str(file.resolve()), "--policy", str(trust.resolve())],
        cwd=PROJECT,  # so that the verifier is found wherever we were started
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
