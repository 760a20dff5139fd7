"""`manage.py fsck` for evidence: stored bytes, rows and log entries must say the same.

Three comparisons: every blob is re-hashed; every row is held against the entries of its chain, in every column that the
chain or the manifest gives; and every chain of evidence in the log must have its row, every file and link its evidence.
Nothing gives the row numbers of files and links, which say nothing: docs/evidence.md.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from compliance.accounts.models import ApiKey, Membership
from compliance.evidence import storage
from compliance.evidence.manifest import log_files, manifest_of
from compliance.evidence.models import Evidence, EvidenceFile, EvidenceLink, Scan, State
from compliance.ledger import selectors as ledger
from compliance.ledger.fsck import Problem
from compliance.ledger.models import Entry
from compliance.ledger.selectors import StoredEntry
from compliance.proof.times import format_time

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
        try:
            yield from _compare_with_log(evidence)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            detail = f"the row or its chain cannot be read: {error!r}"
            yield Problem("evidence.unreadable", f"evidence {evidence.public_id}", detail)
    yield from _compare_blobs(named)
    yield from _rows_gone()
    yield from _rows_adrift()


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
    if [file.position for file in evidence.files.all()] != list(range(len(manifest.files))):
        yield Problem("evidence.files", place, "the positions of the files are not 0, 1, 2 and so on")
    if [file.flags for file in evidence.files.all()] != said["data"]["flags"]:
        yield Problem("evidence.flags", place, "the warnings about the files are not those in the log")
    if format_time(evidence.received_at) != said["occurred_at"]:
        yield Problem("evidence.received_at", place, f"the log says that it was received at {said['occurred_at']}")
    if not _is_submitter(evidence, said["actor"]):
        yield Problem("evidence.submitter", place, "somebody else than in the log stands as the submitter")
    if evidence.scan != Scan.UNSCANNED:
        yield Problem("evidence.scan", place, f"it says {evidence.scan}, but no scanner is connected")
    yield from _compare_decisions(evidence, chain, place)


def _compare_decisions(evidence: Evidence, chain: Sequence[StoredEntry], place: str) -> Iterator[Problem]:
    events = [entry.event for entry in chain]
    states = [_STATE_AFTER[event["type"]] for event in events if event["type"] in _STATE_AFTER]
    if evidence.state != states[-1]:
        detail = f"the row says {evidence.state}, the log says {states[-1]}"
        yield Problem("evidence.state", place, detail)
    decision = next((event for event in events if event["type"] in ("evidence.accepted", "evidence.returned")), None)
    if evidence.reason != (decision["data"]["reason"] if decision else ""):
        yield Problem("evidence.state", place, "the reason of the decision is not the one in the log")
    if _time(evidence.decided_at) != (decision["occurred_at"] if decision else None):
        yield Problem("evidence.state", place, "the time of the decision is not the one in the log")
    reviewer = decision["actor"].get("person") if decision else None
    if not _is_person(evidence.decided_by_id, reviewer):
        yield Problem("evidence.state", place, "somebody else than the person in the log stands as the reviewer")
    superseded = next((event for event in events if event["type"] == "evidence.superseded"), None)
    if (superseded["data"]["by"] if superseded else None) != _subject(evidence.superseded_by_id):
        yield Problem("evidence.state", place, "the evidence that supersedes it is not the one in the log")


def _is_submitter(evidence: Evidence, actor: dict[str, str]) -> bool:
    if "service" not in actor:
        return evidence.submitted_with_id is None and _is_person(evidence.submitter_id, actor["person"])
    if evidence.submitter_id is not None or evidence.submitted_with_id is None:
        return False
    key = ApiKey.objects.filter(pk=evidence.submitted_with_id).first()
    return key is not None and key.public_id == actor["service"]


def _is_person(pk: int | None, pseudonym: str | None) -> bool:
    """Whether the person `pk` stands in the log as `pseudonym`; nobody is nobody."""
    if pk is None or pseudonym is None:
        return pk is None and pseudonym is None
    return Membership.objects.filter(person_id=pk, actor_id=pseudonym).exists()


def _subject(pk: int | None) -> str | None:
    if pk is None:
        return None
    evidence = Evidence.objects.filter(pk=pk).first()
    return "" if evidence is None else str(evidence.subject)


def _time(moment: Any) -> str | None:
    return None if moment is None else format_time(moment)


def _compare_blobs(named: dict[str, list[str]]) -> Iterator[Problem]:
    for sha256, owners in sorted(named.items()):
        condition = storage.verify_blob(sha256)
        if condition is not storage.Condition.INTACT:
            place = f"blob {sha256} of evidence {', '.join(owners)}"
            yield Problem(f"evidence.blob_{condition}", place, f"the stored bytes are {condition}")
    for blob in storage.unnamed(named):
        if blob.condition is storage.Condition.DAMAGED:
            detail = "the stored bytes are damaged; no evidence names them"
            yield Problem("evidence.blob_damaged", f"blob {blob.place}", detail)
        elif not blob.is_leftover:
            detail = "no evidence names it; the hourly sweep removes such files once they are a day old"
            yield Problem("evidence.blob_unnamed", f"blob {blob.place}", detail)


def _rows_adrift() -> Iterator[Problem]:
    for model in (EvidenceFile, EvidenceLink):
        for pk in model.objects.exclude(evidence_id__in=Evidence.objects.values("pk")).values_list("pk", flat=True):
            place = f"{model._meta.db_table} {pk}"
            yield Problem("evidence.adrift", place, "the evidence that it belongs to is not there")


def _rows_gone() -> Iterator[Problem]:
    """Chains of evidence whose row is gone. Each chain shows itself in its first entry."""
    known = set(Evidence.objects.values_list("public_id", flat=True))
    bodies = Entry.objects.filter(seq=0).values_list("body", flat=True)
    for body in bodies.iterator(chunk_size=PIECE):
        found = _FIRST_OF_CHAIN.search(bytes(body))
        if found and found[1].decode() not in known:
            subject = f"evidence:platform:{found[1].decode()}"
            yield Problem("evidence.gone", subject, "the log holds this evidence, but its row is gone")
