"""Holding keys while something is recorded under them, so that a revocation takes effect at once.

An append holds its signing keys and the API key it came with in share mode until it commits; a revocation needs them
alone. So a revocation waits for the appends that began before it, gets a later time than they, and none begins after
it. SQLite has one writer at a time, which amounts to the same.
"""

from datetime import datetime
from typing import Any

from django.db import connection

from compliance.accounts.key_lines import KEY_REGISTERED, KEY_REVOKED
from compliance.accounts.models import ApiKey, SigningKey
from compliance.jobs import clock
from compliance.ledger.append import IncomingBatch
from compliance.ledger.errors import Refused

HELD_KEYS = "accounts.signing_keys"


def hold_signing_keys(batch: IncomingBatch, _begins: bool, held: dict[str, Any]) -> datetime | None:
    """The ledger's lock hook: hold the keys that signed `batch`, and alone those that it revokes.

    Puts the rows of the signers that stay as they are, by key id, into `held` under `HELD_KEYS`. Returns the latest
    registration among them, which the batch must be recorded after. Raises Refused for a key that is not
    registered, nor registered by the batch itself. Validity is judged at the recorded time, by
    `projection.check_signers`.
    """
    revoked = {
        event.value["subject"].removeprefix("signing_key:")
        for event in batch.events
        if event.value["type"] == KEY_REVOKED
    }
    new = {event.value["data"]["key"]["keyid"] for event in batch.events if event.value["type"] == KEY_REGISTERED}
    registered: dict[str, SigningKey] = {}
    for keyid in sorted({*batch.signers, *revoked}):  # one order for everybody: no two batches wait for each other
        key = _hold(keyid, alone=keyid in revoked)
        if key is not None:
            registered[keyid] = key
        elif keyid in batch.signers and keyid not in new:
            raise Refused("key.unknown", f"{keyid} is not registered here")
    held[HELD_KEYS] = {keyid: key for keyid, key in registered.items() if keyid not in revoked}
    return max((key.registered_at for key in registered.values()), default=None)


def hold_api_key(key: ApiKey) -> None:
    """Hold the API key a batch came with, in the transaction of its append. Raises Refused if it was revoked or
    ended."""
    lock = " FOR SHARE" if connection.vendor == "postgresql" else ""
    statement = f"SELECT id, revoked_at, expires_at FROM accounts_apikey WHERE id = %s{lock}"  # noqa: S608
    keys = ApiKey.objects.raw(statement, [key.pk])
    now = clock.now()
    if not any(each.is_alive(now) for each in keys):
        raise Refused("credential.revoked", "the API key was revoked or ended before the batch was recorded")


def _hold(keyid: str, *, alone: bool) -> SigningKey | None:
    lock = (" FOR UPDATE" if alone else " FOR SHARE") if connection.vendor == "postgresql" else ""
    statement = f"SELECT * FROM accounts_signingkey WHERE keyid = %s{lock}"  # noqa: S608
    return next(iter(SigningKey.objects.raw(statement, [keyid])), None)
