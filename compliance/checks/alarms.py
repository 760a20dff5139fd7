"""Alarms of the ledger as findings: a witness that knows another history, time stamps that do not come.

The ledger keeps the alarm; this looks at it. A finding is opened once for each alarm, named by when it was raised, and
closed when the alarm is over: the operator went on, with the reason he gave, or the authority answered again. Nobody
else need close it, and who closes it earlier is not contradicted.
"""

from collections.abc import Mapping, Sequence

from compliance.accounts.policy import SYSTEM
from compliance.checks import actions
from compliance.checks.models import MAX_SUBJECT, Finding, FindingState, Resolution
from compliance.checks.platform_findings import suspect_once
from compliance.checks.registry import Severity
from compliance.ledger import anchors, platform_log, witnesses
from compliance.ledger.transactions import unit_of_work
from compliance.proof.times import format_time

WITNESS = "witness"
ANCHOR = "anchor"


def follow() -> int:
    """Open a finding for each alarm that stands, close those whose alarm is over. Returns how many were new or over."""
    return _follow_witness() + _follow_anchor()


def _follow_witness() -> int:
    raised = witnesses.alarm()
    said = {}
    if raised is not None:
        about = _about(raised.witness, raised.at)
        said[about] = f"Publishing stopped: witness {raised.witness} {raised.why}. Evidence: {raised.evidence}"
    opened = suspect_once(WITNESS, Severity.CRITICAL, said)
    # Only what is said to be over: a worker on a host without the signer's folder sees no alarm either.
    over = {_about(past.witness, past.at): f"The operator went on: {reason}" for past, reason in witnesses.went_on()}
    return opened + _close(_open(WITNESS, list(over)), Resolution.EXPLAINED, over)


def _follow_anchor() -> int:
    standing = anchors.standing()
    said = {}
    if standing.is_alarm and standing.pending_since is not None:
        about = f"time stamps (since {format_time(standing.pending_since)})"
        said[about] = f"No time stamp authority has answered: {standing.failure}"
    opened = suspect_once(ANCHOR, Severity.HIGH, said)
    over = {about: "The time stamp authority answered again." for about in _open(ANCHOR) if about not in said}
    return opened + _close(_open(ANCHOR, list(over)), Resolution.FIXED, over)


def _open(detector: str, about: Sequence[str] | None = None) -> dict[str, str]:
    """Ids of the open findings of `detector`, by what they are about."""
    found = Finding.objects.filter(detector=detector, state=FindingState.OPEN)
    if about is not None:
        found = found.filter(about__in=about)
    return dict(found.values_list("about", "id"))


@unit_of_work()
def _close(ids: Mapping[str, str], resolution: Resolution, reasons: Mapping[str, str]) -> int:
    locked = Finding.objects.select_for_update().filter(pk__in=ids.values(), state=FindingState.OPEN).order_by("id")
    found = list(locked)
    if found:
        with platform_log.platform_batch(actor=SYSTEM.actor) as log:
            for finding in found:
                data = {
                    "resolution": resolution.value,
                    "reason": reasons[finding.about][: actions.MAX_REASON_CHARACTERS],
                }
                log.record(finding.chain, "check.finding_closed", data)
    return len(found)


def _about(witness: str, at: str) -> str:
    return f"witness {witness} ({at})"[:MAX_SUBJECT]
