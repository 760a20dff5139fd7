"""Offline verification of a report: a PDF/A-3 that the platform sealed (PAdES-B-LTA), with its proof attached.

Whether the seal holds, who else signed, whether anything was added that may not be, whether the attached files are
those the report names, and whether the log's checkpoint inside is one the relying party would accept. Needs pyHanko;
the rest of `compliance.proof` does not. A PDF is a program's worth of parsing, so that part runs in a process of its
own, with limits.
"""

import base64
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from compliance.proof import bundle as bundle_format
from compliance.proof.errors import NotCheckable, ProofError
from compliance.proof.report.limits import WALL_SECONDS
from compliance.proof.steps import Step, Verdict
from compliance.proof.times import format_time
from compliance.proof.trust import REPORT_ROOTS, REPORT_SEALS, TrustFolder
from compliance.proof.verify_bundle import verify_bundle

PROJECT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True, slots=True)
class Expected:
    """What the record says of a report: a file whose last signatures were cut off is a valid earlier file."""

    number: str
    signed_fields: tuple[str, ...]


def verify_report(
    data: bytes, trust: TrustFolder, expected: Expected | None = None, *, now: datetime | None = None
) -> list[Step]:
    """Check the report in `data`; the last step is the one that failed, if one did. `now` is the reader's clock."""
    if importlib.util.find_spec("pyhanko") is None:
        raise ImportError("pyHanko is not installed", name="pyhanko")
    verdict = Verdict("report")
    try:
        _verify(data, trust, expected, verdict, now or datetime.now(UTC))
    except ProofError as error:
        verdict.error = error
    return verdict.steps


def _verify(data: bytes, trust: TrustFolder, expected: Expected | None, verdict: Verdict, now: datetime) -> None:
    facts, bundle = _taken_apart(data, trust, verdict, now)
    if verdict.steps[-1].code:
        return
    _require_known_seal(facts["seal_certificate"], trust, verdict)
    with verdict.step("The log's checkpoint inside") as step:
        if facts["log"] != trust.origin:
            raise ProofError("bundle.log", f"the report is about the log {facts['log']}, not {trust.origin}")
        if bundle_format.read(bundle).checkpoint != facts["checkpoint"]:
            raise ProofError("report.checkpoint", "the report and its proof name different checkpoints")
        sealed_at = format_time(datetime.fromisoformat(facts["sealed_at"]))
        verify_bundle(bundle, trust, verdict, step, dated=[sealed_at])
    if expected is not None:
        _require_expected(facts, expected, verdict)


def _require_known_seal(fingerprint: str, trust: TrustFolder, verdict: Verdict) -> None:
    """That it leads to a root says little of a root that issues to everybody."""
    with verdict.step("Whose seal it is") as step:
        if not trust.report_seals:
            step.say(f"any certificate under {REPORT_ROOTS} may seal: name the operator's in {REPORT_SEALS}")
            return
        if fingerprint not in {certificate.fingerprint(SHA256()).hex() for certificate in trust.report_seals}:
            raise ProofError(
                "report.untrusted",
                f"the certificate {fingerprint} sealed it, which {REPORT_SEALS} does not hold. If the operator tells "
                "you by a way you trust that this is its new seal, add it there",
            )
        step.say(f"one of the {len(trust.report_seals)} in your {REPORT_SEALS}")


def _require_expected(facts: dict[str, Any], expected: Expected, verdict: Verdict) -> None:
    with verdict.step("What the record expects") as step:
        if facts["number"] != expected.number:
            raise ProofError("report.expected", f"this is report {facts['number']}, not {expected.number}")
        missing = sorted(set(expected.signed_fields) - set(facts["signed_fields"]))
        if missing:
            raise ProofError(
                "report.expected", "a signature that the record knows is not in the file", place=missing[0]
            )
        step.say(f"report {expected.number} with the signatures {', '.join(expected.signed_fields)}")


def _taken_apart(data: bytes, trust: TrustFolder, verdict: Verdict, now: datetime) -> tuple[dict[str, Any], bytes]:
    request = {
        "report_roots": _encoded(trust.report_roots),
        "time_stamp_roots": _encoded(trust.time_stamp_roots),
        "now": now.isoformat(),
    }
    message = json.dumps(request).encode() + b"\n" + data
    environment = {"PYTHONPATH": str(PROJECT), "PATH": os.defpath, "LC_ALL": "C.UTF-8", "TZ": "UTC"}
    command = [sys.executable, "-m", "compliance.proof.report.child"]
    with verdict.step("A process of its own, with limits"):
        try:
            child = subprocess.run(
                command, input=message, capture_output=True, env=environment, timeout=WALL_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            raise NotCheckable("report.limit", f"no verdict within {WALL_SECONDS} seconds") from None
        if child.returncode:
            said = child.stderr.decode("utf-8", "replace").strip().splitlines()[-1:] or ["nothing said"]
            raise NotCheckable("report.limit", f"the check was stopped ({child.returncode}): {said[0][:200]}")
    verdict.steps.pop()  # it went well: its own steps say what was checked
    line, _, bundle = child.stdout.partition(b"\n")
    answer = json.loads(line)
    verdict.steps += [Step(**step) for step in answer["steps"]]
    return answer["facts"], bundle


def _encoded(certificates: Sequence[x509.Certificate]) -> list[str]:
    return [base64.b64encode(certificate.public_bytes(Encoding.DER)).decode() for certificate in certificates]
