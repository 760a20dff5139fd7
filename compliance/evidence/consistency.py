"""`manage.py fsck` for evidence: stored bytes, rows and log entries must say the same.

Three comparisons: every blob is re-hashed; every row is held against the entries of its chain (manifest, files, state);
and every chain of evidence in the log must have its row.
"""

import re
from collections.abc import Iterator, Sequence

from compliance.evidence import storage
from compliance.evidence.manifest import log_files, manifest_of
from compliance.evidence.models import Evidence, State
from compliance.ledger import selectors as ledger
from compliance.ledger.fsck import Problem
from compliance.ledger.models import Entry
from compliance.ledger.selectors import StoredEntry

PIECE = 500  # evidence rows held in memory at a time

# Canonical JSON: the entry's own `subject` is its second last member; inside an event no text can hold bare quotes.
_FIRST_OF_CHAIN = re.compile(rb'"subject":"evidence:platform:(evd_[0-9a-f]{32})","v":1}$')
_STATE_AFTER = {
    "evidence.received": State.SUBMITTED,
    "evidence.accepted": State.ACCEPTED,
    "evidence.returned": State.RETURNED,
    "evidence.superseded": State.SUPERSEDED,
}


def compare() -> Iterator[Problem]:
    """Everything that does not fit, each with its place."""
    named: dict[str, list[str]] = {}
    rows = Evidence.objects.prefetch_related("files", "links").order_by("pk")
    for evidence in rows.iterator(chunk_size=PIECE):
        for file in evidence.files.all():
            named.setdefault(file.sha256, []).append(evidence.public_id)
        yield from _compare_with_log(evidence)
    yield from _compare_blobs(named)
    yield from _rows_gone()


def _compare_with_log(evidence: Evidence) -> Iterator[Problem]:
    place = f"evidence {evidence.public_id}"
    chain = ledger.chain(evidence.subject)
    if not chain or chain[0].event["type"] != "evidence.received":
        yield Problem("evidence.unrecorded", place, "the log does not hold that it was received")
        return
    manifest = manifest_of(evidence)
    said = chain[0].event
    if said["data"]["manifest_sha256"] != evidence.manifest_sha256:
        yield Problem("evidence.manifest", place, "the row's manifest digest is not the one in the log")
    if manifest.digest != said["data"]["manifest_sha256"]:
        yield Problem("evidence.manifest", place, "title, times, files or links differ from what was received")
    if list(said.get("evidence", [])) != log_files(manifest.files):
        yield Problem("evidence.files", place, "the files are not those in the log")
    yield from _compare_decisions(evidence, chain, place)


def _compare_decisions(evidence: Evidence, chain: Sequence[StoredEntry], place: str) -> Iterator[Problem]:
    states = [_STATE_AFTER[entry.event["type"]] for entry in chain if entry.event["type"] in _STATE_AFTER]
    if evidence.state != states[-1]:
        detail = f"the row says {evidence.state}, the log says {states[-1]}"
        yield Problem("evidence.state", place, detail)
    decisions = [entry for entry in chain if entry.event["type"] in ("evidence.accepted", "evidence.returned")]
    if decisions and decisions[0].event["data"]["reason"] != evidence.reason:
        yield Problem("evidence.state", place, "the reason of the decision is not the one in the log")
    if decisions and decisions[0].event["actor"].get("person") not in _pseudonyms(evidence):
        yield Problem("evidence.state", place, "somebody else than the person in the log stands as the reviewer")


def _pseudonyms(evidence: Evidence) -> set[str]:
    reviewer = evidence.decided_by
    return set() if reviewer is None else set(reviewer.memberships.values_list("actor_id", flat=True))


def _compare_blobs(named: dict[str, list[str]]) -> Iterator[Problem]:
    for sha256, owners in sorted(named.items()):
        condition = storage.verify_blob(sha256)
        if condition is not storage.Condition.INTACT:
            place = f"blob {sha256} of evidence {', '.join(owners)}"
            yield Problem(f"evidence.blob_{condition}", place, f"the stored bytes are {condition}")
    for damage in storage.scrub():
        if damage.sha256 not in named:
            detail = "the stored bytes are damaged; no evidence names them"
            yield Problem("evidence.blob_damaged", f"blob {damage.place}", detail)


def _rows_gone() -> Iterator[Problem]:
    """Chains of evidence whose row is gone. Each chain shows itself in its first entry."""
    known = set(Evidence.objects.values_list("public_id", flat=True))
    bodies = Entry.objects.filter(seq=0).values_list("body", flat=True)
    for body in bodies.iterator(chunk_size=PIECE):
        found = _FIRST_OF_CHAIN.search(bytes(body))
        if found and found[1].decode() not in known:
            subject = f"evidence:platform:{found[1].decode()}"
            yield Problem("evidence.gone", subject, "the log holds this evidence, but its row is gone")
