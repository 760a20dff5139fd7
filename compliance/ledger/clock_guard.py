"""A clock that jumps ahead must not write: `recorded_at` never goes back, so it would pin chains to the future.

What "ahead" means needs a memory: a sign of life that the integrator renews while it works (working state, in the
tables of `jobs`), and the times of batches that wait for it. A machine that was off for a week is no jump; whoever
starts the product says so by `accept`.
"""

import logging
from datetime import datetime, timedelta
from typing import Final

from compliance.jobs import clock
from compliance.jobs.models import SignOfLife
from compliance.ledger.errors import ClockJumped, NoLog
from compliance.ledger.models import Entry, LeafRange, LogState, Pending

logger = logging.getLogger(__name__)

CLOCK_JUMP_LIMIT: Final = timedelta(hours=24)  # longer than any clock repair, shorter than any harm worth having
SIGN_OF_LIFE_EVERY: Final = timedelta(minutes=5)  # how often the integrator writes that it lives: far below the limit
LONGEST_PAUSE: Final = timedelta(days=366)  # a clock that starts with a date years ahead is wrong, not rested

_NAME: Final = "ledger"
_SIGN: Final = "SELECT name, at FROM jobs_signoflife WHERE name = %s AND EXISTS (SELECT 1 FROM ledger_log_state)"
_WAITING: Final = "SELECT batch, recorded_at FROM ledger_pending ORDER BY recorded_at DESC LIMIT 1"


def require_plausible(now: datetime) -> datetime | None:
    """Raise ClockJumped when `now` lies more than the limit after the latest time this log lived through.

    Returns when the newest batch was recorded that has no place in the log yet, None if all have one.
    """
    waiting = _newest_waiting()
    seen = _last_sign() if waiting is None else max(_last_sign(), waiting)
    if now - seen > CLOCK_JUMP_LIMIT:
        raise ClockJumped(
            f"The clock says {now:%Y-%m-%d %H:%M} UTC, but the log was last alive at {seen:%Y-%m-%d %H:%M} UTC. "
            "Nothing is recorded, because a wrong time could never be taken back. If the clock is right, say so with: "
            "manage.py ledger accept-clock"
        )
    return waiting


def latest_seen() -> datetime:
    """The latest time this log is known to have lived through. Raises NoLog."""
    waiting = _newest_waiting()
    return _last_sign() if waiting is None else max(_last_sign(), waiting)


def remember(moment: datetime) -> None:
    """Keep that the log lived through `moment`. The memory never goes back."""
    if not SignOfLife.objects.filter(name=_NAME, at__lt=moment).update(at=moment):
        SignOfLife.objects.get_or_create(name=_NAME, defaults={"at": moment})


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
    remember(max(now, seen))


def _newest_waiting() -> datetime | None:
    return next((waiting.recorded_at for waiting in Pending.objects.raw(_WAITING)), None)


def give_sign(newest: datetime | None) -> None:
    """Remember that the integrator lives now, unless the clock has jumped; then what it saw recorded, if anything.

    Now and then is enough. `newest` is the time of the last batch it integrated.
    """
    now, seen = clock.now(), _last_sign()
    lived = seen if newest is None else max(seen, newest)
    if now - lived <= CLOCK_JUMP_LIMIT:
        lived = max(now, lived)
    else:
        logger.error("the clock is %s ahead of the log's last sign of life; nothing will be recorded", now - seen)
    if lived - seen > SIGN_OF_LIFE_EVERY:
        remember(lived)


def _last_sign() -> datetime:
    for sign in SignOfLife.objects.raw(_SIGN, [_NAME]):
        return sign.at
    if not LogState.objects.filter(id=1).exists():
        raise NoLog
    return _last_recorded()


def _last_recorded() -> datetime:
    """For a log whose sign of life was removed: when the newest entry with a place was recorded."""
    last = LeafRange.objects.order_by("-first_index").values_list("batch", flat=True).first()
    return Entry.objects.filter(batch=last).values_list("recorded_at", flat=True).first() or clock.now()
