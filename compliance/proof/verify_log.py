"""What a log folder proves: the checkpoint, every tile, every entry, and with `batches/` every author."""

from collections.abc import Mapping
from pathlib import Path

from compliance.proof import dsse, merkle, subject
from compliance.proof.checkpoint import Checkpoint
from compliance.proof.errors import ProofError
from compliance.proof.facts import Fact, read_fact
from compliance.proof.history import check_history, check_time_tokens, open_checkpoint
from compliance.proof.log_folder import ANCHORED, STAMP, BatchFile, LogFolder
from compliance.proof.log_keys import LogKeys
from compliance.proof.steps import Step, Verdict
from compliance.proof.trust import TrustFolder


def verify_log(path: Path, trust: TrustFolder, verdict: Verdict, step: Step) -> None:
    """Check the log folder at `path`; `step` is the step about the file. Raises ProofError at the first failure."""
    folder = LogFolder(path)
    text = folder.read_checkpoint()
    step.say("a tlog-tiles prefix with entry bundles" + ("" if folder.has_batches() else ", without batches"))
    checkpoint = open_checkpoint(text, trust, verdict)
    with verdict.step("Hash tiles") as tiles:
        leaves = folder.read_leaf_hashes(checkpoint)
        tiles.say(f"{folder.files_read - 1} tile files agree; the leaf hashes give the signed root")
        if folder.beyond:
            tiles.say(f"{len(folder.beyond)} tile files lie beyond this checkpoint and were not checked")
        if folder.strange:
            tiles.say(f"{len(folder.strange)} other files were not looked at")
    _check_time_stamp(folder, leaves, trust, verdict)
    facts: list[Fact] = []
    bare: dict[int, bytes] = {}
    with verdict.step("Entries") as entries:
        for leaf, data in folder.read_entries(leaves):
            if data is None:
                bare[leaf] = leaves[leaf]
            else:
                facts.append(read_fact(leaf, data))
        entries.say(f"{len(facts):,} entries are the leaves of the tree, {len(bare)} are redacted")
    batches = _read_batches(folder, verdict)
    _require_standing_key(facts, checkpoint, verdict)
    check_history(
        facts,
        bare,
        trust=trust,
        verdict=verdict,
        envelopes=None if batches is None else lambda batch_id: _envelope(batches, batch_id),
        require_place=lambda fact, _: _require_place(batches or {}, fact),
        unknown_key="key.unknown",
        is_whole=lambda _: True,
    )


def _check_time_stamp(folder: LogFolder, leaves: list[bytes], trust: TrustFolder, verdict: Verdict) -> None:
    """The newest checkpoint that a time stamp authority has seen, with its token, if they lie beside the log."""
    note, token = folder.read_time_stamp()
    if note is None and token is None:
        return
    if note is None or token is None:
        raise ProofError("time.token", f"one of {ANCHORED} and {STAMP} is missing", place=STAMP if note else ANCHORED)
    try:
        text = note.decode("utf-8")
        anchored = open_checkpoint(text, trust, Verdict("checkpoint"), time_tokens=[token])
    except UnicodeDecodeError:
        raise ProofError("note.form", "not UTF-8", place=ANCHORED) from None
    except ProofError as error:
        raise error.within(STAMP if error.code == "time.token" else ANCHORED) from None
    if anchored.size <= len(leaves) and merkle.root(leaves[: anchored.size]) != anchored.root:
        raise ProofError("proof.consistency", "it is over another tree than this log was", place=ANCHORED)
    check_time_tokens(text, [token], trust, verdict, of=f"the checkpoint of {anchored.size:,} entries")


def _require_standing_key(facts: list[Fact], checkpoint: Checkpoint, verdict: Verdict) -> None:
    """A key does not count on a checkpoint over the entry of its own revocation, whoever believes it."""
    known = LogKeys.of_facts(facts, subject.log(checkpoint.origin))
    ends = [known.revoked.get(("log", keyid)) for keyid in verdict.facts["checkpoint"]["signed_by"]]
    after = [end.leaf for end in ends if end is not None and end.leaf is not None and end.leaf < checkpoint.size]
    if len(after) == len(ends):
        raise ProofError(
            "key.revoked",
            "the checkpoint is signed only by keys that the log below it revokes",
            place=f"leaf {min(after)}",
        )


def _read_batches(folder: LogFolder, verdict: Verdict) -> dict[str, BatchFile] | None:
    if not folder.has_batches():
        return None
    with verdict.step("Batch files") as step:
        batches = folder.read_batches()
        step.say(f"{len(batches)} batches, each under its id, its event hashes giving the signed root")
    return batches


def _envelope(batches: Mapping[str, BatchFile], batch_id: str) -> dsse.Envelope | None:
    file = batches.get(batch_id)
    return None if file is None else file.envelope


def _require_place(batches: Mapping[str, BatchFile], fact: Fact) -> None:
    if batches[fact.batch].event_hashes[fact.index] != fact.event_hash:
        raise ProofError("batch.path", "another event was signed at this position", place=fact.place)
