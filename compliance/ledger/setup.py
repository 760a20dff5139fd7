"""Creating a log: its keys, its first batch, and the trust folder for those who will check it."""

import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from django.conf import settings

from compliance.jobs import clock
from compliance.jobs.failpoints import reach
from compliance.ledger import clock_guard, files, key_history, keys, post_quantum_key, witnesses
from compliance.ledger.append import Appended
from compliance.ledger.errors import LedgerError
from compliance.ledger.models import LogState
from compliance.ledger.platform_log import PlatformLog, platform_batch
from compliance.proof import merkle, trust
from compliance.proof import subject as subjects
from compliance.proof.log_keys import LogKeys
from compliance.proof.times import format_time

logger = logging.getLogger(__name__)

PLATFORM_ACTOR: Final = {"service": subjects.PLATFORM}
PLATFORM_NAME: Final = "Platform operator"
VOCABULARY: Final = "fixtures/custody/events.yaml"

Pins = Callable[[], Mapping[str, Sequence[str]]]
_pins: list[Pins] = []


def register_pins(function: Pins) -> None:
    """Let `function` name the first keys of organisations, by organisation id, for the trust folder."""
    if function not in _pins:
        _pins.append(function)


def is_created() -> bool:
    """Whether there is a log in this database."""
    return LogState.objects.filter(id=1).exists()


def create_log() -> bool:
    """Make keys, leaf 0 with the platform's own registration, and the trust folder; False if there is a log already.

    The three events make one batch: what log this is, who operates it, and with which key.
    """
    if is_created():
        write_trust_folder()
        return False
    if (settings.METERPROOF["LOG_DIR"] / "checkpoint").exists():
        raise LedgerError(
            f"{settings.METERPROOF['LOG_DIR']} holds the checkpoint of another log, but the database is empty. "
            "Restore the database that belongs to it, or choose an empty METERPROOF_VAR."
        )
    keys.make_missing()
    reach("ledger.setup.keys")
    _record_creation()
    write_trust_folder()
    return True


def _record_creation() -> Appended:
    now = clock.now()
    with platform_batch(actor=PLATFORM_ACTOR) as log:
        LogState.objects.create(size=0, root=merkle.EMPTY_ROOT, right_edge=merkle.RightEdge().to_bytes())
        clock_guard.remember(now)
        _say_what_log_this_is(log)
        _say_who_operates_it(log, now)
    if log.appended is None:
        raise AssertionError("the first batch was not appended")
    return log.appended


def _say_what_log_this_is(log: PlatformLog) -> None:
    origin = settings.METERPROOF["ORIGIN"]
    log.record(
        subjects.log(origin),
        "log.created",
        {
            "origin": origin,
            "log_key": keys.log_vkey(),
            "receipt_key": keys.receipt_key().public.to_object(),
            "platform_key": keys.platform_key().public.keyid,
            "vocabulary_sha256": hashlib.sha256(_vocabulary().read_bytes()).hexdigest(),
        },
    )


def _say_who_operates_it(log: PlatformLog, now: datetime) -> None:
    key = keys.platform_key().public
    log.record(
        subjects.organisation(subjects.PLATFORM),
        "org.registered",
        {"name": PLATFORM_NAME, "roles": [], "first_key": key.keyid},
    )
    log.record(
        subjects.signing_key(key.keyid),
        "org.key_registered",
        {
            "organisation": subjects.PLATFORM,
            "holder": dict(PLATFORM_ACTOR),
            "key": key.to_object(),
            "valid_from": format_time(now.astimezone(UTC)),
            "valid_until": None,
        },
    )


def write_trust_folder() -> Path:
    """Write what a relying party brings along: `log.vkey`, `policy` and `trust.json` with the pins known by now.

    `log.vkey` is the newest log key that was not revoked; `policy` names all, so that what the earlier ones signed can
    be checked for ever. Call it again when an organisation is registered or a key changed. Root certificates beside
    them belong to the reports room.
    """
    folder: Path = settings.METERPROOF["TRUST_DIR"]
    named = key_history.read()
    logs = [key for key in named.of_use("log") if key.verifier is not None]
    current = [key for key in logs if key.revocation is None and (key.added is not None or len(logs) == 1)]
    newest = (current or logs)[-1]
    listed = [key for key in logs if key.added is not None or key is newest]
    lines = [f"log {key.verifier.vkey}\n" for key in reversed(listed) if key.verifier is not None]
    files.replace(folder / "log.vkey", f"{newest.verifier.vkey if newest.verifier else ''}\n".encode())
    asked = f"{''.join(lines)}{post_quantum_key.policy_lines()}{witnesses.policy_for_others()}"
    files.replace(folder / "policy", asked.encode("utf-8", "surrogateescape"))
    files.replace(folder / "trust.json", (json.dumps(_trust(named), indent=1, sort_keys=True) + "\n").encode())
    return folder


def write_key_proof(proof: bytes) -> None:
    """Put the proof bundle of the log's own chain into the trust folder: it shows which keys were revoked."""
    folder: Path = settings.METERPROOF["TRUST_DIR"]
    files.replace(folder / trust.LOG_KEYS, proof)


def _trust(named: LogKeys) -> dict[str, Any]:
    pins: dict[str, list[str]] = {subjects.PLATFORM: [named.platform_key]}
    for provider in _pins:
        for organisation, keyids in provider().items():
            if keyids and organisation != subjects.PLATFORM:
                pins[organisation] = list(keyids)
    return {
        "format": "meterproof-trust/1",
        "log": settings.METERPROOF["ORIGIN"],
        "receipt_keys": [key.to_object() for key in named.receipt_keys.values()],
        "organisations": [{"organisation": name, "keys": pins[name]} for name in sorted(pins)],
    }


def _vocabulary() -> Path:
    path: Path = settings.BASE_DIR / VOCABULARY
    return path
