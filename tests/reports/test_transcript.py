"""What the verifier says of a report, word for word: only times, sizes and hashes are others each time."""

import re

from compliance.proof.report import Expected, verify_report
from tests.reports.making import Workshop

SAID = """\
The PDF: N bytes in 10 revisions, sealed in revision 1
What was added after the seal: revision 2: validation data and document time stamp
What was added after the seal: revision 3: validation data
What was added after the seal: revision 4: signature in sig-auditor
What was added after the seal: revision 5: validation data and document time stamp
What was added after the seal: revision 6: validation data
What was added after the seal: revision 7: signature in sig-regulator
What was added after the seal: revision 8: validation data and document time stamp
What was added after the seal: revision 9: validation data
Time stamps: TIME by Common Name: Time Stamping Unit (development), Organization: Meterproof development authority
Time stamps: TIME by Common Name: Time Stamping Unit (development), Organization: Meterproof development authority
Time stamps: TIME by Common Name: Time Stamping Unit (development), Organization: Meterproof development authority
Seal and signatures: sig-seal: sealed at TIME by Common Name: Report Seal (development), \
Organization: Meterproof development authority, certificate HASH
Seal and signatures: sig-auditor: signed at TIME by Common Name: Auditorin Ä. Öztürk, \
Organization: Meterproof development authority, certificate HASH
Seal and signatures: sig-regulator: signed at TIME by Common Name: Regulator, metering section; \
Organization: Meterproof development authority, certificate HASH
Attached files: coverage.json, N bytes, SHA-256 HASH
Attached files: evidence-manifest.csv, N bytes, SHA-256 HASH
Attached files: meter.proof, N bytes, SHA-256 HASH
Whose seal it is: one of the 1 in your report-seal.crt
The log's checkpoint inside: about meter:dlms_system_title:414C450000000001"""
LAST = "report AR-2026-000147 with the signatures sig-seal, sig-auditor"


def test_what_is_said_of_a_report(workshop: Workshop, signed_by_three: bytes) -> None:
    steps = verify_report(signed_by_three, workshop.trust, Expected("AR-2026-000147", ("sig-seal", "sig-auditor")))
    said = "\n".join(f"{step.title}: {line}" for step in steps for line in step.lines)
    for pattern, word in ((r"[\d,]+ bytes", "N bytes"), (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", "TIME")):
        said = re.sub(pattern, word, said)
    said = re.sub(r"\b[0-9a-f]{64}\b", "HASH", said)
    assert said.startswith(SAID)
    assert steps[-1].lines == [LAST]
    lacking = verify_report(signed_by_three, workshop.trust, Expected("AR-2026-000147", ("sig-a", "sig-seal", "sig-b")))
    assert (lacking[-1].title, lacking[-1].code, lacking[-1].place) == (
        "What the record expects",
        "report.expected",
        "sig-a",
    )
