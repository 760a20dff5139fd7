"""Keys and DSSE envelopes."""

import base64
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st

from compliance.proof import dsse
from compliance.proof.canonical import encode
from compliance.proof.errors import ProofError
from compliance.proof.keys import ECDSA_P256, ED25519, PrivateKey, PublicKey, is_keyid
from tests.proof.vectors import load
from tests.proof.world import key_of

ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
DER, PEM = serialization.Encoding.DER, serialization.Encoding.PEM
SPKI = serialization.PublicFormat.SubjectPublicKeyInfo


@pytest.mark.parametrize("algorithm", [ED25519, ECDSA_P256])
def test_keys_round_trip_and_sign(algorithm):
    key = PrivateKey.generate(algorithm)
    assert PublicKey.from_object(key.public.to_object()) == key.public
    assert is_keyid(key.public.keyid)
    for again in (PrivateKey.from_pem(key.to_pem()), PrivateKey.from_pem(key.to_pem(b"secret"), b"secret")):
        assert again.public == key.public
        signature = again.sign(b"message")
        assert len(signature) == 64
        key.public.verify(signature, b"message")
        with pytest.raises(ProofError) as refused:
            key.public.verify(signature, b"massage")
        assert refused.value.code == "envelope.signature"


def test_both_forms_of_an_ecdsa_signature_are_valid():
    key = key_of("p256", ECDSA_P256)
    signature = key.sign(b"message")
    other = signature[:32] + (ORDER - int.from_bytes(signature[32:], "big")).to_bytes(32, "big")
    key.public.verify(other, b"message")


@pytest.mark.parametrize("algorithm", [ED25519, ECDSA_P256])
@pytest.mark.parametrize("signature", [b"", b"\x00" * 63, b"\x00" * 64, b"\xff" * 64, b"\x00" * 65])
def test_no_signature_of_another_form_verifies(algorithm, signature):
    assert not key_of("any", algorithm).public.signed(signature, b"message")


def bad_ders() -> list[bytes]:
    good = key_of("p256", ECDSA_P256).public.der
    p384 = ec.generate_private_key(ec.SECP384R1()).public_key().public_bytes(DER, SPKI)
    big = rsa.generate_private_key(65_537, 2_048).public_key().public_bytes(DER, SPKI)
    numbers = serialization.load_der_public_key(good).public_numbers()  # type: ignore[union-attr]
    compressed = good[:1] + bytes([good[1] - 32]) + good[2:24] + bytes([good[24] - 32]) + b"\x00"
    compressed += bytes([2 + (numbers.y & 1)]) + numbers.x.to_bytes(32, "big")  # type: ignore[union-attr]
    ed = key_of("ed").public.der
    return [b"", b"\x30", good[:-1], good + b"\x00", p384, big, compressed, ed + b"\x00", b"\x00" * 44]


@pytest.mark.parametrize("number", range(9))
def test_other_keys_are_refused(number):
    with pytest.raises(ProofError) as refused:
        PublicKey.from_der(bad_ders()[number])
    assert refused.value.code == "key.form"


@pytest.mark.parametrize(
    "raw",
    [
        "00" * 32,
        "01" + "00" * 31,
        "01" + "00" * 30 + "80",
        "ec" + "ff" * 30 + "7f",
        "ed" + "ff" * 30 + "7f",
        "ee" + "ff" * 30 + "7f",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "00" * 31,
    ],
)
def test_points_under_which_anyone_can_sign_are_no_keys(raw):
    """T2: who registers such a "key" could deny everything signed with it."""
    with pytest.raises(ProofError) as refused:
        PublicKey.from_raw_ed25519(bytes.fromhex(raw))
    assert refused.value.code == "key.form"


@pytest.mark.parametrize(
    "change",
    [
        {"algorithm": ECDSA_P256},
        {"keyid": "sha256:" + "0" * 64},
        {"public_key": "not base64"},
        {"public_key": None},
        {"more": 1},
    ],
    ids=str,
)
def test_key_objects_of_another_form_are_refused(change):
    with pytest.raises(ProofError) as refused:
        PublicKey.from_object(key_of("ed").public.to_object() | change)
    assert refused.value.code == "key.form"


def test_private_keys_of_other_kinds_are_refused():
    pkcs8, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    other = rsa.generate_private_key(65_537, 2_048).private_bytes(PEM, pkcs8, plain)
    p384 = ec.generate_private_key(ec.SECP384R1()).private_bytes(PEM, pkcs8, plain)
    for pem in (other, p384, b"", key_of("ed").to_pem(b"secret")):
        with pytest.raises(ProofError) as refused:
            PrivateKey.from_pem(pem)
        assert refused.value.code == "key.form"
    with pytest.raises(ProofError):
        PrivateKey.generate("rsa")
    with pytest.raises(ProofError):
        _ = key_of("p256", ECDSA_P256).public.raw


def test_the_official_dsse_vector():
    vector = load("dsse/hello.json")
    payload, kind = vector["payload_utf8"].encode(), vector["payloadType"]
    message = dsse.pre_authentication_encoding(kind, payload)
    assert message.decode() == vector["pae"]
    numbers = ec.EllipticCurvePublicNumbers(int(vector["key"]["x"]), int(vector["key"]["y"]), ec.SECP256R1())
    key = PublicKey.from_der(numbers.public_key().public_bytes(DER, SPKI))
    signature = base64.b64decode(vector["envelope"]["signatures"][0]["sig"])
    key.verify(signature, message)
    assert base64.b64decode(vector["envelope"]["payload"]) == payload


@given(st.binary(max_size=200), st.sets(st.sampled_from("abcdefgh"), min_size=1, max_size=8))
def test_envelopes_round_trip(payload, names):
    keys = [key_of(name, ECDSA_P256 if name < "d" else ED25519) for name in names]
    data = dsse.sign(payload=payload, payload_type=dsse.BATCH_TYPE, keys=keys)
    envelope = dsse.read_envelope(data, payload_type=dsse.BATCH_TYPE)
    assert envelope.payload == payload
    assert list(envelope.keyids) == sorted(key.public.keyid for key in keys)
    assert encode(envelope.to_object()) == data
    envelope.verify({key.public.keyid: key.public for key in keys})
    with pytest.raises(ProofError) as refused:
        envelope.verify({})
    assert refused.value.code == "key.unknown"


def test_a_signature_is_worth_nothing_under_another_type():
    key = key_of("ed")
    data = dsse.sign(payload=b"{}", payload_type=dsse.RECEIPT_TYPE, keys=[key])
    moved = dsse.Envelope(
        b"{}", dsse.HEADS_TYPE, dsse.read_envelope(data, payload_type=dsse.RECEIPT_TYPE).signatures, b""
    )
    with pytest.raises(ProofError) as refused:
        moved.verify({key.public.keyid: key.public})
    assert refused.value.code == "envelope.signature"


def envelope_object() -> dict[str, Any]:
    keys = [key_of("a"), key_of("b")]
    data = dsse.sign(payload=b"{}", payload_type=dsse.BATCH_TYPE, keys=keys)
    return dsse.read_envelope(data, payload_type=dsse.BATCH_TYPE).to_object()


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda value: value.update(more=1), "envelope.form"),
        (lambda value: value.update(payload="a"), "envelope.form"),
        (lambda value: value.update(payload=1), "envelope.form"),
        (lambda value: value.update(payloadType="text/plain"), "envelope.payload_type"),
        (lambda value: value.update(payloadType=dsse.HEADS_TYPE), "envelope.payload_type"),
        (lambda value: value.update(signatures={}), "envelope.form"),
        (lambda value: value.update(signatures=[]), "envelope.signatures"),
        (lambda value: value["signatures"].reverse(), "envelope.signatures"),
        (lambda value: value["signatures"].append(value["signatures"][-1]), "envelope.signatures"),
        (lambda value: value["signatures"][0].update(sig="AAAA"), "envelope.form"),
        (lambda value: value["signatures"][0].update(keyid="sha256:x"), "envelope.form"),
        (lambda value: value["signatures"][0].pop("sig"), "envelope.form"),
        (lambda value: value.update(payload="A" * 16_384), "envelope.size"),
    ],
)
def test_envelopes_of_another_form_are_refused(change, code):
    value = envelope_object()
    change(value)
    for data in (value, encode(value)):
        with pytest.raises(ProofError) as refused:
            dsse.read_envelope(data, payload_type=dsse.BATCH_TYPE)
        assert refused.value.code == code


def test_nine_signatures_are_too_many():
    with pytest.raises(ProofError) as refused:
        dsse.sign(payload=b"", payload_type=dsse.BATCH_TYPE, keys=[key_of(name) for name in "abcdefghi"])
    assert refused.value.code == "envelope.signatures"


def test_a_raw_key_is_the_one_of_its_der():
    private = ed25519.Ed25519PrivateKey.generate()
    raw = private.public_key().public_bytes_raw()
    assert PublicKey.from_raw_ed25519(raw).raw == raw
