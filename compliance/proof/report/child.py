"""The process that takes a report apart: `python -m compliance.proof.report.child`, one file, then it ends.

Standard input: one line of JSON (`report_roots`, `time_stamp_roots` as base64 DER, `now`), then the PDF. Standard
output: one line of JSON (`steps`, `facts`), then the attached proof bundle, if the file got that far.
"""

import base64
import json
import logging
import resource
import sys
from datetime import datetime
from io import BytesIO
from typing import Any

from asn1crypto import x509

from compliance.proof.errors import NotCheckable, ProofError
from compliance.proof.report import attached, manifest, signatures, updates
from compliance.proof.report.limits import CPU_SECONDS, MAX_PDF_BYTES, MEMORY_BYTES, OPEN_FILES
from compliance.proof.report.revisions import Revisions
from compliance.proof.report.signatures import Carried, Roots
from compliance.proof.steps import Verdict


def main() -> None:
    """Check what comes in on standard input."""
    _limit()
    logging.disable(logging.CRITICAL)  # what libraries complain about is said in our words
    request = json.loads(sys.stdin.buffer.readline())
    data = sys.stdin.buffer.read(MAX_PDF_BYTES + 1)
    verdict = Verdict("report")
    bundle = b""
    try:
        bundle = check(data, _roots(request), verdict, now=datetime.fromisoformat(request["now"]))
    except ProofError as error:
        verdict.error = error
    answer = {"steps": [step.to_object() for step in verdict.steps], "facts": verdict.facts}
    sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n" + bundle)


def check(data: bytes, roots: Roots, verdict: Verdict, *, now: datetime) -> bytes:
    """Run every step on the PDF; the attached bundle. Raises ProofError; whatever a parser dislikes is one too."""
    try:
        return _check(data, roots, verdict, now)
    except (ProofError, MemoryError):
        raise
    except Exception as error:  # a parser that stumbles over a file has not verified it
        refusal = ProofError("report.form", f"a reader stumbles over it: {type(error).__name__}: {str(error)[:120]}")
        verdict.steps[-1].fail(refusal)
        raise refusal from error


def _check(data: bytes, roots: Roots, verdict: Verdict, now: datetime) -> bytes:
    from pyhanko.pdf_utils.reader import PdfFileReader

    with verdict.step("The PDF") as step:
        if len(data) > MAX_PDF_BYTES:
            raise NotCheckable("report.limit", f"more than {MAX_PDF_BYTES:,} bytes")
        if not roots.report or not roots.time_stamp:
            raise NotCheckable("trust.missing", "report-root.crt and tsa-root.crt are needed for reports")
        reader = PdfFileReader(BytesIO(data), strict=True)
        if reader.encrypted:
            raise ProofError("report.form", "an encrypted file")
        revisions = Revisions(data, reader)
        step.say(f"{len(data):,} bytes in {revisions.count} revisions, sealed in revision {revisions.certified}")
    with verdict.step("What was added after the seal") as step:
        for line in updates.require_permitted(revisions):
            step.say(line)
    with verdict.step("Time stamps") as step:
        carried = Carried.read(reader)
        stamps = signatures.time_stamps(reader, roots, carried, now=now)
        for stamp in stamps:
            step.say(f"{stamp.moment:%Y-%m-%d %H:%M:%S} UTC by {stamp.authority}")
    with verdict.step("Seal and signatures") as step:
        signed = signatures.signatures(reader, roots, carried, before=stamps[-1].moment)
        for one in signed:
            step.say(_said(one, now))
        verdict.facts["signed_fields"] = [one.field for one in signed]
        verdict.facts["seal_certificate"] = signed[0].certificate_sha256
        verdict.facts["sealed_at"] = signed[0].signed_at.isoformat()
    with verdict.step("Attached files") as step:
        files = attached.read_files(reader)
        promised = manifest.check_files(files)
        for name, stated in sorted(promised.files.items()):
            step.say(f"{name}, {stated['size']:,} bytes, SHA-256 {stated['sha256']}")
        verdict.facts |= {"number": promised.number, "kind": promised.kind}
        verdict.facts |= {"log": promised.log, "checkpoint": promised.checkpoint}
        bundles = [name for name, item in promised.files.items() if item["media_type"] == manifest.BUNDLE_TYPE]
        if len(bundles) != 1:
            raise ProofError("report.attachment", f"{len(bundles)} proof bundles instead of one")
    return files[bundles[0]]


def _said(one: signatures.Signed, now: datetime) -> str:
    word = "sealed" if one.is_certifying else "signed"
    moment = f"{one.signed_at:%Y-%m-%d %H:%M:%S} UTC"
    line = f"{one.field}: {word} at {moment} by {one.signer}, certificate {one.certificate_sha256}"
    if one.certificate_valid_until < now:
        line += f", expired since {one.certificate_valid_until:%Y-%m-%d}: valid when it signed"
    return line


def _roots(request: dict[str, Any]) -> Roots:
    return Roots(
        *(
            tuple(x509.Certificate.load(base64.b64decode(der)) for der in request[name])
            for name in ("report_roots", "time_stamp_roots")
        )
    )


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 2))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, OPEN_FILES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    main()
