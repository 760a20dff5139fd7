"""What pages say of the time stamps over checkpoints."""

from compliance.ledger import anchors
from compliance.web.templatetags.meterproof import when


def time_stamp() -> tuple[str, str, str]:
    """Tone, words and detail for the newest time stamp, or for the checkpoint that waits for one."""
    standing = anchors.standing()
    if standing.pending_since is not None:
        since = f"no time stamp authority answered since {when(standing.pending_since)}"
        return "bad" if standing.is_alarm else "warn", "Anchor pending", since
    if standing.stamped_at is None:
        return "none", "No time stamp yet", ""
    return "ok", "Time stamp authority", f"{standing.size:,} entries, {when(standing.stamped_at)}"
