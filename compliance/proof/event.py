"""Events: what a sender states about one subject. Members, limits, and the data of the types every verifier reads.

Format: `docs/formats/README.md`. What an event of the custody vocabulary means is not judged here: an illegal step is
recorded and flagged by the platform, never refused.
"""

import re
from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any, Final, NoReturn

from compliance.proof import identifiers, subject
from compliance.proof.canonical import MAX_EVENT_BYTES
from compliance.proof.checkpoint import is_origin
from compliance.proof.errors import ProofError
from compliance.proof.keys import PublicKey, is_keyid
from compliance.proof.note import TYPE_ED25519, NoteVerifier
from compliance.proof.shapes import is_event_id, is_event_type, is_hash, is_id, is_integer
from compliance.proof.times import is_offset, parse_time

__all__ = ["MAX_EVENT_BYTES", "PLATFORM_TYPES", "check_event", "is_platform_type", "required_signers"]

_ORDER: Final = ("v", "id", "type", "schema", "subject", "occurred_at", "actor", "data")
REQUIRED: Final = frozenset(_ORDER)
OPTIONAL: Final = frozenset(
    ("occurred_offset", "second_actor", "device", "location", "evidence", "corrects", "prev_hint")
)
MEMBERS: Final = REQUIRED | OPTIONAL
_FILE: Final = frozenset(("sha256", "size", "media_type", "name"))
ACTOR_KINDS: Final = ("person", "station", "service")
MAX_SCHEMA: Final = 999
MAX_EVIDENCE_FILES: Final = 50  # as many as a person can look through; more belong into one manifest
MAX_FILE_NAME_BYTES: Final = 255  # the limit of every file system it may be saved to

PLATFORM_TYPES: Final = frozenset(("org.registered", "custody.linked", "entry.redacted"))
PLATFORM_PREFIXES: Final = ("log.", "role.", "evidence.", "check.", "report.", "engagement.", "finding.", "audit.")
KEY_REGISTERED: Final = "org.key_registered"
KEY_REVOKED: Final = "org.key_revoked"
REVOCATION_REASONS: Final = ("superseded", "ceased", "lost", "compromised", "unspecified")
NEVER_REDACTED: Final = ("organisation", "signing_key", "log")

# Version 2 of the custody vocabulary: types that ask for two signers.
TWO_PEOPLE: Final = frozenset(
    (
        "design.firmware_released",
        "cell.session_opened",
        "cell.keys_provisioned",
        "cell.exited",
        "cell.session_reconciled",
        "keys.bundle_released",
        "keys.bundle_revoked",
        "eol.sanitised",
        "exception.released",
    )
)
TWO_ORGANISATIONS: Final = frozenset(("ownership.transferred",))
SCRAPPED: Final = ("mfg.rejected", "scrap")  # two people only if the outcome is scrap

_required = itemgetter(*_ORDER)
_media_type = re.compile(r"[a-z0-9.+-]+/[a-z0-9.+-]+").fullmatch
_role = re.compile(r"[a-z][a-z0-9_]{0,63}").fullmatch
_note_keyid = re.compile(r"[0-9a-f]{8}").fullmatch
_gln = re.compile(r"[0-9]{13}").fullmatch


def is_platform_type(code: str) -> bool:
    """Whether only the platform may send events of this type (org.key_* come from organisations)."""
    return code in PLATFORM_TYPES or code.startswith(PLATFORM_PREFIXES)


def required_signers(event: Mapping[str, Any]) -> str | None:
    """`two_people` or `two_organisations` if the event's type asks for a second signer, else None."""
    code = event["type"]
    if code in TWO_PEOPLE or (code == SCRAPPED[0] and event["data"].get("outcome") == SCRAPPED[1]):
        return "two_people"
    return "two_organisations" if code in TWO_ORGANISATIONS else None


def check_authority(event: Mapping[str, Any], author: str, *, place: str | None = None) -> None:
    """Raise ProofError `event.authority` if `author` may not send this type, whatever the life cycle says.

    Who may revoke a key needs the key's registration and is checked with the key lines.
    """
    code = event["type"]
    if is_platform_type(code) and author != subject.PLATFORM:
        _refuse("event.authority", f"{code} comes from the platform, not from {author}", "/type", place)
    if code == KEY_REGISTERED and event["data"]["organisation"] != author:
        _refuse("event.authority", f"a key of {event['data']['organisation']} registered by {author}", "/type", place)


def check_event(value: Mapping[str, Any], *, place: str | None = None) -> None:
    """Raise ProofError unless `value`, read strictly before, is an event; its `pointer` names the member.

    Codes: `event.member`, `event.value`, `event.data`, `time.form`, `subject.form`, `key.form`.
    """
    try:
        version, event_id, code, schema, about, occurred_at, actor, data = _required(value)
    except KeyError:
        _refuse_members(value, place)
    if not MEMBERS.issuperset(value):
        _refuse_members(value, place)
    if version != 1 or type(version) is not int:
        _refuse("event.value", "v is 1", "/v", place)
    if not is_event_id(event_id):
        _refuse("event.value", "id is 1-64 of A-Z a-z 0-9 . _ : -, the first a letter or digit", "/id", place)
    if not is_event_type(code):
        _refuse("event.value", "type is a code like mfg.assembled", "/type", place)
    if not is_integer(schema, 1, MAX_SCHEMA):
        _refuse("event.value", f"schema is 1 to {MAX_SCHEMA}", "/schema", place)
    pointer = "/subject"
    try:
        subject.parse(about)
        pointer = "/occurred_at"
        parse_time(occurred_at)
    except ProofError as error:
        error.pointer = pointer
        raise (error.within(place) if place else error) from None
    _check_actor(actor, "/actor", place)
    if type(data) is not dict:
        _refuse("event.value", "data is an object", "/data", place)
    if "identifiers" in data:
        _check_identifiers(data["identifiers"], place)
    if len(value) > len(REQUIRED):
        _check_optional(value, place)
    reader = DATA.get(code)
    if reader is not None:
        _check_data(reader, value, place)


def _refuse_members(value: Mapping[str, Any], place: str | None) -> NoReturn:
    missing, unknown = sorted(REQUIRED - value.keys()), sorted(value.keys() - MEMBERS)
    what = [f"{name} is missing" for name in missing] + [f"{name[:64]} is unknown" for name in unknown]
    _refuse("event.member", "; ".join(what), f"/{unknown[0]}" if unknown else "", place)


def _refuse(code: str, detail: str, pointer: str, place: str | None) -> NoReturn:
    raise ProofError(code, detail, place=place, pointer=pointer)


def _is_actor(value: object) -> bool:
    if type(value) is not dict or len(value) != 1:
        return False
    ((kind, name),) = value.items()
    return kind in ACTOR_KINDS and is_id(name)


def _check_actor(value: object, pointer: str, place: str | None) -> None:
    if not _is_actor(value):
        _refuse("event.value", "an actor is exactly one of person, station, service, with an id", pointer, place)


def _check_identifiers(value: object, place: str | None) -> None:
    if type(value) is not list:
        _refuse("event.data", "identifiers is a list", "/data/identifiers", place)
    for position, item in enumerate(value):
        pointer = f"/data/identifiers/{position}"
        if type(item) is not dict or len(item) != 2 or "scheme" not in item or "value" not in item:
            _refuse("event.data", "an identifier has scheme and value", pointer, place)
        scheme, text = item["scheme"], item["value"]
        if type(scheme) is not str or type(text) is not str or not subject.is_scheme(scheme) or not text:
            _refuse("event.data", "scheme and value of an identifier are text", pointer, place)
        if len(text) > identifiers.MAX_VALUE_CHARACTERS:
            _refuse("event.data", f"an identifier over {identifiers.MAX_VALUE_CHARACTERS} characters", pointer, place)
        try:
            identifiers.check(scheme, text, place=place)
        except ProofError as error:
            error.pointer = f"{pointer}/value"
            raise


def _check_optional(value: Mapping[str, Any], place: str | None) -> None:
    if "occurred_offset" in value and not is_offset(value["occurred_offset"]):
        _refuse("event.value", "occurred_offset is like +05:45, at most 14:00", "/occurred_offset", place)
    if "second_actor" in value:
        _check_actor(value["second_actor"], "/second_actor", place)
    if "device" in value:
        device = value["device"]
        if (
            type(device) is not dict
            or device.keys() != {"kind", "id"}
            or not all(is_id(text) for text in device.values())
        ):
            _refuse("event.value", "device has kind and id, both ids", "/device", place)
    if "location" in value:
        _check_location(value["location"], place)
    if "evidence" in value:
        _check_evidence(value["evidence"], place)
    if "corrects" in value and not is_hash(value["corrects"]):
        _refuse("event.value", "corrects is the leaf hash of an entry", "/corrects", place)
    if "prev_hint" in value and value["prev_hint"] is not None and not is_hash(value["prev_hint"]):
        _refuse("event.value", "prev_hint is the leaf hash of the chain's head, or null", "/prev_hint", place)


def _check_location(location: object, place: str | None) -> None:
    if type(location) is dict and len(location) == 1:
        if is_id(location.get("site")):
            return
        gln = location.get("gln")
        if type(gln) is str and _gln(gln) and identifiers.gs1_mod10(gln):
            return
    _refuse("event.value", "location has a site (id) or a gln (13 digits, check digit right)", "/location", place)


def _check_evidence(files: object, place: str | None) -> None:
    if type(files) is not list or not 1 <= len(files) <= MAX_EVIDENCE_FILES:
        _refuse("event.value", f"evidence is a list of 1 to {MAX_EVIDENCE_FILES} files", "/evidence", place)
    for position, file in enumerate(files):
        pointer = f"/evidence/{position}"
        if type(file) is not dict or len(file) != len(_FILE) or not _FILE.issuperset(file):
            _refuse("event.value", "a file has sha256, size, media_type and name", pointer, place)
        if not is_hash(file["sha256"]):
            _refuse("event.value", "sha256 is 64 lower-case hex digits", f"{pointer}/sha256", place)
        if not is_integer(file["size"]):
            _refuse("event.value", "size is the number of bytes", f"{pointer}/size", place)
        if type(file["media_type"]) is not str or _media_type(file["media_type"]) is None:
            _refuse(
                "event.value", "media_type is like application/pdf, without parameters", f"{pointer}/media_type", place
            )
        name = file["name"]
        if type(name) is not str or not name or len(name.encode()) > MAX_FILE_NAME_BYTES:
            _refuse("event.value", f"name is 1 to {MAX_FILE_NAME_BYTES} bytes", f"{pointer}/name", place)


# The data of the types every verifier reads. Each function raises ProofError, or returns what is wrong in words.


def _check_data(
    reader: Callable[[Mapping[str, Any], str], str | None], value: Mapping[str, Any], place: str | None
) -> None:
    try:
        wrong = reader(value["data"], value["subject"])
    except ProofError as error:
        error.pointer = "/data"
        raise (error.within(place) if place else error) from None
    if wrong:
        _refuse("event.data", f"{value['type']}: {wrong}", "/data", place)


def _log_created(data: Mapping[str, Any], subject_text: str) -> str | None:
    if data.keys() != {"origin", "log_key", "receipt_key", "platform_key", "vocabulary_sha256"}:
        return "data has origin, log_key, receipt_key, platform_key and vocabulary_sha256"
    origin = data["origin"]
    if not is_origin(origin) or subject_text != subject.log(origin):
        return "the origin is that of the subject"
    if not _is_log_vkey(data["log_key"]) or NoteVerifier.from_vkey(data["log_key"]).name != origin:
        return "log_key is the verifier key of the origin"
    PublicKey.from_object(data["receipt_key"])
    if not is_keyid(data["platform_key"]):
        return "platform_key is a key id"
    return None if is_hash(data["vocabulary_sha256"]) else "vocabulary_sha256 is 64 hex digits"


def _log_key_added(data: Mapping[str, Any], subject_text: str) -> str | None:
    if data.keys() != {"use", "key"} or data["use"] not in ("log", "receipt") or not _is_of(subject_text, "log"):
        return "data has use (log or receipt) and key, the subject is the log"
    if data["use"] == "receipt":
        PublicKey.from_object(data["key"])
        return None
    return None if _is_log_vkey(data["key"]) else "a log's key is a verifier key line"


def _log_key_revoked(data: Mapping[str, Any], subject_text: str) -> str | None:
    if data.keys() != {"use", "keyid", "effective_at", "reason"} or not _is_of(subject_text, "log"):
        return "data has use, keyid, effective_at and reason, the subject is the log"
    parse_time(data["effective_at"])
    if type(data["reason"]) is not str:
        return "reason is text"
    if data["use"] == "log":
        right = type(data["keyid"]) is str and _note_keyid(data["keyid"]) is not None
        return None if right else "keyid of a log key is 8 hex digits"
    return None if data["use"] == "receipt" and is_keyid(data["keyid"]) else "use is log or receipt, keyid its id"


def _org_registered(data: Mapping[str, Any], subject_text: str) -> str | None:
    if data.keys() != {"name", "roles", "first_key"} or not _is_of(subject_text, "organisation"):
        return "data has name, roles and first_key, the subject is an organisation"
    if type(data["name"]) is not str or not data["name"]:
        return "name is text"
    roles = data["roles"]
    if (
        type(roles) is not list
        or not all(type(role) is str and _role(role) for role in roles)
        or roles != sorted(set(roles))
    ):
        return "roles is a sorted list, none twice"
    return None if is_keyid(data["first_key"]) else "first_key is a key id"


def _key_registered(data: Mapping[str, Any], subject_text: str) -> str | None:
    if data.keys() != {"organisation", "holder", "key", "valid_from", "valid_until"}:
        return "data has organisation, holder, key, valid_from and valid_until"
    if not subject.is_organisation_id(data["organisation"]):
        return "organisation is an organisation id"
    if not _is_actor(data["holder"]):
        return "holder is exactly one of person, station, service, with an id"
    if subject_text != subject.signing_key(PublicKey.from_object(data["key"]).keyid):
        return "the key is that of the subject"
    parse_time(data["valid_from"])
    if data["valid_until"] is not None:
        parse_time(data["valid_until"])
    return None


def _key_revoked(data: Mapping[str, Any], subject_text: str) -> str | None:
    if data.keys() != {"effective_at", "reason_code", "reason"} or not _is_of(subject_text, "signing_key"):
        return "data has effective_at, reason_code and reason, the subject is a signing key"
    parse_time(data["effective_at"])
    if data["reason_code"] not in REVOCATION_REASONS:
        return f"reason_code is one of {', '.join(REVOCATION_REASONS)}"
    return None if type(data["reason"]) is str else "reason is text"


def _linked(data: Mapping[str, Any], subject_text: str) -> str | None:
    if data.keys() != {"cause", "effect"} or not _is_of(subject_text, "meter"):
        return "data has cause and effect, the subject is a meter"
    cause = data["cause"]
    if type(cause) is not dict or cause.keys() != {"subject", "seq", "hash"}:
        return "cause has subject, seq and hash"
    subject.parse(cause["subject"])
    if not is_integer(cause["seq"]) or not is_hash(cause["hash"]):
        return "seq and hash of the cause"
    return None if is_event_type(data["effect"]) else "effect is the type of the cause"


def _redacted(data: Mapping[str, Any], subject_text: str) -> str | None:
    if data.keys() != {"subject", "seq", "hash", "leaf", "authority", "reason"} or not _is_of(subject_text, "log"):
        return "data has subject, seq, hash, leaf, authority and reason, the subject is the log"
    if subject.parse(data["subject"]).kind in NEVER_REDACTED:
        return "entries of organisations, signing keys and the log are never redacted"
    if not is_integer(data["seq"]) or not is_integer(data["leaf"]) or not is_hash(data["hash"]):
        return "seq, leaf and hash of the redacted entry"
    return None if type(data["authority"]) is str and type(data["reason"]) is str else "authority and reason are text"


def _is_of(subject_text: str, kind: str) -> bool:
    return subject_text.startswith(f"{kind}:")


def _is_log_vkey(value: object) -> bool:
    return type(value) is str and NoteVerifier.from_vkey(value).type == TYPE_ED25519


DATA: Final[Mapping[str, Callable[[Mapping[str, Any], str], str | None]]] = {
    "log.created": _log_created,
    "log.key_added": _log_key_added,
    "log.key_revoked": _log_key_revoked,
    "org.registered": _org_registered,
    KEY_REGISTERED: _key_registered,
    KEY_REVOKED: _key_revoked,
    "custody.linked": _linked,
    "entry.redacted": _redacted,
}
