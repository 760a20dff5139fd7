"""Holding keys while something is recorded under them, so that a revocation takes effect at once.

An append holds its signing keys and the API key it came with in share mode until it commits; a revocation needs them
alone. So a revocation waits for the appends that began before it, gets a later time than they, and none begins after
it. SQLite has one writer at a time, which amounts to the same.
"""

from collections.abc import Sequence
from datetime import datetime

from django.db import connection

from compliance.accounts.key_lines import KEY_REGISTERED, KEY_REVOKED
from compliance.accounts.models import ApiKey, SigningKey
from compliance.jobs import clock
from compliance.ledger.append import IncomingBatch
from compliance.ledger.errors import Refused


def hold_signing_keys(batch: IncomingBatch) -> datetime | None:
    """The ledger's lock hook: hold the keys that signed `batch`, and alone those that it revokes.

    Returns the latest registration among them, which the batch must not be recorded before. Raises Refused for a key
    that is not registered, nor registered by the batch itself. Validity is judged at the recorded time, by
    `projection.check_signers`.
    """
    revoked = {
        event.value["subject"].removeprefix("signing_key:")
        for event in batch.events
        if event.value["type"] == KEY_REVOKED
    }
    new = {event.value["data"]["key"]["keyid"] for event in batch.events if event.value["type"] == KEY_REGISTERED}
    held: list[datetime] = []
    for keyid in sorted({*batch.signers, *revoked}):  # one order for everybody: no two batches wait for each other
        registered_at = _hold(keyid, alone=keyid in revoked)
        if registered_at is not None:
            held.append(registered_at)
        elif keyid in batch.signers and keyid not in new:
            raise Refused("key.unknown", f"{keyid} is not registered here")
    return max(held, default=None)


def hold_api_key(key: ApiKey) -> None:
    """Hold the API key a batch came with, in the transaction of its append. Raises Refused if it was revoked or
    ended."""
    lock = " FOR SHARE" if connection.vendor == "postgresql" else ""
    statement = f"SELECT id, revoked_at, expires_at FROM accounts_apikey WHERE id = %s{lock}"  # noqa: S608
    keys = ApiKey.objects.raw(statement, [key.pk])
    now = clock.now()
    if not any(each.is_alive(now) for each in keys):
        raise Refused("credential.revoked", "the API key was revoked or ended before the batch was recorded")


def _hold(keyid: str, *, alone: bool) -> datetime | None:
    if connection.vendor != "postgresql":
        return SigningKey.objects.filter(pk=keyid).values_list("registered_at", flat=True).first()
    mode = "FOR UPDATE" if alone else "FOR SHARE"
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT registered_at FROM accounts_signingkey WHERE keyid = %s {mode}", [keyid])  # noqa: S608
        row: Sequence[datetime] | None = cursor.fetchone()
    return row[0] if row else None
