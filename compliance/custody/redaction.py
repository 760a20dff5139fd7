"""The administrator's action that redacts an entry: permission, log entry, and projections without what is gone."""

from compliance.accounts import policy
from compliance.accounts.policy import Actor
from compliance.custody import rebuild
from compliance.ledger import redaction
from compliance.ledger.redaction import Redaction


def redact(*, by: Actor, subject: str, seq: int, authority: str, reason: str) -> Redaction:
    """Redact one entry by order of `authority`. Appends wait while the projections are made again without it.

    Raises NotAllowed, and what `compliance.ledger.redaction.redact` raises.
    """
    policy.require(by, "entry.redact")
    return redaction.redact(subject, seq, authority=authority, reason=reason, actor=by.actor, follow=rebuild.rebuild)
