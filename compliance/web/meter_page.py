"""What the page of one meter shows, put together from custody's reading of its chain and the stored entries.

The chain is shown newest first. The bars of an event's `previous` come from that entry's own `prev`, those of `this
event` from its hash: a broken link would be seen here, and is proven in the verification panel.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from compliance.accounts import selectors as accounts
from compliance.accounts.roles import PLATFORM
from compliance.custody import selectors as custody
from compliance.custody import words as custody_words
from compliance.custody.models import Meter, Violation
from compliance.custody.selectors import ChainLink
from compliance.ledger import selectors as ledger
from compliance.ledger.redaction import redactions
from compliance.ledger.selectors import StoredEntry
from compliance.web import words

KEY_EVENTS = ("cell.keys_provisioned", "keys.rotated")
FIRMWARE_EVENTS = {"cell.firmware_loaded": "version", "ops.firmware_updated": "to_version"}
FIRMWARE_DIGESTS = ("image_sha256_readback", "activated_sha256")
SEAL_EVENTS = {"cell.sealed": "seals", "install.installed": "seals_applied"}


@dataclass(frozen=True, slots=True)
class PhaseMark:
    """One phase under the head: gone through, current, or still open."""

    name: str
    entered: datetime | None
    current: bool


@dataclass(frozen=True, slots=True)
class ShownEvent:
    """One event of the chain, in words and with the hashes that link it."""

    link: ChainLink
    author: str
    actor: str
    prev: str
    status: tuple[str, str]
    violations: list[tuple[str, str]]
    raw: str


@dataclass(frozen=True, slots=True)
class HeldKey:
    """A key the meter holds, as far as the platform may know: a commitment or a public key, never the key."""

    role: str
    kind: str
    digest: str
    generation: int


@dataclass(frozen=True, slots=True)
class Seal:
    """A seal that was applied."""

    point: str
    number: str
    applied: datetime


@dataclass(frozen=True, slots=True)
class Firmware:
    """What was loaded last, and when it was last asked what it runs."""

    version: str
    digest: str
    loaded: datetime
    attested: datetime | None
    matches: bool | None


def meter_context(meter: Meter, reader: Any) -> dict[str, Any]:
    """Everything on the page but findings, evidence and trust data."""
    chain = custody.chain_of(meter, reader)
    stored = {entry.seq: entry for entry in ledger.chain(meter.subject)}
    named = {meter.holder, meter.owner, meter.controller, meter.manufacturer, *(link.author for link in chain)}
    parties = {key: each.name for key, each in accounts.organisations(filter(None, named)).items()}
    events = [_event(link, stored[link.seq], parties) for link in reversed(chain)]
    standing = [violation for link in chain for violation in link.violations if violation.settled_seq is None]
    return {
        "meter": meter,
        "name": meter.subject.split(":", 2)[2],
        "identifiers": custody.identifiers_of(meter, reader),
        "parties": {
            name: parties.get(getattr(meter, name), getattr(meter, name))
            for name in ("manufacturer", "holder", "owner", "controller")
        },
        "claimed": words.state(meter.claimed_state),
        "assured": words.state(meter.assured_state),
        "record": record_status(meter),
        "phases": phases(meter.claimed_state, chain),
        "off_the_path": meter.claimed_state in words.OFF_THE_PATH,
        "events": events,
        "redacted": [one for one in redactions(meter.subject) if custody.sees_whole_chain(meter, reader)],
        "whole_chain": custody.sees_whole_chain(meter, reader),
        "violations": [_violation(each) for each in standing],
        "keys": held_keys(chain),
        "firmware": firmware(chain),
        "seals": seals(chain),
        "tracks": [
            ("Keys", meter.key_state),
            ("Seals", meter.seal_state),
            ("Data on it", meter.data_state.replace("_", " ")),
            ("Trust", meter.trust),
        ],
    }


def record_status(meter: Meter) -> tuple[str, str]:
    """Icon and words for how a meter's record stands."""
    count = getattr(meter, "shown_violations", meter.violation_count)
    if meter.claimed_state != meter.assured_state:
        return "bad", "State not assured"
    if count:
        return "warn", "1 violation" if count == 1 else f"{count} violations"
    return "ok", "No violation"


def phases(state: str, chain: Sequence[ChainLink]) -> list[PhaseMark]:
    """The eight phases: when the chain last entered each, and where the meter stands by its claimed state."""
    of_state = {name: phase.name for phase in words.PHASES for name in phase.states}
    entered: dict[str, datetime] = {}
    for link in chain:
        after = of_state.get(link.after)
        if after is not None and after != of_state.get(link.before):
            entered[after] = link.occurred_at
    return [PhaseMark(phase.name, entered.get(phase.name), state in phase.states) for phase in words.PHASES]


def held_keys(chain: Iterable[ChainLink]) -> list[HeldKey]:
    """The latest key of each role."""
    found: dict[str, HeldKey] = {}
    for link in chain:
        if link.type in KEY_EVENTS and not link.voided:
            for key in link.data.get("keys", ()):
                public = key.get("public_key_sha256")
                digest = public or key.get("commitment") or key.get("registry_tag") or ""
                found[key["role"]] = HeldKey(
                    key["role"], "public key" if public else "commitment", str(digest), key.get("generation", 1)
                )
    return list(found.values())


def firmware(chain: Iterable[ChainLink]) -> Firmware | None:
    """What was loaded last, compared with the last attestation after it."""
    found: Firmware | None = None
    for link in chain:
        if link.voided:
            continue
        if link.type in FIRMWARE_EVENTS:
            digest = next((str(link.data[name]) for name in FIRMWARE_DIGESTS if link.data.get(name)), "")
            found = Firmware(str(link.data.get(FIRMWARE_EVENTS[link.type], "")), digest, link.occurred_at, None, None)
        elif link.type == "ops.attested" and found is not None:
            matches = link.data.get("firmware_sha256") == found.digest
            found = Firmware(found.version, found.digest, found.loaded, link.occurred_at, matches)
    return found


def seals(chain: Iterable[ChainLink]) -> list[Seal]:
    """The last seal applied at each point."""
    found: dict[str, Seal] = {}
    for link in chain:
        if link.type in SEAL_EVENTS and not link.voided:
            for seal in link.data.get(SEAL_EVENTS[link.type], ()):
                point = str(seal.get("point", ""))
                found[point] = Seal(point.replace("-", " "), str(seal.get("number", "")), link.occurred_at)
    return list(found.values())


def _event(link: ChainLink, stored: StoredEntry, parties: dict[str, str]) -> ShownEvent:
    standing = [each for each in link.violations if each.settled_seq is None]
    return ShownEvent(
        link=link,
        author=parties.get(link.author, link.author),
        actor=", ".join(f"{kind} {who}" for kind, who in link.actor.items()),
        prev=stored.prev.hex() if stored.prev else "",
        status=_status(link, standing),
        violations=[_violation(each) for each in standing],
        raw=json.dumps(stored.value, indent=2, ensure_ascii=False) if stored.body else "Redacted. Its hash stays.",
    )


def _status(link: ChainLink, standing: Sequence[Violation]) -> tuple[str, str]:
    if link.voided:
        return "none", "Declared not to have occurred"
    if standing:
        return "warn", "Signed, 1 violation" if len(standing) == 1 else f"Signed, {len(standing)} violations"
    if link.author != PLATFORM and all(signer.organisation == PLATFORM for signer in link.signers):
        return "info", "Vouched by the platform"
    return "ok", "Signature valid"


def _violation(found: Violation) -> tuple[str, str]:
    return custody_words.violation(found.code), found.detail
