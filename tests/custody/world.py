"""A supply chain for tests: five organisations with the keys of two people each, who send as customers do."""

import copy
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from compliance.accounts.models import ApiKey
from compliance.custody import intake, links, vocabulary
from compliance.custody.intake import IntakeResult
from compliance.custody.models import Meter
from compliance.jobs import clock
from compliance.proof import batch
from compliance.proof import subject as subjects
from compliance.proof.keys import PrivateKey
from compliance.proof.times import format_time
from tests.accounts import world as accounts
from tests.custody.facts import HONEST_LIFE

WORDS = vocabulary.load()
ORGANISATIONS = {
    "elster": ("manufacturer",),
    "spedition": ("logistics_provider",),
    "stadtwerk": ("utility", "operator"),
    "installateur": ("installer",),
    "recycler": ("recycler", "triage_facility"),
}
SESSION = "cell_session:elster:OSN2-2026-04-14-1"
UNIT = "logistic_unit:sscc:340123450000000017"
SHIPMENT = "shipment:elster:S-2026-0417"
BUNDLE = "key_bundle:elster:KB-2026-0417"
SUBJECT_OF = {"logistic_unit": UNIT, "shipment": SHIPMENT, "key_bundle": BUNDLE, "cell_session": SESSION}


@dataclass(slots=True)
class Party:
    """An organisation with keys of two people and a credential."""

    id: str
    keys: list[PrivateKey]
    api_key: ApiKey

    def send(
        self, *events: dict[str, Any], also: Sequence["Party"] = (), keys: int = 1, mode: intake.Mode = "atomic"
    ) -> IntakeResult:
        """Sign with the first `keys` of our keys and the first of each of `also`, and hand in."""
        return self.hand_in(self.sign(*events, also=also, keys=keys).ndjson, mode=mode)

    def sign(self, *events: dict[str, Any], also: Sequence["Party"] = (), keys: int = 1) -> batch.SignedBatch:
        """A signed batch of these events."""
        signing = [*self.keys[:keys], *(party.keys[0] for party in also)]
        return accounts.sign(self.id, events, signing)

    def hand_in(self, data: bytes, *, mode: intake.Mode = "atomic", media_type: str = batch.NDJSON) -> IntakeResult:
        """Send bytes."""
        return intake.receive_batch(data, media_type=media_type, sender=self.api_key, mode=mode)


def make() -> dict[str, Party]:
    """Register the organisations with two keys each; a log must be there."""
    return {name: join(name, *roles) for name, roles in ORGANISATIONS.items()}


def join(name: str, *roles: str, **options: Any) -> Party:
    """One more organisation."""
    member = accounts.join(name, *roles, **options)
    second = PrivateKey.generate("ecdsa_p256_sha256")
    api_key, _ = accounts.api_key(member.organisation, "events:write", "events:read", "evidence:write")
    party = Party(name, [member.keys[0], second], api_key)
    party.send(accounts.key_event(name, second, person="p-2"), keys=2)
    return party


def event(code: str, subject: str, changes: dict[str, Any] | None = None, **members: Any) -> dict[str, Any]:
    """An event whose data is the vocabulary's example with `changes`; its `without` names fields to leave out."""
    data = copy.deepcopy(dict(WORDS.events[code].example))
    data.update(changes or {})
    return {
        "v": 1,
        "id": secrets.token_hex(16),
        "type": code,
        "schema": 1,
        "subject": subject,
        "occurred_at": format_time(clock.now()),
        "actor": {"person": "p-1"},
        "data": data,
        **members,
    }


def title(number: int) -> str:
    """Subject text of the meter number `number` of `elster` (letters ELS)."""
    return f"meter:dlms_system_title:454C53{number:010X}"


def born(number: int, **changes: Any) -> dict[str, Any]:
    """The birth of a meter with a logical device name of its own."""
    identifiers = [{"scheme": "dlms_ldn", "value": f"ELS{number:013d}"}]
    return event("mfg.assembled", title(number), {"identifiers": identifiers, **changes})


def live(parties: dict[str, Party], meters: Sequence[str], *, until: str | None = None, times: int = 1) -> None:
    """Let `meters` live the honest life, all together, up to the `times`-th event of the type `until`."""
    for code, author, changes in HONEST_LIFE:
        event_type = WORDS.events[code]
        sender = parties[author]
        kinds = event_type.kinds
        if code == "mfg.assembled":
            made = [_birth_of(meter) for meter in meters]
        elif ("meter" in kinds and code != "ownership.transferred") or changes.get("kind") == "possession":
            made = [event(code, meter, _keys_of(meter, code, changes)) for meter in meters]
        else:
            kind = "shipment" if code == "ownership.transferred" else next(iter(kinds))
            made = [event(code, SUBJECT_OF[kind], {**changes, **_members(kind, code, meters)})]
        also = [parties[made[0]["data"]["to_party"]]] if event_type.signature_rule == "two_organisations" else []
        sender.send(*made, also=also, keys=2 if event_type.signature_rule == "two_people" else 1)
        while links.append_links():
            pass
        times -= code == until
        if until is not None and times == 0:
            return


def _birth_of(meter: str) -> dict[str, Any]:
    return born(int(subjects.parse(meter).value[6:], 16))


def _keys_of(meter: str, code: str, changes: dict[str, Any]) -> dict[str, Any]:
    """Keys and seals that no other meter has."""
    if code == "cell.keys_provisioned":
        return {"keys": [_key(meter, "GUEK", 1), _key(meter, "GAK", 1)], **changes}
    if code == "cell.sealed":
        number = subjects.parse(meter).value[-8:]
        return {"seals": [{"point": "housing", "number": f"S-{number}", "kind": "manufacturer", "batch": "R-1"}]}
    return changes


def _key(meter: str, role: str, generation: int) -> dict[str, Any]:
    return {
        "role": role,
        "origin": "hsm",
        "commitment": secrets.token_hex(32),
        "public_key_sha256": None,
        "registry_tag": secrets.token_hex(32),
        "generation": generation,
    }


def _members(kind: str, code: str, meters: Sequence[str]) -> dict[str, Any]:
    match kind, code:
        case "logistic_unit", "delivery.packed":
            return {"children": list(meters), "unit_id": UNIT}
        case "shipment", "delivery.dispatched":
            return {"units": [UNIT], "meter_count": len(meters)}
        case "key_bundle", "keys.bundle_released":
            return {"meters": list(meters), "meter_count": len(meters)}
    return {}


def meter(subject: str) -> Meter:
    """The projection of a meter."""
    return Meter.objects.get(subject=subject)


def origin() -> str:
    """Name of this test's log."""
    return str(settings.METERPROOF["ORIGIN"])
