"""From an event on a unit, shipment or key bundle to its meters: who is reached, and the `custody.linked` entries.

Whom a cause reaches is written down in the transaction that records the cause (`Link` rows without `seq`); the
entries are appended afterwards by the job `custody.link_members`, some hundred meters a batch, oldest cause first. A
row gets its `seq` in the transaction that appends the entry, so the work can be stopped anywhere, run twice, or be
taken up by intake, which brings the meters of a new batch up to date before it judges it.
"""

import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial

from django.db import connection

from compliance.custody import bulk, facts, rows
from compliance.custody.facts import Statement
from compliance.custody.models import Cause, Identifier, KeyBundle, Link, Packing, Shipment
from compliance.custody.vocabulary import CORRECTED, LINKED
from compliance.evidence import storage
from compliance.evidence.errors import BlobDamaged, BlobMissing
from compliance.jobs import actions as jobs
from compliance.jobs.failpoints import reach
from compliance.ledger.append import unit_of_work
from compliance.ledger.platform_log import platform_batch
from compliance.proof import subject as subjects
from compliance.proof.errors import ProofError

logger = logging.getLogger(__name__)

JOB = "custody.link_members"
LINKER = {"service": "linker"}
METERS_A_BATCH = 400  # about a tenth of a second of append on two cores
MAX_DEPTH = 8  # cartons in layers in pallets in containers; deeper is a loop or a mistake
MAX_MEMBERS_BYTES = 20 * 1024 * 1024  # an evidence file is not larger
MAX_MEMBERS = 50_000  # meters of one key bundle; a factory ships a tenth of that at a time
MAX_REACH = 50_000  # links that one batch makes; 1,000 events on a unit of 1,000 meters would be a million
_AT_ONCE = 400  # names in one statement
_METER = "meter:"
_silent: ContextVar[bool] = ContextVar("_silent", default=False)
_LINK = ("cause_key", "cause_seq", "cause_recorded_at", "effect", "meter_key", "meter", "seq")


def expand(statement: Statement) -> int:
    """Write down the meters that `statement` reaches, as far as they are known here. Returns how many."""
    members = _members(statement)
    if statement.type == CORRECTED and not members:
        return 0
    key = statement.key
    Cause.objects.update_or_create(
        subject_key=key,
        seq=statement.seq,
        defaults={
            "subject": statement.subject,
            "hash": statement.hash,
            "effect": statement.type,
            "recorded_at": statement.recorded_at,
            "waiting": members is None,
        },
    )
    if not members:
        return 0
    _write_links(statement, members)
    ring()
    return len(members)


def ring() -> None:
    """See to it that the job runs after the transaction."""
    if not _silent.get():
        jobs.enqueue(JOB, {}, dedupe_key=JOB)


@contextmanager
def silence() -> Iterator[None]:
    """A replay of the log rings for nothing: what it writes down was done long ago."""
    token = _silent.set(True)
    try:
        yield
    finally:
        _silent.reset(token)


def place(statement: Statement) -> tuple[bytes, int]:
    """Key and seq of the cause that a link names."""
    cause = statement.data["cause"]
    return subjects.key_of(cause["subject"]), cause["seq"]


def mark_done(done: Sequence[bulk.Row]) -> None:
    """Note the entries of links: rows of (seq, cause key, cause seq, meter key)."""
    bulk.execute_many(
        "UPDATE custody_link SET seq = %s WHERE cause_key = %s AND cause_seq = %s AND meter_key = %s", done
    )


def is_behind() -> bool:
    """Whether any link is still to come."""
    return any(Link.objects.raw("SELECT id FROM custody_link WHERE seq IS NULL LIMIT 1"))


def catch_up(subjects_of_meters: Iterable[str]) -> None:
    """Append all links of these meters that are still to come, so that what follows is judged in the right order."""
    if is_behind():
        keys = [subjects.key_of(subject) for subject in subjects_of_meters]
        while append_links(meters=keys):
            pass


@unit_of_work()
def append_links(*, meters: Sequence[bytes] | None = None, limit: int = METERS_A_BATCH) -> int:
    """Append the next links, oldest cause first, of these meters or of all. Returns how many."""
    due = Link.objects.filter(seq=None).order_by("cause_recorded_at", "id")
    if meters is not None:
        due = due.filter(meter_key__in=meters)
    if connection.features.has_select_for_update:
        due = due.select_for_update()
    links = list(due[:limit])
    if not links:
        return 0
    causes = {
        (cause.subject_key, cause.seq): cause
        for cause in Cause.objects.filter(subject_key__in={link.cause_key for link in links})
    }
    reach("custody.links.append")
    with platform_batch(actor=LINKER) as log:
        for link in links:
            cause = causes[link.cause_key, link.cause_seq]
            log.record(
                link.meter,
                LINKED,
                {
                    "cause": {"subject": cause.subject, "seq": cause.seq, "hash": cause.hash.hex()},
                    "effect": link.effect,
                },
            )
    return len(links)


def resolve_waiting() -> int:
    """Look again for the members of bundles whose list had not arrived. Returns how many causes are known now.

    Each by itself: a list that nobody can read must not keep the links of others waiting.
    """
    resolved = 0
    for cause in list(Cause.objects.filter(waiting=True).order_by("recorded_at", "id")):
        try:
            resolved += _resolve(cause)
        except Exception:
            logger.exception(
                "the meters that %s/%s reaches cannot be told; the next are looked at", cause.subject, cause.seq
            )
    return resolved


@unit_of_work()
def _resolve(cause: Cause) -> bool:
    statement = facts.statements([(cause.subject, cause.seq)])[cause.subject, cause.seq]
    members = _members(statement, late=True)
    if members is None:
        return False
    _write_links(statement, members)
    Cause.objects.filter(pk=cause.pk).update(waiting=False)
    return True


def reached_by(subject: str, effect: str) -> list[str]:
    """Meters that the last event of type `effect` on `subject` reaches, whether linked yet or not."""
    key = subjects.key_of(subject)
    last = Link.objects.filter(cause_key=key, effect=effect).order_by("-cause_seq").values_list("cause_seq").first()
    if last is None:
        return []
    return list(Link.objects.filter(cause_key=key, cause_seq=last[0]).order_by("id").values_list("meter", flat=True))


def meters_in(units: Iterable[str], *, packed_before: Statement) -> list[str]:
    """Meters in the units as they were packed before that entry, units inside units included, each once."""
    found: dict[str, None] = {}
    level, seen = list(units), set[str]()
    for _ in range(MAX_DEPTH):
        level = [unit for unit in level if unit not in seen]
        if not level:
            break
        seen.update(level)
        contents = _contents(level, packed_before)
        children = [child for unit in level for child in contents.get(unit, ())]
        found.update(dict.fromkeys(child for child in children if child.startswith(_METER)))
        level = [child for child in children if not child.startswith(_METER)]
    return list(found)


def _write_links(statement: Statement, members: Sequence[str]) -> None:
    key = statement.key
    bulk.insert_missing(
        Link,
        _LINK,
        [
            (key, statement.seq, statement.recorded_at, statement.type, subjects.key_of(meter), meter, None)
            for meter in members
        ],
    )


def _members(statement: Statement, *, late: bool = False) -> list[str] | None:
    """Chains of the meters that an event reaches; None while the list is not here yet.

    With `late`, the event was recorded some time ago.
    """
    data = statement.data
    kind = statement.subject.partition(":")[0]
    if statement.type == CORRECTED:
        return _reached_by_hash(statement.subject, statement.event.get("corrects"))
    match kind, statement.type:
        case "logistic_unit", "delivery.packed":
            named = [child for child in data["children"] if child.startswith(_METER)]
            return list(dict.fromkeys(rows.chains_by_name(named).values()))
        case "logistic_unit", _:
            return meters_in([statement.subject], packed_before=statement)
        case "shipment", "delivery.dispatched":
            return meters_in(data["units"], packed_before=statement)
        case "shipment", "delivery.received":
            return _within(statement.subject, data["received_units"], statement)
        case "shipment", "delivery.inspected":
            return _inspected(statement)
        case "shipment", _:
            return reached_by(statement.subject, "delivery.dispatched")
        case "key_bundle", _:
            return _bundle_members(statement, late=late)
    return []


def _within(shipment: str, units: Sequence[str], statement: Statement) -> list[str]:
    """Dispatched meters that lie in `units`."""
    inside = set(meters_in(units, packed_before=statement))
    return [meter for meter in reached_by(shipment, "delivery.dispatched") if meter in inside]


def _inspected(statement: Statement) -> list[str]:
    """Meters that were received and are not missing."""
    missing = statement.data["missing"]
    gone = set(rows.chains_by_name(name for name in missing if name.startswith(_METER)).values())
    units = [name for name in missing if not name.startswith(_METER)]
    gone.update(meters_in(units, packed_before=statement))
    shipment = Shipment.objects.filter(subject_key=statement.key).first()
    arrived = (
        "delivery.received" if shipment is not None and shipment.received_seq is not None else "delivery.dispatched"
    )
    return [meter for meter in reached_by(statement.subject, arrived) if meter not in gone]


def _bundle_members(statement: Statement, *, late: bool) -> list[str] | None:
    bundle = KeyBundle.objects.filter(subject_key=statement.key).first()
    if bundle is None:
        return []
    if bundle.members is None:
        bundle.members = _listed(bundle.members_sha256)
        if bundle.members is None:
            return None
        bundle.save(update_fields=["members"])
    by_name = partial(_named_before, statement) if late else rows.chains_by_name
    chains = by_name(bundle.members)
    mismatched = set()
    if statement.type == "keys.bundle_acknowledged":
        listed = statement.data["mismatch_list"]
        mismatched = set(by_name(listed).values())
    members = dict.fromkeys(chains[name] for name in bundle.members if name in chains)
    return [meter for meter in members if meter not in mismatched]


def _named_before(statement: Statement, names: Sequence[str]) -> dict[str, str]:
    """Chains by the names that were known before `statement` was recorded: a replay has the list by then, and knows no
    others.
    """
    chains = rows.chains_by_name(names)
    known = list(chains)
    for first in range(0, len(known), _AT_ONCE):
        later = Identifier.objects.filter(
            alias__in=known[first : first + _AT_ONCE], single_valued=True, recorded_at__gte=statement.recorded_at
        )
        for alias in later.values_list("alias", flat=True):
            del chains[alias]
    return chains


def _listed(members_sha256: str) -> list[str] | None:
    """The meters in an evidence file: a JSON list of subject texts, or an object with that list as `meters`."""
    try:
        with storage.open_blob(members_sha256) as file:
            value = json.loads(file.read(MAX_MEMBERS_BYTES))
    except (BlobMissing, BlobDamaged):
        return None
    except (ValueError, RecursionError):  # anybody may have written it, and not for us
        return []
    listed = value.get("meters") if isinstance(value, dict) else value
    if not isinstance(listed, list) or len(listed) > MAX_MEMBERS:
        return []
    return [name for name in listed if isinstance(name, str) and _is_meter(name)]


def _is_meter(name: str) -> bool:
    try:
        return subjects.parse(name).kind == "meter"
    except ProofError:
        return False


def _reached_by_hash(subject: str, corrected: object) -> list[str]:
    """Meters that the corrected event had reached."""
    key = subjects.key_of(subject)
    cause = Cause.objects.filter(subject_key=key, hash=bytes.fromhex(str(corrected))).first()
    if cause is None:
        return []
    return list(Link.objects.filter(cause_key=key, cause_seq=cause.seq).order_by("id").values_list("meter", flat=True))


def _contents(units: Sequence[str], packed_before: Statement) -> dict[str, list[str]]:
    """What each unit held by its last packing that counts, before or at the moment of that entry."""
    keys = {subjects.key_of(unit) for unit in units}
    rows = Packing.objects.filter(unit_key__in=keys, recorded_at__lte=packed_before.recorded_at)
    return {packing.unit: packing.children for packing in rows.order_by("seq")}
