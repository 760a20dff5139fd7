"""The applier of provisioning: index tables of sessions, visits, firmware, keys and seals, in the append transaction.

It runs after custody's and indexes what is stated, whether or not the statement was in order: a duplicate key or seal
must be found also where it came with a violation. Only an entry that its author declared not to have occurred is
taken out again.
"""

from collections.abc import Callable, Sequence
from typing import Any

from compliance.custody import bulk
from compliance.custody.facts import Statement, chain
from compliance.custody.lifecycle import DID_NOT_OCCUR
from compliance.custody.models import Violation
from compliance.custody.projection import statements_of
from compliance.custody.vocabulary import CORRECTED
from compliance.ledger.append import AppendContext, AppendedEntry
from compliance.proof import subject as subjects
from compliance.provisioning.models import CellSession, CellVisit, FirmwareRelease, KeyRegistryEntry, SealNumber

_VISIT = ("session_key", "meter_key", "meter", "seq", "event_type", "outcome", "recorded_at")
_KEY = (
    "subject_key",
    "subject",
    "seq",
    "ordinal",
    "role",
    "generation",
    "shared",
    "registry_tag",
    "public_key_sha256",
    "commitment",
    "replaces",
    "organisation",
    "recorded_at",
)
_SEAL = (
    "subject_key",
    "subject",
    "seq",
    "ordinal",
    "number",
    "point",
    "kind",
    "roll",
    "organisation",
    "event_type",
    "recorded_at",
)
_COUNTS = (
    "entered",
    "exited",
    "reworked",
    "scrapped",
    "still_inside",
    "keys_generated",
    "keys_bound",
    "keys_destroyed",
    "seals_issued",
    "seals_applied",
    "seals_voided",
    "seals_returned",
    "difference_reason",
)
_MAX_TEXT = 200


def apply(context: AppendContext, entries: Sequence[AppendedEntry]) -> None:
    """Index the entries of a batch that is being appended."""
    apply_statements(statements_of(context, entries))


def apply_statements(told: Sequence[Statement]) -> None:
    """Index entries of one batch, in order."""
    rows = _Rows()
    for statement in told:
        if statement.type == CORRECTED:
            rows.write()
            _forget(statement)
        else:
            _index(statement, rows)
    rows.write()


class _Rows:
    """Rows to insert, and keys that were destroyed."""

    def __init__(self) -> None:
        self.visits: list[bulk.Row] = []
        self.keys: list[bulk.Row] = []
        self.seals: list[bulk.Row] = []

    def write(self) -> None:
        """Insert what was collected."""
        bulk.insert(CellVisit, _VISIT, self.visits)
        bulk.insert(KeyRegistryEntry, _KEY, self.keys)
        bulk.insert(SealNumber, _SEAL, self.seals)
        self.__init__()  # type: ignore[misc]


def _index(statement: Statement, rows: _Rows) -> None:
    data, code = statement.data, statement.type
    if code in _VISITS and data.get("session_id"):
        rows.visits.append(_visit(statement, data["session_id"]))
    if code in _KEYS:
        rows.keys += _keys(statement)
    if code in _SEALS:
        rows.seals += _seals(statement, _SEALS[code])
    if code in _DESTROYED and _DESTROYED[code](data):
        rows.write()
        KeyRegistryEntry.objects.filter(subject_key=statement.key, destroyed_seq=None, seq__lt=statement.seq).update(
            destroyed_seq=statement.seq, destroyed_at=statement.recorded_at
        )
    handler = _HANDLERS.get(code)
    if handler is not None:
        handler(statement)


def _visit(statement: Statement, session: str) -> bulk.Row:
    outcome = str(statement.data.get("outcome", ""))[:16]
    return (
        subjects.key_of(session),
        statement.key,
        statement.subject,
        statement.seq,
        statement.type,
        outcome,
        statement.recorded_at,
    )


def _keys(statement: Statement) -> list[bulk.Row]:
    key = statement.key
    return [
        (
            key,
            statement.subject,
            statement.seq,
            ordinal,
            item["role"][:_MAX_TEXT],
            item.get("generation"),
            bool(item.get("shared")),
            item.get("registry_tag") or "",
            item.get("public_key_sha256") or "",
            item.get("commitment") or "",
            item.get("replaces") or "",
            statement.author,
            statement.recorded_at,
        )
        for ordinal, item in enumerate(statement.data["keys"])
    ]


def _seals(statement: Statement, member: str) -> list[bulk.Row]:
    key = statement.key
    return [
        (
            key,
            statement.subject,
            statement.seq,
            ordinal,
            item["number"],
            item["point"][:_MAX_TEXT],
            item["kind"][:_MAX_TEXT],
            item["batch"],
            statement.author,
            statement.type,
            statement.recorded_at,
        )
        for ordinal, item in enumerate(statement.data[member])
        if {"number", "point", "kind", "batch"} <= item.keys()
    ]


def _opened(statement: Statement) -> None:
    data = statement.data
    _session(
        statement,
        opened_seq=statement.seq,
        opened_at=statement.recorded_at,
        opened_occurred_at=statement.event["occurred_at"],
        **{
            name: data[name]
            for name in ("cell_id", "session_id", "production_order", "planned_quantity", "operators", "hsm_id")
        },
    )


def _reconciled(statement: Statement) -> None:
    _session(
        statement,
        reconciled_seq=statement.seq,
        reconciled_at=statement.recorded_at,
        reconciled_occurred_at=statement.event["occurred_at"],
        counts={name: statement.data[name] for name in _COUNTS},
    )


def _session(statement: Statement, **values: Any) -> None:
    CellSession.objects.update_or_create(
        subject_key=statement.key,
        defaults={"subject": statement.subject, **values},
        create_defaults={"subject": statement.subject, "organisation": statement.author, **values},
    )


def _released(statement: Statement) -> None:
    data = statement.data
    FirmwareRelease.objects.update_or_create(
        subject_key=statement.key,
        seq=statement.seq,
        defaults={
            "subject": statement.subject,
            "organisation": statement.author,
            "version": data["version"][:_MAX_TEXT],
            "image_sha256": data["image_sha256"],
            "status": data["status"],
            "target_types": data["target_types"],
            "occurred_at": statement.event["occurred_at"],
            "recorded_at": statement.recorded_at,
        },
    )


def _forget(correction: Statement) -> None:
    """Take out what a valid correction declares not to have occurred, and index the rest of that chain anew."""
    key = subjects.key_of(correction.subject)
    refused = Violation.objects.filter(subject_key=key, seq=correction.seq).exists()
    if refused or correction.data.get("reason") != DID_NOT_OCCUR:
        return
    told = chain(correction.subject, to_seq=correction.seq)
    invalid = set(Violation.objects.filter(subject_key=key, event_type=CORRECTED).values_list("seq", flat=True))
    voided = {
        statement.event.get("corrects")
        for statement in told
        if statement.type == CORRECTED
        and statement.seq not in invalid
        and statement.data.get("reason") == DID_NOT_OCCUR
    }
    CellVisit.objects.filter(meter_key=key).delete()
    for model in (CellSession, FirmwareRelease, KeyRegistryEntry, SealNumber):
        model.objects.filter(subject_key=key).delete()
    rows = _Rows()
    for statement in told:
        if statement.type != CORRECTED and statement.hash.hex() not in voided:
            _index(statement, rows)
    rows.write()


_VISITS = frozenset({"cell.entered", "cell.exited", "mfg.rejected"})
_KEYS = frozenset({"cell.keys_provisioned", "keys.rotated"})
_SEALS = {"cell.sealed": "seals", "install.installed": "seals_applied"}
_DESTROYED: dict[str, Callable[[Any], bool]] = {
    "mfg.rejected": lambda data: data.get("keys_destroyed") is True,
    "eol.sanitised": lambda data: data.get("keys_erased") is True,
    "exception.released": lambda data: data.get("decision") == "scrapped",
}
_HANDLERS: dict[str, Callable[[Statement], None]] = {
    "cell.session_opened": _opened,
    "cell.session_reconciled": _reconciled,
    "design.firmware_released": _released,
}
