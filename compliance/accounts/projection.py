"""Organisation and SigningKey follow the log: appliers in the append transaction, and the same fold over the whole log.

The rows decide who may sign the next batch, so `manage.py fsck` folds the `org.*` and `role.*` chains anew and
compares.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from compliance.accounts import selectors
from compliance.accounts.key_lines import KEY_REGISTERED, KEY_REVOKED, REGISTERED, KeyLines
from compliance.accounts.models import Organisation, SigningKey
from compliance.ledger.append import AppendContext, AppendedEntry
from compliance.ledger.errors import Refused
from compliance.proof.times import parse_time


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
        apply(entry.event, recorded_at=entry.recorded_at)


def check_signers(context: AppendContext, entries: Sequence[AppendedEntry]) -> None:
    """The applier of everything: each signer must be valid at the very time that stands in the entries.

    A key may sign its own revocation, which then is all that it says at that time.
    """
    registered = selectors.signing_keys(context.signers)
    for keyid in context.signers:
        code = registered[keyid].why_not_valid(context.recorded_at) if keyid in registered else "key.unknown"
        if code and not (len(entries) == 1 and _revokes(entries[0].event, keyid)):
            raise Refused(code, f"{keyid} may not sign at {context.recorded_at.isoformat()}")


def apply(event: Mapping[str, Any], *, recorded_at: datetime) -> None:
    """Move the rows as `event`, recorded at that time, says. The rules were checked before it became an entry."""
    match event["type"]:
        case "org.registered":
            _register_organisation(event, recorded_at)
        case "org.key_registered":
            _register_key(event, recorded_at)
        case "org.key_revoked":
            _revoke_key(event, recorded_at)


FOLLOWED = (REGISTERED, KEY_REGISTERED, KEY_REVOKED)


def _register_organisation(event: Mapping[str, Any], recorded_at: datetime) -> None:
    data = event["data"]
    organisation_id = event["subject"].rpartition(":")[2]
    known = Organisation.objects.filter(pk=organisation_id).first() or Organisation(
        pk=organisation_id, registered_at=recorded_at
    )
    known.name, known.roles, known.first_key = data["name"], data["roles"], data["first_key"]
    if known.first_key not in known.first_keys:
        known.first_keys = [*known.first_keys, known.first_key]
    known.save()


def _register_key(event: Mapping[str, Any], recorded_at: datetime) -> None:
    data = event["data"]
    ((holder_kind, holder_id),) = data["holder"].items()
    organisation = Organisation.objects.get(pk=data["organisation"])
    SigningKey.objects.create(
        keyid=data["key"]["keyid"],
        organisation=organisation,
        holder_kind=holder_kind,
        holder_id=holder_id,
        algorithm=data["key"]["algorithm"],
        public_key=data["key"],
        valid_from=parse_time(data["valid_from"]),
        valid_until=parse_time(data["valid_until"]) if data["valid_until"] else None,
        registered_at=recorded_at,
        is_first=data["key"]["keyid"] in organisation.first_keys,
    )


def _revoke_key(event: Mapping[str, Any], recorded_at: datetime) -> None:
    data = event["data"]
    SigningKey.objects.filter(pk=event["subject"].removeprefix("signing_key:")).update(
        revoked_at=recorded_at,
        effective_at=parse_time(data["effective_at"]),
        reason_code=data["reason_code"],
        reason=data["reason"],
    )


def _revokes(event: Mapping[str, Any], keyid: str) -> bool:
    return event["type"] == KEY_REVOKED and event["subject"] == f"signing_key:{keyid}"
