"""Time stamps (RFC 3161) over published checkpoints: a word from outside that they existed by then.

Each second the newest checkpoint that has none is sent to the time stamp authority. One that was overtaken before its
turn gets no token of its own: the next one says it all, since it continues it. While the authority is away the
checkpoint is "anchor pending": nothing waits for it, it is tried again, and after an hour that is an alarm. Who the
authority is, the reports room knows, and registers it here.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from django.conf import settings

from compliance.jobs import clock
from compliance.jobs.failpoints import reach
from compliance.jobs.models import Waiting
from compliance.ledger import files, mirror, selectors, tiles
from compliance.ledger.models import Anchoring, TimeToken
from compliance.ledger.transactions import unit_of_work
from compliance.proof.errors import ProofError
from compliance.proof.log_folder import ANCHORED, STAMP
from compliance.proof.time_tokens import TimeStamp, verify_token
from compliance.proof.trust import TIME_STAMP_ROOTS

__all__ = ["ANCHORED", "STAMP"]  # names of the files beside the checkpoint

logger = logging.getLogger(__name__)

FIRST_PAUSE: Final = timedelta(seconds=5)  # doubles: an authority that is away costs the worker a time-out each time
LONGEST_PAUSE: Final = timedelta(minutes=5)
ALARM_AFTER: Final = timedelta(hours=1)
CLOCKS_APART: Final = timedelta(minutes=5)  # more, and either the authority's clock or ours tells nothing
_WAITING: Final = "ledger.anchor"


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

    `pending_since` is set while a checkpoint waits for its token, `failure` says why it still does.
    """

    stamped_at: datetime | None
    size: int | None
    authority: str
    note: str
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


def anchor() -> TimeToken | None:
    """Have the newest published checkpoint stamped, if it is not, and keep the token. None if nothing was stored.

    A token is kept only if it verifies: over these bytes, with our nonce, by an authority whose roots are known here,
    its certificate valid at that time, and that time near ours. Otherwise it is as if none had come.
    """
    latest = selectors.latest_checkpoint()
    if latest is None or not _authorities or mirror.is_mirror():
        return None
    newest = TimeToken.objects.order_by("-number").first()
    if newest is not None and newest.note == latest.note:
        _show(newest)
        return None
    now = clock.now()
    waiting = Waiting.objects.filter(name=_WAITING).first() or Waiting(name=_WAITING, since=now, next_try_at=now)
    if now < waiting.next_try_at <= now + LONGEST_PAUSE:
        return None
    try:
        token = _authorities[0].stamp(latest.note.encode())
        reach("ledger.anchors.stamped")
        verify(token, latest.note, at=clock.now())
    except NoAuthority:
        return None
    except (AuthorityAway, ProofError) as error:
        _wait(waiting, now, str(error))
        return None
    stored = _keep(latest.size, latest.note, token)
    reach("ledger.anchors.stored")
    _show(stored)
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
    newest = TimeToken.objects.order_by("-number").first()
    waiting = Waiting.objects.filter(name=_WAITING).first()
    stamp = _stated(newest) if newest is not None else None
    return Standing(
        stamped_at=stamp.time if stamp else None,
        size=newest.size if newest is not None else None,
        authority=stamp.authority if stamp else "",
        note=newest.note if newest is not None else "",
        pending_since=waiting.since if waiting else None,
        failure=waiting.failure if waiting else "",
    )


def _stated(row: TimeToken) -> TimeStamp | None:
    try:
        return verify(row.token, row.note)
    except ProofError:
        return None


def _wait(waiting: Waiting, now: datetime, failure: str) -> None:
    """Remember that it failed, and say so; after an hour, and every hour from then on, as an alarm."""
    pause = min(FIRST_PAUSE * 2 ** min(waiting.attempts, 10), LONGEST_PAUSE)
    waiting.attempts += 1
    waiting.next_try_at = now + pause
    waiting.failure = failure[:1_000]
    logger.warning("anchor pending since %s: %s", f"{waiting.since:%Y-%m-%d %H:%M:%S}", failure)
    if now - (waiting.alarmed_at or waiting.since) >= ALARM_AFTER:
        waiting.alarmed_at = now
        logger.error("no time stamp over a checkpoint since %s: %s", f"{waiting.since:%Y-%m-%d %H:%M}", failure)
    waiting.save()


@unit_of_work()
def _keep(size: int, note: str, token: bytes) -> TimeToken:
    """Store the token under the next number, and how many there are: one that vanishes is missed."""
    state, _ = Anchoring.objects.select_for_update().get_or_create(id=1)
    stored = TimeToken.objects.create(number=state.tokens + 1, size=size, note=note, token=token)
    Anchoring.objects.filter(id=1).update(tokens=stored.number)
    Waiting.objects.filter(name=_WAITING).delete()
    return stored


def _show(row: TimeToken) -> None:
    """The pair of files for outsiders. Who reads them in between finds that they do not fit, and reads again."""
    folder = tiles.folder()
    for name, data in ((ANCHORED, row.note.encode()), (STAMP, bytes(row.token))):
        path = folder / name
        if not path.exists() or path.read_bytes() != data:
            files.replace(path, data)
