"""Histories of a few meters, sent in by their organisations as signed batches through the real intake.

The data are the vocabulary's own examples, with names and digests of their own for each meter.
"""

import copy
import hashlib
import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from compliance.accounts.models import ApiKey
from compliance.custody import intake, vocabulary
from compliance.jobs import worker
from compliance.proof.batch import NDJSON
from compliance.proof.keys import PrivateKey
from compliance.proof.times import format_time
from tests.accounts import world as accounts
from tests.accounts.world import Member

FIRST_NUMBER = 2410
START = datetime(2026, 4, 14, 6, 0, tzinfo=UTC)
EXAMPLE_TITLE, EXAMPLE_LDN = "454C530000002406", "ELS0000000002406"
SESSION = "cell_session:elster:OSN2-2026-04-14-1"
FIRMWARE = "firmware:elster:AS3000-4.1.2"
TYPE = "meter_type:elster:AS3000"
PALLET = "logistic_unit:sscc:340123450000000017"
SHIPMENT = "shipment:elster:S-2026-0417"
BUNDLE = "key_bundle:elster:KB-2026-0417"
CELL = vocabulary.load().cell_steps
_DIGEST = re.compile(r"[0-9a-f]{64}")


class Field:
    """Organisations that send; time moves on by some minutes with every batch."""

    def __init__(self, members: dict[str, Member]) -> None:
        self.members = members
        self.moment = START
        self.credentials: dict[str, ApiKey] = {
            id: accounts.api_key(member.organisation, "events:write")[0]
            for id, member in members.items()  # noqa: A001
        }

    def second_person(self, organisation: str) -> None:
        """Register a key of a second person, brought in by the first."""
        member, key = self.members[organisation], PrivateKey.generate("ecdsa_p256_sha256")
        event = accounts.key_event(organisation, key, person="p-2")
        self._take(organisation, [event], [*member.keys, key])
        member.keys.append(key)

    def send(self, organisation: str, *events: dict[str, Any], also: str = "") -> None:
        """One batch, signed with all keys of `organisation`, and of `also` where two organisations sign."""
        keys = [*self.members[organisation].keys, *(self.members[also].keys if also else [])]
        self._take(organisation, events, keys)

    def event(self, code: str, subject: str, *, meter: int = 0, **changes: Any) -> dict[str, Any]:
        """An event of the vocabulary's example for `code`, about the `meter`-th meter where it is about one."""
        self.moment += timedelta(minutes=4)
        data = _example(code, meter) | changes
        return accounts.event(code, subject, data, occurred_at=format_time(self.moment))

    def wait(self, **spans: int) -> None:
        """Let time pass."""
        self.moment += timedelta(**spans)

    def _take(self, organisation: str, events: Sequence[dict[str, Any]], keys: Sequence[PrivateKey]) -> None:
        signed = accounts.sign(organisation, events, keys)
        intake.receive_batch(signed.ndjson, media_type=NDJSON, sender=self.credentials[organisation])
        worker.run_until_idle()


def meter(number: int) -> str:
    """Subject of the `number`-th meter."""
    return f"meter:dlms_system_title:454C53000000{FIRST_NUMBER + number}"


def send_histories(members: dict[str, Member]) -> None:
    """Six meters: two in service, one installed, one accepted, one with violations, one still in the cell."""
    field = Field(members)
    for organisation in ("elster", "stadtwerk", "installateur"):
        field.second_person(organisation)
    field.send("elster", field.event("design.type_registered", TYPE), field.event("design.firmware_released", FIRMWARE))
    field.send("elster", field.event("cell.session_opened", SESSION))
    _make(field, shipped := range(5))
    field.send(
        "elster",
        *(field.event(code, meter(5), meter=5) for code in ("mfg.assembled", "mfg.calibrated", "cell.entered")),
    )
    field.send("elster", field.event("cell.session_reconciled", SESSION))
    _deliver(field, shipped)
    for number in (0, 1, 2):
        _hand_over(field, number)
        field.send("installateur", field.event("install.installed", meter(number), meter=number))
        if number < 2:
            field.wait(hours=9)
            field.send("stadtwerk", field.event("install.commissioned", meter(number), meter=number))
    field.send(
        "stadtwerk", field.event("ops.attested", meter(0), meter=0), field.event("keys.rotated", meter(0), meter=0)
    )
    field.wait(days=3)
    # The fourth meter is fitted by somebody who never got it, and then again.
    field.send("installateur", field.event("install.installed", meter(3), meter=3))
    field.send("stadtwerk", field.event("install.commissioned", meter(3), meter=3))


def _make(field: Field, numbers: Sequence[int]) -> None:
    for number in numbers:
        codes = ("mfg.assembled", "mfg.calibrated", *CELL, "cell.exited")
        field.send("elster", *(field.event(code, meter(number), meter=number) for code in codes))


def _deliver(field: Field, numbers: Sequence[int]) -> None:
    meters = [meter(number) for number in numbers]
    field.wait(days=5)
    field.send("elster", field.event("delivery.packed", PALLET, children=meters))
    digest = hashlib.sha256(json.dumps(meters, separators=(",", ":")).encode()).hexdigest()
    release = field.event("keys.bundle_released", BUNDLE, meter_count=len(meters), meters=meters, members_sha256=digest)
    field.send("elster", release)
    field.send("elster", field.event("delivery.dispatched", SHIPMENT, meter_count=len(meters)))
    field.wait(days=2)
    field.send("stadtwerk", field.event("delivery.received", SHIPMENT))
    count = {"expected_count": len(meters), "found_count": len(meters), "seal_results": [], "firmware_sample": []}
    field.send("stadtwerk", field.event("delivery.inspected", SHIPMENT, **count))
    field.send("stadtwerk", field.event("keys.bundle_acknowledged", BUNDLE, decrypted_count=len(meters)))
    field.send("elster", field.event("ownership.transferred", SHIPMENT), also="stadtwerk")


def _hand_over(field: Field, number: int) -> None:
    field.wait(days=19, hours=1)
    parties = {"kind": "possession", "from_party": "stadtwerk", "to_party": "installateur"}
    field.send("stadtwerk", field.event("ownership.transferred", meter(number), **parties), also="installateur")


def _example(code: str, number: int) -> dict[str, Any]:
    """The example's data, with identity, seals and digests of the keys of that meter."""
    data = copy.deepcopy(dict(vocabulary.load().events[code].example))
    text = json.dumps(data).replace(EXAMPLE_TITLE, f"454C53000000{FIRST_NUMBER + number}")
    text = text.replace(EXAMPLE_LDN, f"ELS00000000{FIRST_NUMBER + number:05}").replace("S-1004", f"S-1{number}04")
    if code in {"cell.keys_provisioned", "keys.rotated"}:
        text = _DIGEST.sub(lambda found: hashlib.sha256(f"{number} {found[0]}".encode()).hexdigest(), text)
    found: dict[str, Any] = json.loads(text)
    return found
