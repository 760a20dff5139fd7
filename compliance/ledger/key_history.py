"""Which keys the log has had, as its own chain says: without asking for a private one, so that a mirror knows too."""

from typing import Final

import orjson
from django.conf import settings
from django.db import connection

from compliance.ledger.errors import LedgerError, NoLog
from compliance.proof import subject as subjects
from compliance.proof.errors import ProofError
from compliance.proof.keys import PublicKey
from compliance.proof.log_keys import LogKeys, Statement

_CHAIN: Final = (
    "SELECT e.body, r.first_index + "
    '(SELECT count(*) FROM ledger_entry o WHERE o.batch = e.batch AND o."index" < e."index") '
    "FROM ledger_entry e LEFT JOIN ledger_leaf_range r ON r.batch = e.batch WHERE e.subject = %s ORDER BY e.seq"
)


def read() -> LogKeys:
    """The keys of this log. Raises NoLog, and LedgerError when its chain cannot be understood."""
    origin = settings.METERPROOF["ORIGIN"]
    with connection.cursor() as cursor:
        cursor.execute(_CHAIN, [subjects.key_of(subjects.log(origin))])
        rows = cursor.fetchall()
    if not rows:
        raise NoLog
    try:
        return LogKeys(_statement(bytes(body), leaf) for body, leaf in rows)
    except (ProofError, KeyError, ValueError) as error:
        raise LedgerError(f"The entries about the log's own keys cannot be understood: {error}") from error


def platform_key(history: LogKeys) -> PublicKey:
    """The platform's first key, which relying parties pin: it vouches for those that came after it."""
    with connection.cursor() as cursor:
        subject = subjects.key_of(subjects.signing_key(history.platform_key))
        cursor.execute("SELECT body FROM ledger_entry WHERE subject = %s AND seq = 0", [subject])
        row = cursor.fetchone()
    if row is None:
        raise LedgerError(f"The registration of the platform's key {history.platform_key} is missing.")
    return PublicKey.from_object(orjson.loads(bytes(row[0]))["event"]["data"]["key"])


def _statement(body: bytes, leaf: int | None) -> Statement:
    entry = orjson.loads(body)
    return Statement(leaf, entry["event"]["type"], entry["event"]["data"], entry["recorded_at"])
