"""A clock that jumps ahead must not write: `recorded_at` never goes back, so it would pin chains to the future.

What "ahead" means needs a memory: `LogState.seen_at`, moved on by the integrator every round, and the times of
batches that wait for it. A machine that was off for a week is no jump; whoever starts the product says so by
`accept`.
"""

import logging
from datetime import datetime, timedelta
from typing import Final

from compliance.jobs import clock
from compliance.ledger.errors import ClockJumped, NoLog
from compliance.ledger.models import LogState, Pending

logger = logging.getLogger(__name__)

CLOCK_JUMP_LIMIT: Final = timedelta(hours=24)  # longer than any clock repair, shorter than any harm worth having
SIGN_OF_LIFE_EVERY: Final = timedelta(minutes=5)  # how often an idle integrator writes that it lives
LONGEST_PAUSE: Final = timedelta(days=366)  # a clock that starts with a date years ahead is wrong, not rested


def require_plausible(now: datetime) -> None:
    """Raise ClockJumped when `now` lies more than the limit after the latest time this log lived through."""
    seen = latest_seen()
    if now - seen > CLOCK_JUMP_LIMIT:
        raise ClockJumped(
            f"The clock says {now:%Y-%m-%d %H:%M} UTC, but the log was last alive at {seen:%Y-%m-%d %H:%M} UTC. "
            "Nothing is recorded, because a wrong time could never be taken back. If the clock is right, say so with: "
            "manage.py ledger accept-clock"
        )


def latest_seen() -> datetime:
    """The latest time this log is known to have lived through."""
    states = list(LogState.objects.raw("SELECT id, seen_at FROM ledger_log_state WHERE id = 1"))
    if not states:
        raise NoLog
    newest = "SELECT batch, recorded_at FROM ledger_pending ORDER BY recorded_at DESC LIMIT 1"
    return max([states[0].seen_at, *(waiting.recorded_at for waiting in Pending.objects.raw(newest))])


def accept(*, however_long: bool = False) -> None:
    """Take the clock's word for how long the product was off. For the start of a process and for the operator.

    Raises ClockJumped for a pause of more than a year unless the operator says `however_long`.
    """
    now, seen = clock.now(), latest_seen()
    if now - seen > LONGEST_PAUSE and not however_long:
        raise ClockJumped(
            f"The clock says {now:%Y-%m-%d} and the log was last alive on {seen:%Y-%m-%d}: more than a year. "
            "Set the clock, or if it is right say so with: manage.py ledger accept-clock"
        )
    if now - seen > CLOCK_JUMP_LIMIT:
        logger.warning("the clock is %s ahead of the log's last sign of life; taken for a pause", now - seen)
    if now > seen:
        LogState.objects.filter(id=1, seen_at__lt=now).update(seen_at=now)


def next_sign_of_life(seen: datetime, now: datetime, newest: datetime | None) -> datetime:
    """The moment to store as lived through: now, unless the clock has jumped; then what was recorded, if anything."""
    lived = [seen] if newest is None else [seen, newest]
    if now - max(lived) <= CLOCK_JUMP_LIMIT:
        lived.append(now)
    else:
        logger.error("the clock is %s ahead of the log's last sign of life; nothing will be recorded", now - seen)
    return max(lived)
