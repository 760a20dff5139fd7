"""Entries, receipts, heads and proof files."""

import json
from datetime import timedelta
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from compliance.proof import dsse, entry, heads, merkle, note, receipt
from compliance.proof.canonical import encode
from compliance.proof.checkpoint import Checkpoint
from compliance.proof.errors import ProofError
from compliance.proof.heads import Head
from compliance.proof.receipt import ReceiptEntry
from compliance.proof.times import format_time
from compliance.proof.tlog_proof import TlogProof
from compliance.proof.tlog_proof import build as build_proof
from tests.proof.vectors import METERPROOF
from tests.proof.world import METER, ORIGIN, START, World, key_of

RECEIPT_KEY = key_of("receipt")
KEYS = {RECEIPT_KEY.public.keyid: RECEIPT_KEY.public}
EVENT = World().event(METER.format(1), "mfg.assembled", {"text": "ü \u2028 \U0001f600 \x1f"})
PARTS: dict[str, Any] = {
    "batch_id": "ab" * 32,
    "event": encode(EVENT),
    "index": 3,
    "prev": b"\xcd" * 32,
    "recorded_at": "2026-05-04T06:00:00.000001Z",
    "salt": b"\xef" * 16,
    "seq": 7,
    "subject": METER.format(1),
}
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=40)


@given(TEXTS, st.integers(0, 99_999), st.integers(0, 2**53 - 1), st.binary(min_size=32, max_size=32))
def test_a_spliced_entry_is_rfc_8785(text, index, seq, prev):
    event = EVENT | {"data": {"text": text}}
    first = seq == 0
    data = entry.build(
        **(PARTS | {"event": encode(event), "index": index, "seq": seq, "prev": None if first else prev})
    )
    value = {
        "batch": "ab" * 32,
        "event": event,
        "index": index,
        "prev": None if first else prev.hex(),
        "recorded_at": PARTS["recorded_at"],
        "salt": "ef" * 16,
        "seq": seq,
        "subject": PARTS["subject"],
        "v": 1,
    }
    assert data == rfc8785.dumps(value)
    assert entry.read(data) == value
    assert entry.event_bytes(data) == encode(event)


def test_the_event_inside_an_entry_is_found_whatever_it_says():
    """An event that looks like the rest of an entry does not move the cut."""
    text = '","index":9,"prev":null},"event":{"index":1}'
    event = EVENT | {"data": {"text": text, "event": {"index": 3}, "index": 5}}
    data = entry.build(**(PARTS | {"event": encode(event)}))
    assert entry.event_bytes(data) == encode(event)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"v": 2}, "entry.form"),
        ({"more": 1}, "entry.form"),
        ({"batch": "AB" * 32}, "entry.form"),
        ({"index": -1}, "entry.form"),
        ({"index": 100_000}, "entry.form"),
        ({"index": True}, "entry.form"),
        ({"salt": "ef" * 15}, "entry.form"),
        ({"salt": 5}, "entry.form"),
        ({"seq": -1}, "entry.form"),
        ({"seq": 0}, "entry.form"),
        ({"prev": None}, "entry.form"),
        ({"prev": "x"}, "entry.form"),
        ({"event": []}, "entry.form"),
        ({"event": {}}, "event.member"),
        ({"recorded_at": "2026-05-04T06:00:00Z"}, "time.form"),
        ({"subject": "meter"}, "subject.form"),
    ],
    ids=str,
)
def test_entries_of_another_form_are_refused(change, code):
    value = json.loads(entry.build(**PARTS)) | change
    with pytest.raises(ProofError) as refused:
        entry.read(encode(value), place="leaf 5")
    assert refused.value.code == code
    assert str(refused.value.place).startswith("leaf 5")


def test_an_entry_that_is_no_object_or_too_large():
    for data, code in ((b"[]", "entry.form"), (b" " * 65_536, "json.size"), (b'{"a":1.0}', "json.number")):
        with pytest.raises(ProofError) as refused:
            entry.read(data)
        assert refused.value.code == code


def test_the_deepest_event_fits_into_an_entry():
    """An event may be sixteen deep by itself; inside its entry it is seventeen."""
    event = json.loads((METERPROOF / "valid/events/edge-depth-16.json").read_bytes())
    assert entry.read(entry.build(**(PARTS | {"event": encode(event)})))["event"] == event


def items(count: int) -> list[ReceiptEntry]:
    return [
        ReceiptEntry(
            f"e-{n}",
            b"\x01" * 32,
            n,
            METER.format(n),
            n,
            b"\x02" * 32 if n else None,
            b"\x03" * 32,
            PARTS["recorded_at"],
        )
        for n in range(count)
    ]


def payload(**changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "log": ORIGIN,
        "batch": "ab" * 32,
        "first": 0,
        "count": 4,
        "issued_at": START,
        "merge_by": START,
        "entries": items(2),
        "duplicates": [(2, "cd" * 32)],
        "refused": [(3, "subject.form")],
    }
    built: dict[str, Any] = json.loads(receipt.build_payload(**values))
    return built | changes


def test_receipts_round_trip():
    data = receipt.sign(encode(payload()), RECEIPT_KEY)
    read = receipt.read(data)
    assert read.payload == payload()
    read.verify(KEYS, log=ORIGIN)
    for keys, log, code in (({}, ORIGIN, "receipt.key"), (KEYS, "log.example.test/other", "receipt.log")):
        with pytest.raises(ProofError) as refused:
            read.verify(keys, log=log)
        assert refused.value.code == code


ENTRY = payload()["entries"][1]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"v": 2}, "receipt.form"),
        ({"more": 1}, "receipt.form"),
        ({"log": "a b"}, "receipt.form"),
        ({"batch": "x"}, "receipt.form"),
        ({"first": -1}, "receipt.form"),
        ({"count": 0}, "receipt.form"),
        ({"issued_at": "now"}, "time.form"),
        ({"merge_by": "2026-05-04T05:59:59Z"}, "receipt.form"),
        ({"entries": {}}, "receipt.form"),
        ({"entries": [ENTRY | {"more": 1}]}, "receipt.form"),
        ({"entries": [ENTRY | {"event_id": ""}]}, "receipt.form"),
        ({"entries": [ENTRY | {"hash": "x"}]}, "receipt.form"),
        ({"entries": [ENTRY | {"seq": 0}]}, "receipt.form"),
        ({"entries": [ENTRY | {"prev": None}]}, "receipt.form"),
        ({"entries": [ENTRY | {"subject": "x"}]}, "subject.form"),
        ({"entries": [ENTRY | {"recorded_at": "2026-05-04T06:00:00Z"}]}, "time.form"),
        ({"entries": [ENTRY | {"index": "1"}]}, "receipt.form"),
        ({"duplicates": [{"index": 2}]}, "receipt.form"),
        ({"duplicates": [{"index": 2, "batch": "x"}]}, "receipt.form"),
        ({"refused": [{"index": 3, "code": "No!"}]}, "receipt.form"),
        ({"refused": []}, "receipt.coverage"),
        ({"refused": [{"index": 2, "code": "x"}]}, "receipt.coverage"),
        ({"count": 5}, "receipt.coverage"),
        ({"first": 1}, "receipt.coverage"),
        ({"entries": [ENTRY, ENTRY | {"index": 0}]}, "receipt.form"),
    ],
    ids=str,
)
def test_receipts_of_another_form_are_refused(change, code):
    with pytest.raises(ProofError) as refused:
        receipt.read(receipt.sign(encode(payload(**change)), RECEIPT_KEY))
    assert refused.value.code == code


def test_a_receipt_has_one_signature():
    data = dsse.sign(payload=encode(payload()), payload_type=dsse.RECEIPT_TYPE, keys=[RECEIPT_KEY, key_of("other")])
    with pytest.raises(ProofError) as refused:
        receipt.read(data)
    assert refused.value.code == "envelope.signatures"


CHECKPOINT = Checkpoint(ORIGIN, 9, b"\x09" * 32)
HEADS = [Head(METER.format(n), n, b"\x01" * 32) for n in (2, 1)]


def heads_payload(**changes: Any) -> dict[str, Any]:
    built: dict[str, Any] = json.loads(heads.build_payload(checkpoint=CHECKPOINT, issued_at=START, heads=HEADS))
    return built | changes


def test_heads_round_trip():
    read = heads.read(heads.sign(encode(heads_payload()), RECEIPT_KEY))
    read.verify(KEYS, checkpoint=CHECKPOINT)
    assert list(read.heads) == [METER.format(1), METER.format(2)]
    with pytest.raises(ProofError) as refused:
        read.verify(KEYS, checkpoint=Checkpoint(ORIGIN, 8, CHECKPOINT.root))
    assert refused.value.code == "heads.checkpoint"


HEAD = heads_payload()["heads"][0]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"v": 2}, "heads.form"),
        ({"more": 1}, "heads.form"),
        ({"size": 0}, "heads.form"),
        ({"root": "x"}, "heads.form"),
        ({"issued_at": "now"}, "time.form"),
        ({"heads": []}, "heads.form"),
        ({"heads": [HEAD, HEAD]}, "heads.form"),
        ({"heads": [HEAD | {"seq": -1}]}, "heads.form"),
        ({"heads": [HEAD | {"more": 1}]}, "heads.form"),
        ({"heads": [HEAD | {"subject": "x"}]}, "subject.form"),
    ],
    ids=str,
)
def test_heads_of_another_form_are_refused(change, code):
    with pytest.raises(ProofError) as refused:
        heads.read(heads.sign(encode(heads_payload(**change)), RECEIPT_KEY))
    assert refused.value.code == code


def test_heads_have_one_signature():
    keys = [RECEIPT_KEY, key_of("other")]
    with pytest.raises(ProofError) as refused:
        heads.read(dsse.sign(payload=encode(heads_payload()), payload_type=dsse.HEADS_TYPE, keys=keys))
    assert refused.value.code == "envelope.signatures"


@given(st.integers(1, 40), st.data(), st.none() | st.binary(max_size=20))
def test_proof_files_round_trip(size, data, extra):
    index = data.draw(st.integers(0, size - 1))
    hashes = [merkle.leaf_hash(b"%d" % number) for number in range(size)]
    checkpoint = Checkpoint(ORIGIN, size, merkle.root(hashes))
    signed = note.sign(checkpoint.to_text(), [note.NoteSigner(ORIGIN, key_of("log"))])
    text = build_proof(index=index, path=merkle.inclusion_path(hashes, index), checkpoint=signed, extra=extra)
    read = TlogProof.from_text(text)
    assert (read.index, read.checkpoint, read.extra) == (index, signed, extra)
    read.verify(leaf_hash=hashes[index], checkpoint=checkpoint)
    with pytest.raises(ProofError) as refused:
        read.verify(leaf_hash=b"\x00" * 32, checkpoint=checkpoint)
    assert refused.value.code == "proof.inclusion"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "c2sp.org/tlog-proof@v2\nindex 0\n\nnote",
        "c2sp.org/tlog-proof@v1\nindex 0\n",
        "c2sp.org/tlog-proof@v1\n\nnote",
        "c2sp.org/tlog-proof@v1\nindex 00\n\nnote",
        "c2sp.org/tlog-proof@v1\nindex 9007199254740992\n\nnote",
        "c2sp.org/tlog-proof@v1\nextra ?\nindex 0\n\nnote",
        "c2sp.org/tlog-proof@v1\nindex 0\nAAAA\n\nnote",
        "c2sp.org/tlog-proof@v1\nindex 0\n" + f"{'A' * 43}=\n" * 64 + "\nnote",
    ],
    ids=repr,
)
def test_what_is_no_proof_file_is_refused(text):
    with pytest.raises(ProofError) as refused:
        TlogProof.from_text(text)
    assert refused.value.code == "proof.form"


@given(
    st.lists(
        st.builds(
            ReceiptEntry,
            event_id=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}", fullmatch=True),
            event_hash=st.binary(min_size=32, max_size=32),
            index=st.integers(0, 99_999),
            subject=st.from_regex(
                r"meter:[a-z][a-z0-9_]{0,31}:(?:[A-Za-z0-9._~/+-]|%[0-9A-F]{2}){1,40}", fullmatch=True
            ),
            seq=st.integers(0, 2**31 - 1),
            prev=st.none() | st.binary(min_size=32, max_size=32),
            hash=st.binary(min_size=32, max_size=32),
            recorded_at=st.integers(0, 10**15).map(lambda ticks: format_time(START + timedelta(microseconds=ticks))),
        ),
        max_size=4,
    )
)
def test_a_spliced_receipt_is_the_canonical_form_of_what_it_says(entries):
    """Hotpath: nothing is serialised twice, and no byte differs from serialising all of it."""
    built = receipt.build_payload(
        log=ORIGIN, batch="ab" * 32, first=0, count=4, issued_at=START, merge_by=START, entries=entries
    )
    said = json.loads(built)
    assert rfc8785.dumps(said) == built
    assert [each["event_id"] for each in said["entries"]] == [
        each.event_id for each in sorted(entries, key=lambda each: each.index)
    ]
    for spelled, entry_ in zip(said["entries"], sorted(entries, key=lambda each: each.index), strict=True):
        assert (spelled["seq"], spelled["subject"], spelled["recorded_at"]) == (
            entry_.seq,
            entry_.subject,
            entry_.recorded_at,
        )
        assert (spelled["hash"], spelled["event_hash"]) == (entry_.hash.hex(), entry_.event_hash.hex())
        assert spelled["prev"] == (None if entry_.prev is None else entry_.prev.hex())
    envelope = receipt.sign(built, RECEIPT_KEY)
    assert rfc8785.dumps(json.loads(envelope)) == envelope
