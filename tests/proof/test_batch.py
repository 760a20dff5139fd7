"""Batches on the wire: both forms, bad lines that do not hide the others, and the batches nobody may take."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compliance.proof import batch, canonical, dsse, merkle
from compliance.proof.canonical import encode
from compliance.proof.errors import ProofError
from tests.proof.vectors import METERPROOF, case
from tests.proof.world import METER, ORIGIN, START, World, key_of

TIME = "2026-05-04T06:00:00Z"


def make(count: int = 3, **more: Any) -> batch.SignedBatch:
    world = World()
    events = [world.event(METER.format(number), "mfg.assembled", {"note": "ü ok"}) for number in range(count)]
    values = {
        "events": events,
        "log": ORIGIN,
        "issuer": "acme",
        "source": "st-1",
        "sequence": 4,
        "created": START,
        "keys": [key_of("acme")],
    }
    return batch.build(**(values | more))


def as_json(signed: batch.SignedBatch, indent: int | None = None) -> bytes:
    events = [json.loads(line) for line in signed.event_lines]
    return json.dumps({"envelope": json.loads(signed.envelope), "events": events}, indent=indent).encode()


def resigned(payload: dict[str, Any], lines: tuple[bytes, ...]) -> bytes:
    """A batch file whose payload is anything, well signed."""
    envelope = dsse.sign(payload=encode(payload), payload_type=dsse.BATCH_TYPE, keys=[key_of("acme")])
    return b"\n".join((envelope, *lines, b""))


@given(st.integers(1, 20))
def test_both_forms_are_the_same_batch(count):
    signed = make(count)
    for data in (signed.ndjson, signed.ndjson[:-1], as_json(signed), as_json(signed, indent=2)):
        read = batch.read(data)
        assert (read.batch_id, read.envelope, read.payload) == (signed.batch_id, signed.envelope, signed.payload)
        assert [item.canonical for item in read.events] == list(signed.event_lines)
        assert [item.index for item in read.events] == list(range(count))
        assert read.event_hashes == tuple(merkle.leaf_hash(line) for line in signed.event_lines)
        assert read.author == "acme"
        assert not read.problems
    assert batch.read(signed.ndjson, media_type=batch.NDJSON).batch_id == signed.batch_id
    assert batch.read(as_json(signed), media_type=batch.JSON_DOCUMENT).batch_id == signed.batch_id


def test_events_may_be_sent_in_another_spelling():
    signed = make(2)
    loose = [json.dumps(json.loads(line), ensure_ascii=True).encode() for line in signed.event_lines]
    assert loose[0] != signed.event_lines[0]
    envelope = json.dumps(json.loads(signed.envelope)).encode()
    read = batch.read(b"\n".join((envelope, *loose)))
    assert read.batch_id == signed.batch_id
    assert [item.canonical for item in read.events] == list(signed.event_lines)


def test_bad_lines_are_collected_with_index_line_and_pointer():
    """A bad line never hides the next; while one could not be read at all, the root cannot be checked."""
    signed = make(5)
    lines = list(signed.event_lines)
    lines[1] = b'{"v":1.5}'
    lines[3] = lines[3].replace(b'"schema":1', b'"schema":0')
    read = batch.read(b"\n".join((signed.envelope, *lines)))
    assert [(index, line, error.code, error.pointer) for index, line, error in read.problems] == [
        (1, 3, "json.number", "/v"),
        (3, 5, "event.value", "/schema"),
    ]
    assert [item.index for item in read.events] == [0, 2, 4]
    assert read.event_hashes is None


def test_bad_events_that_can_be_read_still_count_for_the_root():
    world = World()
    good, bad = (
        world.event(METER.format(1), "mfg.assembled"),
        world.event(METER.format(2), "mfg.assembled") | {"schema": 0},
    )
    lines = encode(good), encode(bad), encode(good)
    payload = dict(make().payload) | {
        "count": 3,
        "root": merkle.root([merkle.leaf_hash(line) for line in lines]).hex(),
    }
    read = batch.read(resigned(payload, lines))
    assert [(index, error.code) for index, _, error in read.problems] == [(1, "event.value"), (2, "event.id_twice")]
    assert len(read.event_hashes or ()) == 3


def test_in_json_a_problem_names_the_line_where_its_event_begins():
    signed = make(2)
    data = as_json(signed, indent=1).replace(b'"schema": 1', b'"schema": 1e3', 1)
    read = batch.read(data)
    ((index, line, error),) = read.problems
    assert (index, error.code) == (0, "json.number")
    assert data.split(b"\n")[line - 1].strip() == b"{"


def test_a_platform_type_of_a_sender_is_a_problem_of_its_line():
    world = World()
    signed = make(events=[world.event(METER.format(1), "report.issued")])
    assert [error.code for _, _, error in batch.read(signed.ndjson).problems] == ["event.authority"]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"v": 2}, "batch.form"),
        ({"v": True}, "batch.form"),
        ({"tree": "md5"}, "batch.form"),
        ({"log": "a b"}, "batch.form"),
        ({"issuer": "ACME"}, "batch.form"),
        ({"source": ""}, "batch.form"),
        ({"sequence": -1}, "batch.form"),
        ({"sequence": "1"}, "batch.form"),
        ({"created": "now"}, "time.form"),
        ({"count": 0}, "batch.form"),
        ({"count": 100_001}, "batch.form"),
        ({"count": 2}, "batch.count"),
        ({"root": "x"}, "batch.form"),
        ({"root": "0" * 64}, "batch.root"),
        ({"more": 1}, "batch.form"),
        ({"on_behalf_of": "acme"}, "batch.vouching"),
        ({"on_behalf_of": "acme", "credential": "c"}, "batch.vouching"),
        ({"on_behalf_of": "acme", "issuer": "platform"}, "batch.vouching"),
        ({"on_behalf_of": "ACME", "credential": "c", "issuer": "platform"}, "batch.form"),
    ],
    ids=str,
)
def test_payloads_of_another_form_are_refused(change, code):
    signed = make()
    with pytest.raises(ProofError) as refused:
        batch.read(resigned(signed.payload | change, signed.event_lines))
    assert refused.value.code == code


def test_what_a_builder_cannot_sign():
    world = World()
    event = world.event(METER.format(1), "mfg.assembled")
    for events, code in (
        ([], "batch.form"),
        ([event | {"schema": 0}], "event.value"),
        ([event | {"data": {"x": 1.5}}], "json.number"),
        ([event | {"data": {"x": ["y" * 8_000] * 8}}], "json.size"),
        ([event | {"data": {"x": "y" * 8_193}}], "json.string_size"),
    ):
        with pytest.raises(ProofError) as refused:
            make(events=events)
        assert refused.value.code == code
    with pytest.raises(ProofError):
        make(on_behalf_of="zeta")


def test_vouching_names_the_author():
    signed = make(issuer="platform", on_behalf_of="acme", credential="key-7")
    assert batch.read(signed.ndjson).author == "acme"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "envelope.form"),
        (b"\n", "json.syntax"),
        (b"[]", "envelope.form"),
        (b"{}\n{}", "envelope.form"),
        (b"not json\n{}", "json.syntax"),
        (b'{"envelope":{}}', "envelope.form"),
        (b'{"envelope":{},"events":[],"events":[]}', "json.duplicate_name"),
        (b'{"envelope":[],"events":[]}', "envelope.form"),
        (b'{"envelope":{},"events":{}}', "json.syntax"),
    ],
)
def test_what_is_no_batch_is_refused(data, code):
    with pytest.raises(ProofError) as refused:
        batch.read(data)
    assert refused.value.code == code


def test_an_empty_line_is_a_problem():
    signed = make(1)
    payload = signed.payload | {"count": 2}
    read = batch.read(resigned(payload, (*signed.event_lines, b"")))
    assert [error.code for _, _, error in read.problems] == ["json.syntax"]


def test_a_file_too_large_is_refused(monkeypatch):
    monkeypatch.setattr(batch, "MAX_BATCH_BYTES", 10)
    with pytest.raises(ProofError) as refused:
        batch.read(make().ndjson)
    assert refused.value.code == "json.size"


def test_both_forms_of_one_ecdsa_signature_are_two_batches_of_one_payload():
    one, other = (batch.read((METERPROOF / case(f"batch-{name}")["file"]).read_bytes()) for name in ("s", "n-minus-s"))
    assert one.batch_id != other.batch_id
    assert one.payload_sha256 == other.payload_sha256


def test_an_event_of_a_batch_is_read_as_alone():
    for line in make(3).event_lines:
        value, data = canonical.read_event_line(line)
        assert data == line
        assert encode(value) == line


def test_in_json_every_line_is_counted_before_and_between_the_events():
    signed = make(4)
    envelope, *lines = signed.ndjson.split(b"\n")[:-1]
    lines[2] = lines[2].replace(b'"schema":1', b'"schema":1.5')
    data = b'{\n\n"envelope":' + envelope + b',\n"events":[\n' + b",\n\n".join(lines) + b"\n]}"
    ((index, line, error),) = batch.read(data).problems
    assert (index, line, error.code) == (2, 9, "json.number")
    assert data.split(b"\n")[line - 1].startswith(b'{"actor"')
    for wrong, place in ((b"{}", "events"), (b"[1,]", "events")):
        with pytest.raises(ProofError) as refused:
            batch.read(b'{"envelope":' + envelope + b',"events":' + wrong + b"}")
        assert (refused.value.code, str(refused.value.place).split(",")[0]) == ("json.syntax", place)


@pytest.mark.parametrize("spare", [-1, 0])
def test_a_batch_is_read_up_to_its_size(spare: int, monkeypatch: pytest.MonkeyPatch):
    signed = make(2)
    monkeypatch.setattr(batch, "MAX_BATCH_BYTES", len(signed.ndjson) + spare)
    if not spare:
        assert len(batch.read(signed.ndjson).events) == 2
        return
    with pytest.raises(ProofError) as refused:
        batch.read(signed.ndjson)
    assert refused.value.code == "json.size"
