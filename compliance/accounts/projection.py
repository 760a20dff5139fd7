"""Organisation and SigningKey follow the log: appliers in the append transaction, and the same fold over the whole log.

The rows decide who may sign the next batch, so `manage.py fsck` folds the `org.*` and `role.*` chains anew and
compares.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from compliance.accounts import locks, selectors
from compliance.accounts.key_lines import KEY_REVOKED, KeyLines
from compliance.accounts.models import Organisation, SigningKey
from compliance.ledger.append import AppendContext, AppendedEntry
from compliance.ledger.errors import Refused
from compliance.proof.times import parse_time

Row = dict[str, Any]


def follow(context: AppendContext, entries: Sequence[AppendedEntry]) -> None:
    """The applier of `org.*`: judge each statement by the rules of key lines, then move the rows."""
    events = [entry.event for entry in entries]
    lines = KeyLines(
        issuer=context.issuer, author=context.author, signers=context.signers, events=events, at=context.recorded_at
    )
    problems = [
        Refused(problem.code, problem.detail, index=entry.index, pointer=problem.pointer)
        for entry in entries
        if (problem := lines.judge(entry.event))
    ]
    if problems:
        first = problems[0]
        raise Refused(first.code, first.detail, index=first.index, pointer=first.pointer, others=problems[1:])
    for entry in entries:
        _apply(entry.event, entry.recorded_at)


def check_signers(context: AppendContext, entries: Sequence[AppendedEntry]) -> None:
    """The applier of everything: each signer must be valid at the very time that stands in the entries.

    A key may sign its own revocation, which then is all that it says at that time.
    """
    registered = registered_signers(context)
    for keyid in context.signers:
        code = registered[keyid].why_not_valid(context.recorded_at) if keyid in registered else "key.unknown"
        if code and not (len(entries) == 1 and _revokes(entries[0].event, keyid)):
            raise Refused(code, f"{keyid} may not sign at {context.recorded_at.isoformat()}")


def registered_signers(context: AppendContext) -> dict[str, SigningKey]:
    """The rows of the keys that signed the batch, those that it registers itself included."""
    held: dict[str, SigningKey] = context.held.get(locks.HELD_KEYS, {})
    return held | selectors.signing_keys(keyid for keyid in context.signers if keyid not in held)


def organisation_after(known: Mapping[str, Any] | None, event: Mapping[str, Any], recorded_at: datetime) -> Row:
    """The row of an organisation after org.registered; `known` is the row before, None if there was none."""
    data = event["data"]
    before: list[str] = list(known["first_keys"]) if known else []
    return {
        "name": data["name"],
        "roles": data["roles"],
        "first_key": data["first_key"],
        "first_keys": before if data["first_key"] in before else [*before, data["first_key"]],
        "registered_at": known["registered_at"] if known else recorded_at,
    }


def key_registered(event: Mapping[str, Any], recorded_at: datetime, first_keys: Sequence[str]) -> Row:
    """The row of a key after org.key_registered."""
    data = event["data"]
    ((holder_kind, holder_id),) = data["holder"].items()
    return {
        "organisation_id": data["organisation"],
        "holder_kind": holder_kind,
        "holder_id": holder_id,
        "algorithm": data["key"]["algorithm"],
        "public_key": data["key"],
        "valid_from": parse_time(data["valid_from"]),
        "valid_until": parse_time(data["valid_until"]) if data["valid_until"] else None,
        "registered_at": recorded_at,
        "is_first": data["key"]["keyid"] in first_keys,
        "revoked_at": None,
        "effective_at": None,
        "reason_code": "",
        "reason": "",
    }


def key_revoked(event: Mapping[str, Any], recorded_at: datetime) -> Row:
    """What org.key_revoked changes in the row of a key."""
    data = event["data"]
    return {
        "revoked_at": recorded_at,
        "effective_at": parse_time(data["effective_at"]),
        "reason_code": data["reason_code"],
        "reason": data["reason"],
    }


def _apply(event: Mapping[str, Any], recorded_at: datetime) -> None:
    name = event["subject"].rpartition(":")[2]
    match event["type"]:
        case "org.registered":
            known = Organisation.objects.filter(pk=name).values().first()
            row = organisation_after(known, event, recorded_at)
            Organisation.objects.update_or_create(pk=name, defaults=row)
        case "org.key_registered":
            first_keys = Organisation.objects.get(pk=event["data"]["organisation"]).first_keys
            keyid = event["data"]["key"]["keyid"]
            SigningKey.objects.create(keyid=keyid, **key_registered(event, recorded_at, first_keys))
        case "org.key_revoked":
            keyid = event["subject"].removeprefix("signing_key:")
            SigningKey.objects.filter(pk=keyid).update(**key_revoked(event, recorded_at))


def _revokes(event: Mapping[str, Any], keyid: str) -> bool:
    return event["type"] == KEY_REVOKED and event["subject"] == f"signing_key:{keyid}"
