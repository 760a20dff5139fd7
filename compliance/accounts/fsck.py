"""Are the tables of organisations, keys and roles what the log says? Part of `manage.py fsck`.

Whoever can write to the database could slip in a key, undo a revocation or make himself auditor; each shows here as a
row that no entry explains (threat T14).
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import orjson
from django.db import connection

from compliance.accounts import projection
from compliance.accounts.models import Membership, Organisation, SigningKey
from compliance.ledger import mirror
from compliance.ledger.fsck import Problem
from compliance.ledger.models import Entry
from compliance.proof.times import parse_time

CODE = "accounts.differs"
_MARKS = ('"type":"org.', '"type":"role.')  # in canonical bytes; a quote inside a text would be escaped


def compare() -> Iterator[Problem]:
    """What stands in the tables and not in the log, and the other way round. A mirror has no people, so no roles."""
    organisations, keys, roles = _folded()
    yield from _differences("organisation", organisations, Organisation.objects.values(), "id")
    yield from _differences("signing key", keys, SigningKey.objects.values(), "keyid")
    if not mirror.is_mirror():
        yield from _roles(roles)


def rebuild() -> None:
    """Make the rows of organisations and keys from the log, into empty tables: after an import."""
    organisations, keys, _ = _folded()
    Organisation.objects.bulk_create([Organisation(id=name, **row) for name, row in organisations.items()])
    SigningKey.objects.bulk_create([SigningKey(keyid=keyid, **row) for keyid, row in keys.items()])


def _folded() -> tuple[dict[str, projection.Row], dict[str, projection.Row], dict[str, str]]:
    organisations: dict[str, projection.Row] = {}
    keys: dict[str, projection.Row] = {}
    roles: dict[str, str] = {}
    for event, recorded_at in _statements():
        _fold(event, recorded_at, organisations, keys, roles)
    return organisations, keys, roles


def _statements() -> Iterator[tuple[Mapping[str, Any], datetime]]:
    """Events about organisations, keys and roles, in an order that keeps each chain's and puts registrations first."""
    found = []
    for mark in _MARKS:
        expression = "position(%s::bytea in body)" if connection.vendor == "postgresql" else "instr(body, %s)"
        for entry in Entry.objects.extra(where=[f"{expression} > 0"], params=[mark.encode()]):  # noqa: S610
            value = orjson.loads(bytes(entry.body))
            if value["event"]["type"].startswith(("org.", "role.")):
                found.append((parse_time(value["recorded_at"]), entry.batch, entry.index, value["event"]))
    for recorded_at, _, _, event in sorted(found, key=lambda item: item[:3]):
        yield event, recorded_at


def _fold(
    event: Mapping[str, Any],
    recorded_at: datetime,
    organisations: dict[str, projection.Row],
    keys: dict[str, projection.Row],
    roles: dict[str, str],
) -> None:
    name = event["subject"].rpartition(":")[2]
    match event["type"]:
        case "org.registered":
            organisations[name] = projection.organisation_after(organisations.get(name), event, recorded_at)
        case "org.key_registered":
            first_keys = organisations.get(event["data"]["organisation"], {}).get("first_keys", ())
            keys[f"sha256:{name}"] = projection.key_registered(event, recorded_at, first_keys)
        case "org.key_revoked":
            keys.setdefault(f"sha256:{name}", {}).update(projection.key_revoked(event, recorded_at))
        case "role.granted":
            roles[event["subject"]] = event["data"]["role"]
        case "role.revoked":
            roles.pop(event["subject"], None)


def _differences(
    what: str, expected: Mapping[str, projection.Row], standing: Any, primary_key: str
) -> Iterator[Problem]:
    rows = {row[primary_key]: row for row in standing}
    for name in sorted(rows.keys() | expected.keys()):
        if name not in expected:
            yield Problem(CODE, f"{what} {name}", "the table has a row that no entry of the log explains")
        elif name not in rows:
            yield Problem(CODE, f"{what} {name}", "the log has it, the table has not")
        else:
            wrong = [column for column, value in expected[name].items() if rows[name][column] != value]
            if wrong:
                yield Problem(CODE, f"{what} {name}", f"the log says otherwise in {', '.join(sorted(wrong))}")


def _roles(expected: Mapping[str, str]) -> Iterator[Problem]:
    standing = {membership.subject: membership.role for membership in Membership.objects.in_force()}
    for subject in sorted(standing.keys() | expected.keys()):
        if standing.get(subject) != expected.get(subject):
            detail = f"the table says {standing.get(subject, 'no role')}, the log {expected.get(subject, 'no role')}"
            yield Problem(CODE, f"role {subject}", detail)
