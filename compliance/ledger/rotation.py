"""Changing the platform's own keys while the log goes on: log, receipts, platform batches.

Two steps, with an overlap between them that may last as long as relying parties need to fetch the new trust folder:

1. `begin` makes the new key and says so in the log. A log key signs beside the old one from then on; a receipt key
   waits; a platform key signs at once, registered by itself and by the old one.
2. `finish` revokes the old key in the log, with the time from which it counts as lost. The new key signs alone.

Both can be repeated after an interruption. What the old key signed can be checked for ever.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.conf import settings

from compliance.jobs import clock
from compliance.jobs.failpoints import reach
from compliance.ledger import clock_guard, integrate, key_history, keys, proofs, publish, selectors, setup
from compliance.ledger.append import Appended
from compliance.ledger.errors import LedgerError
from compliance.ledger.keys import Reference
from compliance.ledger.platform_log import platform_batch
from compliance.ledger.setup import PLATFORM_ACTOR
from compliance.proof import subject as subjects
from compliance.proof.keys import PublicKey
from compliance.proof.log_keys import KeyOfLog, LogKeys, Use
from compliance.proof.note import TYPE_ED25519, NoteVerifier
from compliance.proof.times import format_time

SUPERSEDED: Final = "superseded"
REASONS: Final = ("superseded", "ceased", "lost", "compromised", "unspecified")  # as for organisations' keys
LONGEST_REQUEST: Final = timedelta(seconds=60)  # a batch signed by the old platform key is on record by then
_USES: Final[dict[str, Use]] = {keys.LOG: "log", keys.RECEIPTS: "receipt"}


@dataclass(frozen=True, slots=True)
class Change:
    """What a step did. Ids are 8 hex digits for log keys, key ids for the others."""

    use: str
    old: str
    new: str


def begin(use: str, *, uri: str = "") -> Change:
    """Make a new key of `use`, at `uri` in a token or as a file, and say so in the log. Raises LedgerError."""
    if uri and use != keys.LOG:
        raise LedgerError("Only the log key can be kept in a token.")
    _require_mine(use)
    before = _by_age(use)
    old, new = (before[0], before[1]) if len(before) > 1 else (before[0], keys.make(use, uri=uri))
    if new not in before:
        try:
            keys.set_references(use, [old, new])
        except BaseException:
            keys.discard(use, new)  # otherwise a private key that nobody knows of stays behind
            raise
    reach("ledger.rotation.made")
    first = keys.public_half(old)
    second = keys.public_half(new)
    if _is_said(use, second):
        _go_over(use, old, new)  # the step may have been interrupted after its entry
        raise LedgerError(
            f"The key {_id(use, second)} was added already and the one before it, {_id(use, first)}, was not revoked "
            f"yet. Finish with: manage.py log rotate-key {use} --finish"
        )
    if use == keys.PLATFORM:
        _register_platform_key(second)
    else:
        _say("log.key_added", {"use": _USES[use], "key": _as_said(use, second)})
    reach("ledger.rotation.said")
    _go_over(use, old, new)
    return Change(use, _id(use, first), _id(use, second))


def finish(use: str, *, effective_at: datetime | None = None, reason: str = SUPERSEDED, text: str = "") -> Change:
    """Revoke the old key of `use`: what it signs from `effective_at` on (now, if it was not lost before) counts for
    nothing. Raises LedgerError if no rotation was begun.
    """
    if reason not in REASONS:
        raise LedgerError(f"A reason is one of {', '.join(REASONS)}.")
    present = _by_age(use)
    if len(present) < 2:
        raise LedgerError(f"No rotation was begun. Begin with: manage.py log rotate-key {use}")
    old, new = present
    first, second = keys.public_half(old), keys.public_half(new)
    if not _is_said(use, second):
        raise LedgerError(f"The new key is not in the log yet. Go on with: manage.py log rotate-key {use}")
    if use == keys.RECEIPTS:  # from here on nobody takes the old one, so what it signed is dated before the end
        keys.set_references(use, [new, old])
    reach("ledger.rotation.switched")
    if use == keys.PLATFORM:
        _end_platform_key(second, first, effective_at, reason, text)
    else:
        _end_key(use, _id(use, first), effective_at, reason, text)
    reach("ledger.rotation.revoked")
    integrate.integrate()
    publish.publish()  # until the revocation is published, somebody else may be signing a size that needs the old key
    keys.set_references(use, [new])
    _publish_and_tell()
    return Change(use, _id(use, first), _id(use, second))


def standing() -> list[KeyOfLog]:
    """The log and receipt keys that were not revoked, oldest first."""
    named = key_history.read()
    return [key for use in ("log", "receipt") for key in named.of_use(use) if key.revocation is None]


def _by_age(use: str) -> list[Reference]:
    """Where the keys of `use` are, in the order in which the log came to know them."""
    present = keys.references(use)
    if len(present) > 1 and _is_said(use, keys.public_half(present[1])):
        return sorted(present, key=lambda reference: _said_at(use, keys.public_half(reference)))
    return present


def _go_over(use: str, old: Reference, new: Reference) -> None:
    if use == keys.PLATFORM:
        keys.set_references(use, [new, old])
    _publish_and_tell()


def _end_key(use: str, keyid: str, effective_at: datetime | None, reason: str, text: str) -> None:
    known = _named(key_history.read(), use, keyid)
    if known.revocation is None:
        _say(
            "log.key_revoked",
            {
                "use": _USES[use],
                "keyid": keyid,
                "effective_at": format_time(effective_at or _now()),
                "reason": f"{reason}: {text}" if text else reason,
            },
        )


def _end_platform_key(new: PublicKey, old: PublicKey, effective_at: datetime | None, reason: str, text: str) -> None:
    registered = selectors.entry(subjects.signing_key(new.keyid), 0)
    since = _now() - registered.recorded_at if registered else timedelta(0)
    if since < LONGEST_REQUEST:
        wait = (LONGEST_REQUEST - since).seconds + 1
        raise LedgerError(
            f"Batches signed by the old platform key may still be on their way. Repeat this in {wait} seconds."
        )
    subject = subjects.signing_key(old.keyid)
    if any(entry.event["type"] == "org.key_revoked" for entry in selectors.chain(subject)):
        return
    data = {
        "effective_at": format_time(effective_at or _now()),
        "reason_code": reason,
        "reason": text or "The platform changed its key.",
    }
    with platform_batch(actor=PLATFORM_ACTOR) as log:
        log.record(subject, "org.key_revoked", data)


def _register_platform_key(key: PublicKey) -> Appended | None:
    with platform_batch(actor=PLATFORM_ACTOR, keys=keys.keys(keys.PLATFORM)) as log:
        log.record(
            subjects.signing_key(key.keyid),
            "org.key_registered",
            {
                "organisation": subjects.PLATFORM,
                "holder": dict(PLATFORM_ACTOR),
                "key": key.to_object(),
                "valid_from": format_time(_now()),
                "valid_until": None,
            },
        )
    return log.appended


def _now() -> datetime:
    """The time to be written into the log for ever: of a clock that stands neither ahead of the log nor behind it.

    A key that is valid in ten years only, or counts as lost an hour before it was, could not be taken back.
    """
    now = max(clock.now(), clock_guard.latest_seen())
    clock_guard.require_plausible(now)
    return now


def _say(code: str, data: dict[str, Any]) -> None:
    with platform_batch(actor=PLATFORM_ACTOR) as log:
        log.record(subjects.log(settings.METERPROOF["ORIGIN"]), code, data)


def _publish_and_tell() -> None:
    """A checkpoint over what was said, then the trust folder, with the proof of revocations if there are any."""
    setup.write_trust_folder()
    integrate.integrate()
    publish.publish()
    setup.write_trust_folder()
    if key_history.read().revoked:
        proof = proofs.proof_bundle([subjects.log(settings.METERPROOF["ORIGIN"])])
        setup.write_key_proof(proof)


def _require_mine(use: str) -> None:
    named = key_history.read()
    mine = {key.keyid for key in keys.known(use)}
    if use == keys.PLATFORM:
        return
    if not mine & {key.key.keyid for key in named.of_use(_USES[use])}:
        raise LedgerError("The keys of this log are not here: this is a mirror, or its secrets were lost.")


def _said_at(use: str, key: PublicKey) -> str:
    if use == keys.PLATFORM:
        registered = selectors.entry(subjects.signing_key(key.keyid), 0)
        return format_time(registered.recorded_at) if registered else ""
    found = key_history.read().find(_USES[use], _id(use, key))
    return found.recorded_at if found else ""


def _is_said(use: str, key: PublicKey) -> bool:
    if use == keys.PLATFORM:
        return selectors.entry(subjects.signing_key(key.keyid), 0) is not None
    return key_history.read().find(_USES[use], _id(use, key)) is not None


def _named(named: LogKeys, use: str, keyid: str) -> KeyOfLog:
    found = named.find(_USES[use], keyid)
    if found is None:
        raise LedgerError(f"The log does not name the key {keyid}.")
    return found


def _as_said(use: str, key: PublicKey) -> Any:
    return _verifier(key).vkey if use == keys.LOG else key.to_object()


def _id(use: str, key: PublicKey) -> str:
    return _verifier(key).id.hex() if use == keys.LOG else key.keyid


def _verifier(key: PublicKey) -> NoteVerifier:
    return NoteVerifier(settings.METERPROOF["ORIGIN"], TYPE_ED25519, key)
