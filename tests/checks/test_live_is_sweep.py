"""Judged while it is appended, or read from the log afterwards: the same answers, on histories nobody thought of.

Events with values from small pools, so that keys, seals and images meet; sent by whoever has the role, in batches of
any size, and some declared afterwards not to have occurred, also by those who never said them.
"""

import hashlib
from random import Random
from typing import Any

import pytest

from compliance.checks import sweep
from compliance.checks.models import Suspicion
from compliance.custody import links
from compliance.jobs import clock
from compliance.ledger.integrate import integrate
from compliance.ledger.models import LogState
from compliance.proof.times import format_time
from tests.custody import world
from tests.custody.world import ORGANISATIONS, SHIPMENT, UNIT, WORDS

pytestmark = [pytest.mark.django_db, pytest.mark.both_engines]

EVENTS = 90
METERS = [world.title(number) for number in (1, 2, 3)]
TYPE, FIRMWARE = "meter_type:elster:AS3000", "firmware:elster:AS3000-4.1.2"
SESSIONS = [world.SESSION, "cell_session:elster:OSN2-2026-04-15-1"]
SUBJECTS = {
    "meter": METERS,
    "shipment": [SHIPMENT],
    "logistic_unit": [UNIT],
    "cell_session": SESSIONS,
    "meter_type": [TYPE],
    "firmware": [FIRMWARE],
}
POINTS = ["housing", "terminal-cover"]
SWEPT = {"AN-05", "AN-15"}
# How often an event type is drawn beside the others.
OFTEN = {
    "mfg.assembled": 3,
    "mfg.rejected": 3,
    "cell.keys_provisioned": 3,
    "cell.sealed": 3,
    "ownership.transferred": 3,
}


class History:
    """Draws events."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)  # noqa: S311 (repeatable, not secret)
        self.codes = [
            code
            for code, event_type in WORDS.events.items()
            if event_type.kinds & SUBJECTS.keys() and code != "record.corrected"
            for _ in range(OFTEN.get(code, 1))
        ]

    def sender_of(self, code: str) -> str | None:
        """Somebody who has the role for it."""
        fit = [name for name, roles in ORGANISATIONS.items() if WORDS.events[code].emitted_by & {*roles}]
        return self.random.choice(fit) if fit else None

    def event(self, code: str) -> dict[str, Any]:
        """One event of the type."""
        pick = self.random.choice
        kind = pick(sorted(WORDS.events[code].kinds & SUBJECTS.keys()))
        subject = pick(SUBJECTS[kind])
        made = world.event(code, subject, self._changes(code, subject))
        if code.startswith(("design.", "ops.", "cell.firmware")):
            made["occurred_at"] = format_time(clock.now().replace(microsecond=pick((0, 1, 2))))
        return made

    def _changes(self, code: str, subject: str) -> dict[str, Any]:
        pick, example = self.random.choice, WORDS.events[code].example
        changes: dict[str, Any] = {"session_id": pick(SESSIONS)} if _is_text(example, "session_id") else {}
        match code:
            case "mfg.assembled":
                number = METERS.index(subject)
                changes["identifiers"] = [{"scheme": "dlms_ldn", "value": f"ELS{pick((number, number + 10)):013d}"}]
            case "cell.entered":
                changes |= {"label_identity": pick(METERS)[-16:], "electronic_identity": pick(METERS)[-16:]}
            case "mfg.rejected":
                changes |= {"outcome": pick(("rework", "scrap")), "keys_destroyed": pick((True, False))}
            case "cell.keys_provisioned" | "keys.rotated":
                changes["keys"] = [self._key(code) for _ in range(2)]
            case "cell.sealed":
                changes["seals"] = [self._seal() for _ in range(pick((1, 2)))]
            case "install.installed":
                changes |= {"seals_seen": [self._sight()], "seals_applied": [self._seal()]}
            case "eol.removed":
                changes["seals_seen"] = [self._sight()]
            case "delivery.inspected":
                meter = pick(METERS)
                changes["seal_results"] = [{"subject": meter, **self._sight()}]
                changes["firmware_sample"] = [{"subject": meter, "image_sha256": _image(pick((1, 2)))}]
                changes["outcome"] = pick(("accepted", "quarantined", "decommissioned"))
            case "delivery.packed":
                changes |= {"children": self.random.sample(METERS, 2), "unit_id": UNIT}
            case "design.firmware_released":
                changes |= {"image_sha256": _image(pick((1, 2))), "status": pick(("released", "superseded", "revoked"))}
            case "ownership.transferred":
                parties = self.random.sample(sorted(ORGANISATIONS), 2)
                changes |= {"kind": "possession", "from_party": parties[0], "to_party": parties[1]}
            case "ops.tamper_alerted":
                changes["cover_state"] = pick(("open", "closed"))
            case "eol.triaged":
                changes["outcome"] = pick(("reuse", "analyse", "dispose"))
        for member in ("image_sha256_readback", "activated_sha256", "firmware_sha256"):
            if member in example:
                changes[member] = _image(pick((1, 2, 3)))
        return changes

    def _key(self, code: str) -> dict[str, Any]:
        pick = self.random.choice
        tag = hashlib.sha256(bytes([pick(range(3))])).hexdigest()
        by_tag = pick((True, False))
        key = {
            "role": pick(("GUEK", "GAK", "GBEK")),
            "commitment": tag,
            "public_key_sha256": None if by_tag else tag,
            "registry_tag": tag if by_tag else None,
            "generation": 1,
            "shared": pick((True, False)),
        }
        return key | ({"origin": "hsm"} if code == "cell.keys_provisioned" else {"replaces": tag})

    def _seal(self) -> dict[str, Any]:
        pick = self.random.choice
        return {"point": pick(POINTS), "number": f"S-{pick(range(5))}", "kind": "manufacturer", "batch": "R-1"}

    def _sight(self) -> dict[str, Any]:
        pick = self.random.choice
        return {"point": pick(POINTS), "number": f"S-{pick(range(5))}", "result": pick(("intact", "missing"))}


def _is_text(example: Any, member: str) -> bool:
    return str(example.get(member, "")).startswith("cell_session:")


def _image(number: int) -> str:
    return hashlib.sha256(f"image {number}".encode()).hexdigest()


def correction(entry: Any) -> dict[str, Any]:
    """Its author declares that the entry did not occur."""
    named = {"corrects": entry.hash.hex()}
    return world.event("record.corrected", entry.subject, {**named, "reason": "did_not_occur"}, **named)


def live_through(history: History, parties: dict[str, world.Party]) -> None:
    """Send the events of a history."""
    random, told = history.random, []
    for _ in range(EVENTS // 3):
        code = random.choice(history.codes)
        if (sender := history.sender_of(code)) is None:
            continue
        events = [history.event(code)]
        for other in random.choices(history.codes, k=random.randrange(5)):
            if WORDS.events[other].emitted_by & {*ORGANISATIONS[sender]}:
                events.append(history.event(other))
        known = [entry for author, entry in told if author == sender or random.random() < 0.1]
        if known and random.random() < 0.4:
            events.insert(random.randrange(len(events) + 1), correction(random.choice(known)))
        receiver = parties[random.choice([name for name in sorted(ORGANISATIONS) if name != sender])]
        also = [receiver] if random.random() < 0.5 else []
        result = parties[sender].send(*events, also=also, keys=random.choice((1, 2)), mode="proceed")
        told += [(sender, entry) for entry in result.appended.entries]
        if random.random() < 0.5:
            while links.append_links():
                pass


@pytest.mark.parametrize("seed", range(3))
def test_both_say_the_same(parties, seed):
    live_through(History(seed), parties)
    live = {(each.detector, each.subject, each.seq, each.about, each.detail) for each in Suspicion.objects.all()}
    integrate()
    swept = {
        (each.check.id, each.step.subject, each.step.seq, each.verdict.about, each.verdict.detail)
        for each in sweep.sweep(LogState.objects.get().size).deviations
        if each.check.id not in SWEPT
    }
    assert live == swept
    assert len(live) > 10
    assert len({detector for detector, *_ in live}) > 3
