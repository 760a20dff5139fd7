"""RFC 3161 tokens over a checkpoint: the official ones, our own, and those nobody should believe."""

import hashlib
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from asn1crypto import tsp
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given, settings
from hypothesis import strategies as st

from compliance.proof import time_tokens
from compliance.proof.errors import ProofError
from compliance.proof.verify import verify_file
from tests.proof.time_stamps import NOW, Authority, authority, respond
from tests.proof.vectors import VECTORS
from tests.proof.world import METER, World

FOLDER = VECTORS / "rfc3161"
CHAIN = x509.load_pem_x509_certificates((FOLDER / "ts_chain.pem").read_bytes())
DATA = (FOLDER / "data.txt").read_bytes()
OURS = authority()
TOKEN = respond(OURS, b"data")


@pytest.mark.parametrize("name", ["response-sha256.tsr", "response-sha512.tsr"])
def test_official_tokens(name):
    token = (FOLDER / name).read_bytes()
    stamp = time_tokens.verify_token(token, DATA, roots=CHAIN[1:])
    assert stamp.time.year >= 2024
    with pytest.raises(ProofError) as other:
        time_tokens.verify_token(token, DATA + b"\n", roots=CHAIN[1:])
    assert other.value.code == "time.token"
    with pytest.raises(ProofError) as untrusted:
        time_tokens.verify_token(token, DATA, roots=[OURS.root])
    assert "no way" in untrusted.value.detail


def test_the_official_request():
    """What the SHA-512 token answers: its imprint is that of the data."""
    asked = tsp.TimeStampReq.load((FOLDER / "request.der").read_bytes(), strict=True)
    assert asked["message_imprint"]["hashed_message"].native == hashlib.sha512(DATA).digest()
    answer = tsp.TimeStampResp.load((FOLDER / "response-sha512.tsr").read_bytes(), strict=True)
    stated = answer["time_stamp_token"]["content"]["encap_content_info"]["content"].parsed
    assert stated["message_imprint"].native == asked["message_imprint"].native
    assert asked["cert_req"].native


@pytest.mark.parametrize(
    "more",
    [{}, {"digest": "sha512"}, {"bare": True}, {"status": "granted_with_mods"}],
    ids=str,
)
def test_tokens_of_our_own(more):
    assert time_tokens.verify_token(respond(OURS, b"data", **more), b"data", roots=[OURS.root]).time == NOW


@pytest.mark.parametrize("pss", [False, True])
def test_rsa_tokens(pss):
    by = authority(rsa_key=True)
    assert time_tokens.verify_token(respond(by, b"data", pss=pss), b"data", roots=[by.root]).time == NOW


def test_a_root_may_be_the_authority_itself():
    token = respond(OURS, b"data", with_certificate=False)
    assert time_tokens.verify_token(token, b"data", roots=[OURS.certificate]).time == NOW


@pytest.mark.parametrize(
    ("by", "more"),
    [
        (OURS, {"status": "rejection"}),
        (OURS, {"digest": "sha1"}),
        (OURS, {"named": OURS.root}),
        (OURS, {"attributes": False}),
        (OURS, {"with_certificate": False}),
        (authority(purpose=ExtendedKeyUsageOID.CODE_SIGNING), {}),
        (authority(critical=False), {}),
        (authority(ca=False), {}),
        (authority(until=NOW - timedelta(days=1)), {}),
    ],
    ids=[
        "rejected",
        "sha1",
        "other certificate named",
        "none named",
        "no certificate",
        "code",
        "not critical",
        "no ca",
        "expired",
    ],
)
def test_tokens_that_nobody_should_believe(by, more):
    with pytest.raises(ProofError) as refused:
        time_tokens.verify_token(respond(by, b"data", **more), b"data", roots=[by.root], place="time_tokens/0")
    assert (refused.value.code, refused.value.place) == ("time.token", "time_tokens/0")


def states(by: Authority, **more: Any) -> bool:
    """Whether a token of `by` says when; every refusal is by `time.token`."""
    try:
        stamp = time_tokens.verify_token(respond(by, b"data", **more), b"data", roots=[by.root])
    except ProofError as refused:
        assert refused.code == "time.token"  # noqa: PT017 - both answers are asked for
        return False
    assert (stamp.time, stamp.authority) == (NOW, "CN=Test time stamps")
    return True


def test_the_signer_may_be_named_by_its_key() -> None:
    assert states(OURS, by_key=True)
    assert not states(OURS, by_key=True, with_certificate=False)


def test_an_older_attribute_may_name_the_certificate() -> None:
    assert states(OURS, old_attribute=True)
    assert not states(OURS, old_attribute=True, named=OURS.root)


def test_another_content_is_named() -> None:
    assert not states(OURS, content_type="data")


def test_one_signer_and_some_certificates() -> None:
    assert not states(OURS, signers=0)
    assert not states(OURS, signers=2)
    for spare, good in ((time_tokens.MAX_CERTIFICATES - 1, True), (time_tokens.MAX_CERTIFICATES, False)):
        assert states(replace(OURS, between=(OURS.root,) * spare)) == good


@pytest.mark.parametrize("kind", ["ec", "rsa", "pss", "ed25519"])
def test_signatures_of_each_kind_are_checked(kind: str) -> None:
    key = ed25519.Ed25519PrivateKey.generate() if kind == "ed25519" else None
    by = authority(rsa_key=kind in ("rsa", "pss"), key=key)
    assert states(by, pss=kind == "pss")
    for wrong in (b"", b"\x00" * 64, b"\x00" * 256):
        assert not states(by, pss=kind == "pss", signature=wrong)


@pytest.mark.parametrize(("between", "good"), [(0, True), (1, True), (5, True), (6, False)])
def test_a_chain_of_some_certificates(between: int, good: bool) -> None:
    assert states(authority(between=between)) == good


@pytest.mark.parametrize(("between", "path_length", "good"), [(0, 0, True), (1, 0, False), (1, 1, True), (2, 1, False)])
def test_a_root_limits_what_is_below_it(between: int, path_length: int, good: bool) -> None:
    assert states(authority(between=between, path_length=path_length)) == good


@pytest.mark.parametrize("usage", [True, False])
def test_a_root_may_be_for_other_things_than_certificates(usage: bool) -> None:
    assert states(authority(signs_certificates=usage)) == usage


@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
@given(st.data())
@settings(max_examples=150)
def test_a_token_changed_by_one_byte_never_states_another_time(data):
    """Either refused, or what it states is the same: bytes outside the signature carry no statement."""
    token = bytearray(TOKEN)
    at = data.draw(st.integers(0, len(token) - 1))
    token[at] ^= data.draw(st.integers(1, 255))
    try:
        stamp = time_tokens.verify_token(bytes(token), b"data", roots=[OURS.root])
    except ProofError as refused:
        assert refused.code == "time.token"  # noqa: PT017 - most changes are refused
    else:
        assert stamp.time == NOW


@given(st.binary(max_size=200))
def test_any_bytes_are_no_token(data):
    with pytest.raises(ProofError) as refused:
        time_tokens.verify_token(data, b"data", roots=[OURS.root])
    assert refused.value.code == "time.token"


def test_a_token_too_large_is_not_read():
    with pytest.raises(ProofError):
        time_tokens.verify_token(b"\x30" * (time_tokens.MAX_TOKEN_BYTES + 1), b"", roots=[])


def test_the_time_of_a_checkpoint_in_a_bundle(world: World, tmp_path):
    """Checked with your roots; said to be unchecked without them; bad if the token is over another checkpoint."""
    trust = world.write_trust(tmp_path / "trust")
    world.append("acme", ["acme"], [world.event(METER.format(1), "mfg.assembled")])
    file = tmp_path / "bundle.proof"
    file.write_bytes(world.bundle(METER.format(1), time_tokens=[respond(OURS, world.note().encode())]))

    without = verify_file(file, trust)
    assert without.exit_status == 0
    assert any("1 time tokens unchecked: tsa-root.crt is not in your trust folder" in said for said in without.notes)

    (trust / "tsa-root.crt").write_bytes(OURS.root.public_bytes(serialization.Encoding.PEM))
    checked = verify_file(file, trust)
    assert checked.error is None, checked.error
    assert checked.facts["times"] == ["2026-05-04T06:30:00.000000Z"]
    assert not checked.notes

    file.write_bytes(world.bundle(METER.format(1), time_tokens=[respond(OURS, b"another checkpoint")]))
    bad = verify_file(file, trust)
    assert bad.error is not None
    assert (bad.error.code, bad.error.place, bad.exit_status) == ("time.token", "time_tokens/0", 1)
