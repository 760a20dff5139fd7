"""Time stamps (RFC 3161) over published checkpoints: a word from outside that they existed by then.

Each published checkpoint gets a token, in the order of the log: tokens and sizes rise together. So those that wait are
the checkpoints beyond the newest token, found by one index; a token that vanished or changed places is missed; and an
export up to any size holds the tokens up to a number. The price: after an absence of the authority the oldest is
stamped first. Each round takes so long and no longer. While the authority is away the checkpoints are "anchor pending":
nothing waits for them, they are tried again, and after an hour that is an alarm. Who the authority is, the reports room
knows, and registers it here.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cryptography import x509
from django.conf import settings
from django.db.models import Count, OuterRef, Subquery, Value
from django.db.models.functions import Coalesce

from compliance.jobs import clock
from compliance.jobs.failpoints import reach
from compliance.jobs.models import Waiting
from compliance.ledger import files, mirror, selectors, tiles
from compliance.ledger.models import Anchoring, TimeToken
from compliance.ledger.models import Checkpoint as CheckpointRow
from compliance.ledger.selectors import StoredCheckpoint
from compliance.ledger.transactions import unit_of_work
from compliance.proof.errors import ProofError
from compliance.proof.log_folder import ANCHORED, STAMP
from compliance.proof.time_tokens import TimeStamp, verify_token
from compliance.proof.trust import TIME_STAMP_ROOTS

if TYPE_CHECKING:
    from django.db.models import QuerySet

__all__ = ["ANCHORED", "STAMP"]  # names of the files beside the checkpoint

logger = logging.getLogger(__name__)

FIRST_PAUSE: Final = timedelta(seconds=5)  # doubles: an authority that is away costs the worker a time-out each time
LONGEST_PAUSE: Final = timedelta(minutes=5)
ALARM_AFTER: Final = timedelta(hours=1)
ROUND_SECONDS: Final = 0.5  # of tokens in a row: half of the worker's second is left for publishing
MOST_IN_A_ROUND: Final = 100  # read at once; no authority gives more in that time
CLOCKS_APART: Final = timedelta(minutes=5)  # more, and either the authority's clock or ours tells nothing
_OUTAGE: Final = "ledger.anchor"


class AuthorityAway(Exception):
    """No time stamp authority answered with a token. The text says why, for the operator."""


class NoAuthority(AuthorityAway):
    """None is set, so that nothing is expected."""


@dataclass(frozen=True, slots=True)
class Authority:
    """`stamp` asks for a token over bytes, with a nonce, and raises AuthorityAway. `roots` are those it is checked
    with.
    """

    stamp: Callable[[bytes], bytes]
    roots: Callable[[], Sequence[x509.Certificate]]


@dataclass(frozen=True, slots=True)
class Standing:
    """What can be said of the time stamps now. `stamped_at` and `size` are of the newest token, None without one.

    `waiting` checkpoints have no token yet. `pending_since` is set while the authority is away, `failure` says why.
    """

    stamped_at: datetime | None
    size: int | None
    authority: str
    note: str
    waiting: int
    pending_since: datetime | None
    failure: str

    @property
    def is_alarm(self) -> bool:
        """Whether the authority has been away for too long."""
        return self.pending_since is not None and clock.now() - self.pending_since >= ALARM_AFTER


_authorities: list[Authority] = []


def register_authority(authority: Authority) -> None:
    """Let `authority` stamp checkpoints. For AppConfig.ready."""
    _authorities[:] = [authority]


def anchor() -> int:
    """Have the published checkpoints that have no token stamped, oldest first, as many as a round allows. Returns how
    many tokens were stored.

    A token is kept only if it verifies: over these bytes, with our nonce, by an authority whose roots are known here,
    its certificate valid at that time, and that time near ours. Otherwise it is as if none had come: the round is over.
    """
    latest = selectors.latest_checkpoint()
    if latest is None or not _authorities or mirror.is_mirror():
        return 0
    newest = _newest_token()
    waiting = _waiting(newest, latest)
    if not waiting:
        if newest is not None:
            _show(newest)
        return 0
    now = clock.now()
    outage = Waiting.objects.filter(name=_OUTAGE).first() or Waiting(name=_OUTAGE, since=now, next_try_at=now)
    if now < outage.next_try_at <= now + LONGEST_PAUSE:
        return 0
    until = time.monotonic() + ROUND_SECONDS
    stored = None
    done = 0
    for size, note in waiting:
        try:
            stored = _stamp(size, note)
        except NoAuthority:
            break
        except (AuthorityAway, ProofError) as error:
            _wait(outage, now, str(error))
            break
        done += 1
        outage = Waiting(name=_OUTAGE, since=now, next_try_at=now)  # it answers again
        if time.monotonic() >= until:
            break
    if stored is not None:
        _show(stored)
    return done


def catch_up(seconds: float) -> None:
    """Rounds until nothing waits, the authority is away, or `seconds` have passed: for who needs the newest stamped."""
    until = time.monotonic() + seconds
    while anchor() and time.monotonic() < until:
        pass


def _newest_token() -> TimeToken | None:
    return TimeToken.objects.order_by("-number").first()


def _waiting(newest: TimeToken | None, latest: StoredCheckpoint) -> list[tuple[int, str]]:
    """Size and note of the next checkpoints to be stamped. The latest is stamped again when more witnesses have
    cosigned it, for proofs carry it as it is shown.
    """
    beyond = _beyond(newest).order_by("size").values_list("size", "note")[:MOST_IN_A_ROUND]
    found = [(size, latest.note if size == latest.size else note) for size, note in beyond]
    if not found and newest is not None and newest.size == latest.size and newest.note != latest.note:
        return [(latest.size, latest.note)]
    return found


def _beyond(newest: TimeToken | None) -> "QuerySet[CheckpointRow]":
    return CheckpointRow.objects.filter(size__gt=newest.size if newest is not None else 0)


def _stamp(size: int, note: str) -> TimeToken:
    """One token, verified and stored. Raises AuthorityAway, ProofError."""
    token = _authorities[0].stamp(note.encode())
    reach("ledger.anchors.stamped")
    verify(token, note, at=clock.now())
    stored = _keep(size, note, token)
    reach("ledger.anchors.stored")
    return stored


def verify(token: bytes, note: str, *, at: datetime | None = None) -> TimeStamp:
    """What `token` states about `note`. Raises ProofError `time.token`, also if its time is far from `at`."""
    stamp = verify_token(token, note.encode(), roots=roots())
    if at is not None and abs(stamp.time - at) > CLOCKS_APART:
        raise ProofError(
            "time.token", f"the authority says {stamp.time:%Y-%m-%d %H:%M:%S}, our clock {at:%H:%M:%S} UTC"
        )
    return stamp


def roots() -> tuple[x509.Certificate, ...]:
    """Certificates of the authorities of today and, from the trust folder, of earlier ones."""
    path: Path = settings.METERPROOF["TRUST_DIR"] / TIME_STAMP_ROOTS
    earlier = x509.load_pem_x509_certificates(path.read_bytes()) if path.exists() else []
    try:
        present = _authorities[0].roots() if _authorities else ()
    except AuthorityAway:
        present = ()
    return tuple(dict.fromkeys([*present, *earlier]))


def tokens_over(size: int, note: str) -> list[bytes]:
    """The tokens over exactly this note, oldest first."""
    rows = TimeToken.objects.filter(size=size, note=note).order_by("number")
    return [row.token for row in rows]


def standing() -> Standing:
    """For pages and the operator."""
    outage = Waiting.objects.filter(name=_OUTAGE).first()
    later = CheckpointRow.objects.filter(size__gt=OuterRef("size")).annotate(one=Value(1)).values("one")
    counted = Coalesce(Subquery(later.annotate(number=Count("size")).values("number")), 0)
    newest = TimeToken.objects.annotate(waiting=counted).order_by("-number").first()
    waiting = newest.waiting if newest is not None else CheckpointRow.objects.count()
    stamp = _stated(newest) if newest is not None else None
    return Standing(
        stamped_at=stamp.time if stamp else None,
        size=newest.size if newest is not None else None,
        authority=stamp.authority if stamp else "",
        note=newest.note if newest is not None else "",
        waiting=0 if mirror.is_mirror() else waiting,
        pending_since=outage.since if outage else None,
        failure=outage.failure if outage else "",
    )


def _stated(row: TimeToken) -> TimeStamp | None:
    try:
        return verify(row.token, row.note)
    except ProofError:
        return None


def _wait(outage: Waiting, now: datetime, failure: str) -> None:
    """Remember that it failed, and say so; after an hour, and every hour from then on, as an alarm."""
    pause = min(FIRST_PAUSE * 2 ** min(outage.attempts, 10), LONGEST_PAUSE)
    outage.attempts += 1
    outage.next_try_at = now + pause
    outage.failure = failure[:1_000]
    logger.warning("anchor pending since %s: %s", f"{outage.since:%Y-%m-%d %H:%M:%S}", failure)
    if now - (outage.alarmed_at or outage.since) >= ALARM_AFTER:
        outage.alarmed_at = now
        logger.error("no time stamp over a checkpoint since %s: %s", f"{outage.since:%Y-%m-%d %H:%M}", failure)
    outage.save()


@unit_of_work()
def _keep(size: int, note: str, token: bytes) -> TimeToken:
    """Store the token under the next number, and how many there are: one that vanishes is missed.

    If somebody else stamped this checkpoint, or a later one, meanwhile, theirs counts: sizes never go back.
    """
    state, _ = Anchoring.objects.select_for_update().get_or_create(id=1)
    newest = _newest_token()
    if newest is not None and (newest.size > size or newest.note == note):
        return newest
    stored = TimeToken.objects.create(number=state.tokens + 1, size=size, note=note, token=token)
    Anchoring.objects.filter(id=1).update(tokens=stored.number)
    Waiting.objects.filter(name=_OUTAGE).delete()
    return stored


def _show(row: TimeToken) -> None:
    """The pair of files for outsiders. Who reads them in between finds that they do not fit, and reads again."""
    folder = tiles.folder()
    for name, data in ((ANCHORED, row.note.encode()), (STAMP, bytes(row.token))):
        path = folder / name
        if not path.exists() or path.read_bytes() != data:
            files.replace(path, data)
