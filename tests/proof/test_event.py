"""Events: each member, its limits, and the data of the types every verifier reads."""

import json
from typing import Any

import pytest

from compliance.proof import event, subject
from compliance.proof.errors import ProofError
from compliance.proof.keys import ECDSA_P256
from compliance.proof.note import NoteSigner
from tests.proof.vectors import METERPROOF
from tests.proof.world import key_of

GOOD: dict[str, Any] = json.loads((METERPROOF / "valid/events/edge-all-members.json").read_bytes())
KEY = key_of("a")
KEYID = KEY.public.keyid
ORIGIN = "log.example.test/e"
VKEY = NoteSigner(ORIGIN, key_of("log")).vkey
TIME = "2026-05-04T06:00:00Z"

CHANGES: list[tuple[str, str, Any]] = [
    ("event.value", "v", 2),
    ("event.value", "v", True),
    ("event.value", "id", ""),
    ("event.value", "id", "-a"),
    ("event.value", "id", "a" * 65),
    ("event.value", "id", "a b"),
    ("event.value", "id", 7),
    ("event.value", "type", "assembled"),
    ("event.value", "type", "Mfg.assembled"),
    ("event.value", "type", "mfg." + "a" * 61),
    ("event.value", "schema", 0),
    ("event.value", "schema", 1_000),
    ("event.value", "schema", True),
    ("event.value", "schema", "1"),
    ("subject.form", "subject", "meter"),
    ("subject.form", "subject", None),
    ("subject.form", "subject", ["meter:acme:1"]),
    ("time.form", "occurred_at", "yesterday"),
    ("time.form", "occurred_at", 1),
    ("event.value", "occurred_offset", "+14:01"),
    ("event.value", "occurred_offset", None),
    ("event.value", "actor", {}),
    ("event.value", "actor", {"person": "a", "station": "b"}),
    ("event.value", "actor", {"robot": "a"}),
    ("event.value", "actor", {"person": "a b"}),
    ("event.value", "actor", "a"),
    ("event.value", "second_actor", {"person": ""}),
    ("event.value", "device", {"kind": "reader"}),
    ("event.value", "device", {"kind": "reader", "id": ""}),
    ("event.value", "device", []),
    ("event.value", "location", {"site": "a", "gln": "4012345000016"}),
    ("event.value", "location", {"gln": "4012345000017"}),
    ("event.value", "location", {"gln": "401234500001"}),
    ("event.value", "location", {"gln": 4012345000016}),
    ("event.value", "location", {}),
    ("event.value", "data", []),
    ("event.value", "data", None),
    ("event.data", "data", {"identifiers": {}}),
    ("event.data", "data", {"identifiers": [{"scheme": "eui64"}]}),
    ("event.data", "data", {"identifiers": [{"scheme": "EUI", "value": "1"}]}),
    ("event.data", "data", {"identifiers": [{"scheme": "acme", "value": ""}]}),
    ("event.data", "data", {"identifiers": [{"scheme": "acme", "value": 5}]}),
    ("event.data", "data", {"identifiers": [{"scheme": "acme", "value": "x" * 129}]}),
    ("subject.form", "data", {"identifiers": [{"scheme": "eui64", "value": "x"}]}),
    ("event.value", "evidence", []),
    ("event.value", "evidence", {}),
    ("event.value", "evidence", [GOOD["evidence"][0]] * 51),
    ("event.value", "evidence", [GOOD["evidence"][0] | {"more": 1}]),
    ("event.value", "evidence", [GOOD["evidence"][0] | {"sha256": "AB" * 32}]),
    ("event.value", "evidence", [GOOD["evidence"][0] | {"size": -1}]),
    ("event.value", "evidence", [GOOD["evidence"][0] | {"size": 2**53}]),
    ("event.value", "evidence", [GOOD["evidence"][0] | {"size": "1"}]),
    ("event.value", "evidence", [GOOD["evidence"][0] | {"media_type": "Text/Plain"}]),
    ("event.value", "evidence", [GOOD["evidence"][0] | {"media_type": "text/plain; charset=utf-8"}]),
    ("event.value", "evidence", [GOOD["evidence"][0] | {"name": ""}]),
    ("event.value", "evidence", [GOOD["evidence"][0] | {"name": "ü" * 128}]),
    ("event.value", "corrects", "ab"),
    ("event.value", "corrects", None),
    ("event.value", "prev_hint", "AB" * 32),
    ("event.member", "comment", "hello"),
]


@pytest.mark.parametrize(("code", "member", "value"), CHANGES, ids=lambda item: str(item)[:40])
def test_a_member_of_another_form_is_refused_and_named(code, member, value):
    with pytest.raises(ProofError) as refused:
        event.check_event(GOOD | {member: value}, place="line 4")
    assert refused.value.code == code
    assert refused.value.pointer is not None
    assert refused.value.pointer.startswith(f"/{member}")
    assert str(refused.value.place).startswith("line 4")


@pytest.mark.parametrize("member", sorted(event.REQUIRED))
def test_a_missing_member_is_refused(member):
    with pytest.raises(ProofError) as refused:
        event.check_event({name: value for name, value in GOOD.items() if name != member})
    assert refused.value.code == "event.member"
    assert member in refused.value.detail


@pytest.mark.parametrize("member", sorted(event.OPTIONAL))
def test_optional_members_may_be_absent(member):
    event.check_event({name: value for name, value in GOOD.items() if name != member})


def log_created(**changes: Any) -> dict[str, Any]:
    data = {
        "origin": ORIGIN,
        "log_key": VKEY,
        "receipt_key": KEY.public.to_object(),
        "platform_key": KEYID,
        "vocabulary_sha256": "0" * 64,
    }
    return data | changes


def key_registered(**changes: Any) -> dict[str, Any]:
    data = {
        "organisation": "acme",
        "holder": {"person": "p-1"},
        "key": KEY.public.to_object(),
        "valid_from": TIME,
        "valid_until": None,
    }
    return data | changes


LOG, ORG, METER, SIGNING = subject.log(ORIGIN), "organisation:org:acme", "meter:acme:1", subject.signing_key(KEYID)
REGISTERED = {"name": "Acme", "roles": ["carrier", "manufacturer"], "first_key": KEYID}
REVOKED = {"effective_at": TIME, "reason_code": "lost", "reason": "left in a taxi"}
LINKED = {"cause": {"subject": "shipment:acme:1", "seq": 0, "hash": "0" * 64}, "effect": "delivery.received"}
REDACTED = {"subject": METER, "seq": 1, "hash": "0" * 64, "leaf": 9, "authority": "court", "reason": "order"}

GOOD_DATA: list[tuple[str, str, dict[str, Any]]] = [
    ("log.created", LOG, log_created()),
    ("log.key_added", LOG, {"use": "log", "key": VKEY}),
    ("log.key_added", LOG, {"use": "receipt", "key": KEY.public.to_object()}),
    ("log.key_revoked", LOG, {"use": "log", "keyid": "01234567", "effective_at": TIME, "reason": "r"}),
    ("log.key_revoked", LOG, {"use": "receipt", "keyid": KEYID, "effective_at": TIME, "reason": "r"}),
    ("org.registered", ORG, REGISTERED),
    ("org.registered", ORG, REGISTERED | {"roles": []}),
    ("org.key_registered", SIGNING, key_registered()),
    ("org.key_registered", SIGNING, key_registered(valid_until=TIME)),
    ("org.key_revoked", SIGNING, REVOKED),
    ("custody.linked", METER, LINKED),
    ("entry.redacted", LOG, REDACTED),
]

BAD_DATA: list[tuple[str, str, str, dict[str, Any]]] = [
    ("event.data", "log.created", LOG, {}),
    ("event.data", "log.created", LOG, log_created(origin="log.example.test/other")),
    ("event.data", "log.created", LOG, log_created(log_key=NoteSigner("other", key_of("log")).vkey)),
    ("event.data", "log.created", LOG, log_created(log_key=5)),
    ("key.form", "log.created", LOG, log_created(log_key="x")),
    ("key.form", "log.created", LOG, log_created(receipt_key={})),
    ("event.data", "log.created", LOG, log_created(platform_key="x")),
    ("event.data", "log.created", LOG, log_created(vocabulary_sha256="x")),
    ("event.data", "log.key_added", LOG, {"use": "log", "key": 5}),
    ("event.data", "log.key_added", LOG, {"use": "pdf", "key": VKEY}),
    ("event.data", "log.key_added", METER, {"use": "log", "key": VKEY}),
    ("key.form", "log.key_added", LOG, {"use": "receipt", "key": VKEY}),
    ("event.data", "log.key_revoked", LOG, {"use": "log", "keyid": KEYID, "effective_at": TIME, "reason": "r"}),
    (
        "event.data",
        "log.key_revoked",
        LOG,
        {"use": "receipt", "keyid": "01234567", "effective_at": TIME, "reason": "r"},
    ),
    ("event.data", "log.key_revoked", LOG, {"use": "log", "keyid": "01234567", "effective_at": TIME, "reason": 1}),
    ("event.data", "log.key_revoked", LOG, {"use": "log"}),
    ("time.form", "log.key_revoked", LOG, {"use": "log", "keyid": "01234567", "effective_at": "", "reason": "r"}),
    ("event.data", "org.registered", METER, REGISTERED),
    ("event.data", "org.registered", ORG, REGISTERED | {"name": ""}),
    ("event.data", "org.registered", ORG, REGISTERED | {"roles": ["b", "a"]}),
    ("event.data", "org.registered", ORG, REGISTERED | {"roles": ["a", "a"]}),
    ("event.data", "org.registered", ORG, REGISTERED | {"roles": "a"}),
    ("event.data", "org.registered", ORG, REGISTERED | {"roles": ["A"]}),
    ("event.data", "org.registered", ORG, REGISTERED | {"first_key": "x"}),
    ("event.data", "org.key_registered", SIGNING, key_registered(more=1)),
    ("event.data", "org.key_registered", SIGNING, key_registered(organisation="Acme")),
    ("event.data", "org.key_registered", SIGNING, key_registered(holder={})),
    ("event.data", "org.key_registered", SIGNING, key_registered(key=key_of("b", ECDSA_P256).public.to_object())),
    ("key.form", "org.key_registered", SIGNING, key_registered(key={})),
    ("time.form", "org.key_registered", SIGNING, key_registered(valid_from="x")),
    ("time.form", "org.key_registered", SIGNING, key_registered(valid_until="x")),
    ("event.data", "org.key_revoked", METER, REVOKED),
    ("event.data", "org.key_revoked", SIGNING, REVOKED | {"reason_code": "bored"}),
    ("event.data", "org.key_revoked", SIGNING, REVOKED | {"reason_code": []}),
    ("event.data", "org.key_revoked", SIGNING, REVOKED | {"reason": None}),
    ("event.data", "custody.linked", ORG, LINKED),
    ("event.data", "custody.linked", METER, LINKED | {"effect": "x"}),
    ("event.data", "custody.linked", METER, LINKED | {"cause": {}}),
    ("event.data", "custody.linked", METER, LINKED | {"cause": LINKED["cause"] | {"seq": -1}}),  # type: ignore[operator]
    ("event.data", "custody.linked", METER, LINKED | {"cause": LINKED["cause"] | {"hash": "x"}}),  # type: ignore[operator]
    ("subject.form", "custody.linked", METER, LINKED | {"cause": LINKED["cause"] | {"subject": "x"}}),  # type: ignore[operator]
    ("event.data", "entry.redacted", METER, REDACTED),
    ("event.data", "entry.redacted", LOG, REDACTED | {"subject": ORG}),
    ("event.data", "entry.redacted", LOG, REDACTED | {"subject": SIGNING}),
    ("event.data", "entry.redacted", LOG, REDACTED | {"leaf": "9"}),
    ("event.data", "entry.redacted", LOG, REDACTED | {"reason": None}),
    ("subject.form", "entry.redacted", LOG, REDACTED | {"subject": "x"}),
]


def stated(code: str, about: str, data: dict[str, Any]) -> dict[str, Any]:
    return {
        "v": 1,
        "id": "e-1",
        "type": code,
        "schema": 1,
        "subject": about,
        "occurred_at": TIME,
        "actor": {"service": "s"},
        "data": data,
    }


@pytest.mark.parametrize(("code", "about", "data"), GOOD_DATA, ids=lambda item: str(item)[:40])
def test_data_of_types_that_every_verifier_reads(code, about, data):
    event.check_event(stated(code, about, data))


@pytest.mark.parametrize(("reason", "code", "about", "data"), BAD_DATA, ids=lambda item: str(item)[:40])
def test_wrong_data_of_types_that_every_verifier_reads(reason, code, about, data):
    with pytest.raises(ProofError) as refused:
        event.check_event(stated(code, about, data), place="line 1")
    assert refused.value.code == reason
    assert refused.value.pointer == "/data"


def test_every_type_that_verifiers_read_has_good_and_bad_data_here():
    assert {code for code, _, _ in GOOD_DATA} == {code for _, code, _, _ in BAD_DATA} == event.DATA.keys()


@pytest.mark.parametrize(
    ("code", "platform"),
    [
        ("log.created", True),
        ("report.issued", True),
        ("check.finding_opened", True),
        ("org.registered", True),
        ("custody.linked", True),
        ("entry.redacted", True),
        ("org.key_registered", False),
        ("org.key_revoked", False),
        ("mfg.assembled", False),
        ("custody.other", False),
    ],
)
def test_platform_types(code, platform):
    assert event.is_platform_type(code) == platform
    event.check_authority({"type": code, "data": {"organisation": "platform"}}, "platform")
    by_acme = {"type": code, "data": {"organisation": "acme"}}
    if not platform:
        event.check_authority(by_acme, "acme")
        return
    with pytest.raises(ProofError) as refused:
        event.check_authority(by_acme, "acme")
    assert refused.value.code == "event.authority"


@pytest.mark.parametrize(
    ("code", "data", "rule"),
    [
        ("cell.exited", {}, "two_people"),
        ("mfg.rejected", {"outcome": "scrap"}, "two_people"),
        ("mfg.rejected", {"outcome": "rework"}, None),
        ("ownership.transferred", {}, "two_organisations"),
        ("mfg.assembled", {}, None),
    ],
)
def test_types_that_ask_for_two_signers(code, data, rule):
    assert event.required_signers({"type": code, "data": data}) == rule
