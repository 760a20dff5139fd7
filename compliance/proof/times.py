"""Times as text: `YYYY-MM-DDThh:mm:ss(.d{1,6})?Z`, a real date, no leap second, compared as instants."""

import re
from datetime import UTC, datetime

from compliance.proof.errors import ProofError

_TIME = re.compile(
    r"(?:19[7-9][0-9]|[2-9][0-9]{3})-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"
    r"T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,6})?Z"
)
_OFFSET = re.compile(r"[+-](?:0[0-9]|1[0-3]):[0-5][0-9]|[+-]14:00")


def parse_time(text: object, *, place: str | None = None) -> datetime:
    """The instant `text` names, aware, in UTC. Raises ProofError `time.form`."""
    if type(text) is not str or _TIME.fullmatch(text) is None:
        raise ProofError("time.form", f"{str(text)[:60]!r} is no time like 2026-04-13T07:54:02.144170Z", place=place)
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise ProofError("time.form", f"{text} is no date of the calendar", place=place) from None


def parse_recorded_at(text: object, *, place: str | None = None) -> datetime:
    """As `parse_time`, for the platform's own times, which always have six digits."""
    moment = parse_time(text, place=place)
    if type(text) is not str or text[-8:-7] != "." or len(text) != len("2026-04-13T07:54:02.144170Z"):
        raise ProofError("time.form", f"{text} lacks the six digits of the platform's times", place=place)
    return moment


def format_time(moment: datetime) -> str:
    """`moment` with six digits and Z. It must be aware."""
    if moment.tzinfo is None:
        raise ProofError("time.form", "a time without zone")
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def format_posix(seconds: int) -> str:
    """The whole second `seconds` after the epoch, with Z. Raises ProofError `time.form` beyond the year 9999."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        raise ProofError("time.form", f"{seconds} seconds are beyond the year 9999") from None


def is_offset(text: object) -> bool:
    """Whether `text` is an offset from UTC like +05:45, at most 14:00."""
    return type(text) is str and _OFFSET.fullmatch(text) is not None
