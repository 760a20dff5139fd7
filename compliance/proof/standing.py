"""Whether a key of the log still counts, by what `log-keys.proof` of the trust folder tells of its revocation."""

from collections.abc import Sequence

from compliance.proof.errors import ProofError
from compliance.proof.steps import Step, Verdict
from compliance.proof.times import parse_time
from compliance.proof.trust import TrustFolder


def require_standing_log_key(keyids: Sequence[str], times: Sequence[str], trust: TrustFolder, verdict: Verdict) -> None:
    """A line of a revoked key counts if the note existed before, or if nothing dates it and nobody else had the key.

    `times` are those at which the note is known to have existed. Raises `key.revoked`.
    """
    revoked = [trust.revoked["log", keyid] for keyid in keyids if ("log", keyid) in trust.revoked]
    if not revoked or len(revoked) < len(keyids):
        return
    with verdict.step("The log's key was revoked since") as step:
        end = max(revoked, key=lambda revocation: revocation.effective_at)
        step.say(f"{keyids[0]} counts until {end.effective_at}: {end.reason}")
        earliest = min(times, default=None)
        if earliest is not None and earliest < end.effective_at:
            step.say(f"the checkpoint existed at {earliest}, before that")
        elif earliest is None and end.is_harmless:
            verdict.note("nothing dates this checkpoint; its key was given up, not lost, says the log", step)
        else:
            when = f"the checkpoint is dated {earliest}" if earliest else "nothing dates the checkpoint before that"
            raise ProofError("key.revoked", f"{keyids[0]} was revoked from {end.effective_at} on, {when}")


def require_standing_receipt_key(keyid: str, issued_at: str, trust: TrustFolder, verdict: Verdict, step: Step) -> None:
    """Nothing from outside dates a receipt or heads: by its own word it must be from before the revocation of its key.

    Raises `key.revoked`.
    """
    end = trust.revoked.get(("receipt", keyid))
    if end is None:
        return
    if parse_time(issued_at) >= parse_time(end.effective_at):
        raise ProofError("key.revoked", f"issued at {issued_at}; {keyid} was revoked from {end.effective_at} on")
    verdict.note(
        f"its key was revoked from {end.effective_at} on ({end.reason}), and only itself says that it is older", step
    )
