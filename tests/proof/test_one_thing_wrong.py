"""Each of our JSON documents with one thing wrong, everywhere: a member less or more, another value, an item twice.

What is refused is refused with a code, never by a crash. What is taken all the same is listed: free texts, and values
that are as good as the ones they replace.
"""

import copy
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from compliance.proof import batch, bundle, dsse, entry, event, heads, receipt
from compliance.proof.canonical import encode
from compliance.proof.errors import NotCheckable, ProofError
from compliance.proof.heads import Head
from compliance.proof.keys import PublicKey
from compliance.proof.note import NoteSigner
from compliance.proof.policy import parse_policy
from compliance.proof.report import manifest
from compliance.proof.trust import TrustFolder
from compliance.proof.verify import read_keys
from tests.proof import defects
from tests.proof.test_event import GOOD, GOOD_DATA
from tests.proof.world import METER, START, World, key_of

OTHERS: tuple[Any, ...] = (None, True, False, 0, 1, -1, 2**53 - 1, "", "x", "X", [], {}, [None], {"x": 1})
Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Document:
    """A good value, how it is read, and what may stand there instead: places, with `*` for a position, and values."""

    value: Any
    read: Callable[[Any], object]
    taken: Mapping[str, tuple[Any, ...]]


def spelled(path: Path) -> str:
    return "/".join("*" if isinstance(part, int) else part for part in path)


def places(value: Any, at: Path = ()) -> Iterator[Path]:
    if at:
        yield at
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, child in children:
        yield from places(child, (*at, name))


def inside(value: Any, path: Path) -> Any:
    for part in path:
        value = value[part]
    return value


def variants(value: Any) -> Iterator[tuple[str, Any, Any]]:
    """(place, what was done there, the whole value then)."""
    for path in places(value):
        before = inside(value, path)
        for other in OTHERS:
            if type(other) is not type(before) or other != before:
                changed = copy.deepcopy(value)
                inside(changed, path[:-1])[path[-1]] = copy.deepcopy(other)
                yield spelled(path), other, changed
        if isinstance(path[-1], str):
            changed = copy.deepcopy(value)
            del inside(changed, path[:-1])[path[-1]]
            yield spelled(path), "(left out)", changed
    for path in ((), *places(value)):
        here = inside(value, path)
        if isinstance(here, dict):
            changed = copy.deepcopy(value)
            inside(changed, path)["more"] = 1
            yield spelled((*path, "more")), "(added)", changed
        if isinstance(here, list) and here:
            changed = copy.deepcopy(value)
            inside(changed, path).append(copy.deepcopy(here[-1]))
            yield spelled(path), "(last one twice)", changed


def enveloped(payload_type: str) -> Callable[[Any], bytes]:
    return lambda value: dsse.sign(payload=encode(value), payload_type=payload_type, keys=[key_of("receipt")])


def _world() -> World:
    world = World()
    world.create()
    world.register_organisation("acme", "acme")
    world.append("acme", ["acme"], [defects.assembled(world), defects.step(world)])
    world.redact(len(world.leaves) - 1)
    return world


WORLD = _world()
RECEIPT_KEY = WORLD.receipt_key.public
HASH = "ab" * 32
TIME = "2026-05-04T06:00:00.000000Z"
PAYLOAD = next(iter(WORLD.batches.values())).payload | {"sequence": 7}
VOUCHED = PAYLOAD | {"on_behalf_of": "acme", "credential": "c-1"}
RECEIPT = json.loads(
    receipt.build_payload(
        log=WORLD.origin,
        batch=HASH,
        first=1,
        count=4,
        issued_at=TIME,
        merge_by=TIME,
        entries=[
            receipt.ReceiptEntry("e-1", b"\x01" * 32, 1, METER.format(1), 0, None, b"\x02" * 32, TIME),
            receipt.ReceiptEntry("e-2", b"\x01" * 32, 2, METER.format(1), 1, b"\x02" * 32, b"\x03" * 32, TIME),
        ],
        duplicates=[(3, HASH)],
        refused=[(4, "event.value")],
    )
)
HEADS = json.loads(
    heads.build_payload(
        checkpoint=WORLD.checkpoint(),
        issued_at=START,
        heads=[Head(METER.format(number), 3, b"\x01" * 32) for number in (1, 2)],
    )
)
POLICY = parse_policy(f"log {WORLD.signer.vkey}\nquorum none\n".encode())
MANIFEST = {
    "format": "meterproof-report/1",
    "number": "AR-1",
    "kind": "framework_audit",
    "log": WORLD.origin,
    "checkpoint": "text",
    "attachments": [{"name": "a", "media_type": "text/csv", "size": 0, "sha256": "0"}],
}
TRUST = {
    "format": "meterproof-trust/1",
    "log": WORLD.origin,
    "receipt_keys": [RECEIPT_KEY.to_object()],
    "organisations": [{"organisation": "acme", "keys": [RECEIPT_KEY.keyid]}],
}


def read_trust(value: Any) -> object:
    return TrustFolder.read(log_vkey=WORLD.signer.vkey.encode(), policy=POLICY, trust=encode(value))


def read_manifest(value: Any) -> object:
    return manifest._read_manifest(encode(value))


def read_payload(value: Any) -> object:
    batch.check_payload(value)
    return value


def read_event(value: Any) -> object:
    event.check_event(value)
    return value


IDS: tuple[Any, ...] = ("x", "X")
TEXTS: tuple[Any, ...] = ("", "x", "X")
LARGE = 2**53 - 1
ABSENT, TWICE, MORE = "(left out)", "(last one twice)", "(added)"
ANY_EVENT: dict[str, tuple[Any, ...]] = {"id": IDS, "actor/service": IDS}
BATCH: dict[str, tuple[Any, ...]] = {"log": IDS, "source": IDS, "sequence": (None, 0, 1, LARGE), "count": (1,)}
OF_TYPES: dict[str, dict[str, tuple[Any, ...]]] = {
    "log.key_revoked": {"data/reason": TEXTS},
    "org.registered": {"data/name": IDS, "data/roles": ([],), "data/roles/*": ("x",)},
    "org.key_registered": {"data/holder/person": IDS, "data/valid_until": (None,)},
    "org.key_revoked": {"data/reason": TEXTS},
    "custody.linked": {"data/cause/seq": (1, LARGE)},
    "entry.redacted": {
        "data/seq": (0, LARGE),
        "data/leaf": (0, 1, LARGE),
        "data/authority": TEXTS,
        "data/reason": TEXTS,
    },
}
DOCUMENTS: dict[str, Document] = {
    "event": Document(
        GOOD | {"data": {"identifiers": GOOD["data"]["identifiers"]}},
        read_event,
        {
            "id": IDS,
            "actor/station": IDS,
            "second_actor": (ABSENT,),
            "second_actor/service": IDS,
            "device": (ABSENT,),
            "device/kind": IDS,
            "device/id": IDS,
            "location": (ABSENT,),
            "location/site": IDS,
            "occurred_offset": (ABSENT,),
            "corrects": (ABSENT,),
            "prev_hint": (ABSENT,),
            "evidence": (ABSENT, TWICE),
            "evidence/*/name": IDS,
            "evidence/*/size": (1, LARGE),
            "data": ({}, {"x": 1}),
            "data/more": (MORE,),
            "data/identifiers": ([], ABSENT, TWICE),
            "data/identifiers/*/scheme": ("x",),
        },
    ),
    **{
        f"event {code} {number}": Document(
            WORLD.event(about, code, data) | {"id": "event-1"}, read_event, ANY_EVENT | OF_TYPES.get(code, {})
        )
        for number, (code, about, data) in enumerate(GOOD_DATA)
        if data.get("roles") != [] and not (code == "org.key_registered" and data["valid_until"] is None)
    },
    "entry": Document(
        json.loads(WORLD.leaves[-2].data),
        lambda value: entry.read(encode(value), place="leaf 1"),
        {
            "index": (0,),
            "seq": (LARGE,),
            "event/id": IDS,
            "event/actor/service": IDS,
            "event/data": ({"x": 1},),
            "event/data/more": (MORE,),
        },
    ),
    "batch": Document(PAYLOAD, read_payload, BATCH),
    "batch that vouches": Document(VOUCHED, read_payload, BATCH | {"credential": IDS}),
    "receipt": Document(
        RECEIPT,
        lambda value: receipt.read(enveloped(dsse.RECEIPT_TYPE)(value)),
        {"log": IDS, "entries/*/event_id": IDS, "entries/*/seq": (LARGE,), "refused/*/code": ("x",)},
    ),
    "heads": Document(
        HEADS,
        lambda value: heads.read(enveloped(dsse.HEADS_TYPE)(value)),
        {"log": IDS, "size": (1, LARGE), "heads/*/seq": (0, 1, LARGE)},
    ),
    "bundle": Document(
        json.loads(WORLD.bundle(METER.format(1), time_tokens=[b"token"])),
        lambda value: bundle.read(encode(value)),
        {
            "log": IDS,
            "checkpoint": TEXTS,
            "time_tokens": ([], TWICE),
            "entries/*/leaf": (LARGE,),
            "entries/*/path": ([], TWICE),
            "entries/*/entry": ("",),
            "entries/*/event_path": ([], TWICE),
            "batches/*/payload": ("",),
        },
    ),
    "envelope": Document(
        json.loads(next(iter(WORLD.batches.values())).envelope),
        lambda value: dsse.read_envelope(value, payload_type=dsse.BATCH_TYPE),
        {"payload": ("",)},
    ),
    "trust": Document(
        TRUST, read_trust, {"receipt_keys": (TWICE,), "organisations": ([],), "organisations/*/keys": (TWICE,)}
    ),
    "manifest": Document(
        MANIFEST,
        read_manifest,
        {
            "number": TEXTS,
            "kind": TEXTS,
            "log": TEXTS,
            "checkpoint": TEXTS,
            "attachments": ([],),
            "attachments/*/name": TEXTS,
            "attachments/*/media_type": TEXTS,
            "attachments/*/size": (1, -1, LARGE),
            "attachments/*/sha256": TEXTS,
            "attachments/*/more": (MORE,),
            "more": (MORE,),
        },
    ),
    "key": Document(RECEIPT_KEY.to_object(), PublicKey.from_object, {}),
    "registered keys": Document(
        [{"organisation": "acme", "key": RECEIPT_KEY.to_object()}],
        lambda value: read_keys(encode(value)),
        {"": (TWICE,)},
    ),
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_one_thing_wrong(name: str) -> None:
    document = DOCUMENTS[name]
    document.read(document.value)
    taken: dict[str, list[str]] = {}
    for place, done, changed in variants(document.value):
        try:
            document.read(changed)
        except ProofError:
            continue
        taken.setdefault(place, []).append(repr(done))
    assert {place: set(done) for place, done in taken.items()} == {
        place: {repr(done) for done in values} for place, values in document.taken.items()
    }


@pytest.mark.parametrize(
    ("name", "path", "place"),
    [
        ("bundle", ("subjects", 0), "subjects/0"),
        ("bundle", ("subjects",), "subjects"),
        ("bundle", ("time_tokens",), "time_tokens"),
        ("bundle", ("entries",), "entries"),
        ("bundle", ("entries", 2, "path"), "entries/2"),
        ("bundle", ("entries", 2, "leaf"), "entries/2"),
        ("bundle", ("batches",), "batches"),
        ("bundle", ("batches", 1), "batches/1"),
        ("bundle", ("batches", 1, "payload"), "batches/1"),
        ("bundle", ("heads",), "heads"),
        ("bundle", ("created",), "created"),
        ("receipt", ("entries", 1), "entries/1"),
        ("receipt", ("entries", 1, "hash"), "entries/1"),
        ("receipt", ("entries", 1, "subject"), "entries/1"),
        ("receipt", ("entries", 1, "recorded_at"), "entries/1"),
        ("receipt", ("duplicates", 0), "duplicates/0"),
        ("receipt", ("refused", 0), "refused/0"),
        ("heads", ("heads", 1), "heads/1"),
        ("heads", ("heads", 1, "subject"), "heads/1"),
        ("heads", ("heads", 1, "hash"), "heads/1"),
        ("heads", ("size",), "heads"),
        ("entry", ("recorded_at",), "leaf 1"),
        ("entry", ("event", "id"), "leaf 1"),
    ],
    ids=str,
)
def test_the_place_is_named(name: str, path: Path, place: str) -> None:
    value = copy.deepcopy(DOCUMENTS[name].value)
    inside(value, path[:-1])[path[-1]] = {"x": None}
    with pytest.raises(ProofError) as refused:
        DOCUMENTS[name].read(value)
    assert str(refused.value.place).partition(",")[0] == place


def test_the_name_of_a_log_is_an_origin_even_where_its_key_has_the_same_name() -> None:
    """A note may name any key; a log is named in ASCII."""
    vkey = NoteSigner("lög.example.test", key_of("log")).vkey
    policy = parse_policy(f"log {vkey}\nquorum none\n".encode())
    with pytest.raises(NotCheckable) as refused:
        TrustFolder.read(log_vkey=vkey.encode(), policy=policy, trust=encode(TRUST | {"log": "lög.example.test"}))
    assert (refused.value.code, refused.value.place) == ("trust.form", "trust.json")
