"""What pages say of the time stamps over checkpoints."""

from compliance.ledger import anchors
from compliance.web.templatetags.meterproof import when

JUST_PUBLISHED = 5  # they get their token within seconds; more is a backlog


def time_stamp() -> tuple[str, str, str]:
    """Tone, words and detail for the newest time stamp, or for the checkpoint that waits for one."""
    standing = anchors.standing()
    waiting = f"; {standing.waiting:,} checkpoints wait" if standing.waiting > 1 else ""
    if standing.pending_since is not None:
        since = f"no time stamp authority answered since {when(standing.pending_since)}{waiting}"
        return "bad" if standing.is_alarm else "warn", "Anchor pending", since
    if standing.waiting > JUST_PUBLISHED and standing.stamped_at is not None:
        return "warn", "Anchor pending", f"the oldest are stamped first{waiting}"
    if standing.stamped_at is None:
        return "none", "No time stamp yet", ""
    return "ok", "Time stamp authority", f"{standing.size:,} entries, {when(standing.stamped_at)}"
