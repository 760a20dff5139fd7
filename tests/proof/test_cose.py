"""COSE receipts: deterministic CBOR, inclusion and consistency, and others who read them (cbor2, scitt-cose)."""

import hashlib
import io
from dataclasses import replace

import cbor2
import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import given, settings
from hypothesis import strategies as st
from scitt_cose import cose_sign1
from scitt_cose import merkle as other_merkle
from scitt_cose.receipt import verify_receipt

from compliance.proof import cbor, cose, cose_receipt, merkle
from compliance.proof.cbor import Tagged
from compliance.proof.cose_receipt import ConsistencyReceipt, InclusionReceipt
from compliance.proof.errors import ProofError
from compliance.proof.keys import ECDSA_P256, ED25519, PrivateKey, PublicKey
from tests.proof.vectors import VECTORS
from tests.proof.world import key_of

VECTOR = (VECTORS / "cose-receipts/inclusion-receipt.cbor").read_bytes()
LOG = "log.example.test/a"
METER = "meter:dlms_system_title:414C450000000001"
ENTRIES = [b"entry %d" % number for number in range(21)]
HASHES = [merkle.leaf_hash(entry) for entry in ENTRIES]
AT = 1_777_878_000  # 2026-05-04T07:00:00Z
KEY = key_of("receipt")
KEYS = {KEY.public.keyid: KEY.public}

keys_of_maps = st.integers(-(2**64), 2**64 - 1) | st.text(max_size=8)
values = st.recursive(
    st.none() | st.integers(-(2**64), 2**64 - 1) | st.binary(max_size=300) | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys_of_maps, inner, max_size=4),
    max_leaves=12,
)


def depth(value: object) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max((depth(item) for item in inner), default=0)


def refusal(data: bytes, read=cbor.decode) -> str:
    with pytest.raises(ProofError) as refused:
        read(data)
    return refused.value.code


def inclusion(index: int = 5, size: int = 13, *, key: PrivateKey = KEY, subject: str = METER, log: str = LOG) -> bytes:
    return cose_receipt.sign_inclusion(
        log=log,
        subject=subject,
        index=index,
        size=size,
        path=merkle.inclusion_path(HASHES[:size], index),
        root=merkle.root(HASHES[:size]),
        at=AT,
        key=key,
    )


def consistency(first: int = 5, second: int = 13, *, key: PrivateKey = KEY) -> bytes:
    return cose_receipt.sign_consistency(
        log=LOG,
        first=first,
        second=second,
        path=merkle.consistency_path(HASHES[:second], first),
        root=merkle.root(HASHES[:second]),
        at=AT,
        key=key,
    )


def verify(data: bytes, *, keys: dict[str, PublicKey] = KEYS, index: int = 5, first: int = 5) -> bytes:
    """As the command does: by the kind of receipt it turns out to be."""
    read = cose_receipt.read(data)
    if isinstance(read, InclusionReceipt):
        return read.verify(keys, log=LOG, entry=ENTRIES[index], subject=METER)
    return read.verify(keys, log=LOG, first_root=merkle.root(HASHES[:first]))


def pem(key: PrivateKey) -> bytes:
    loaded = serialization.load_der_public_key(key.public.der)
    return loaded.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


class TestCbor:
    """RFC 8949 section 4.2.1."""

    @settings(max_examples=50)
    @given(values.filter(lambda value: depth(value) <= cbor.MAX_DEPTH))
    def test_each_value_has_one_encoding_that_others_read(self, value):
        data = cbor.encode(value)
        assert cbor.decode(data) == value
        assert cbor2.loads(data) == value

    @given(st.binary(max_size=40))
    @settings(max_examples=200)
    def test_whatever_is_read_is_what_would_be_written(self, data):
        try:
            value = cbor.decode(data)
        except ProofError:
            return
        assert cbor.encode(value) == data

    @settings(max_examples=50)
    @given(values.filter(lambda value: depth(value) <= cbor.MAX_DEPTH))
    def test_the_beginning_of_a_value_is_none(self, value):
        data = cbor.encode(value)
        for end in range(len(data))[:: max(1, len(data) // 8)]:
            assert refusal(data[:end]) == "cbor.form"
        assert refusal(data + b"\x00") == "cbor.form"

    @pytest.mark.parametrize(
        ("data", "code"),
        [
            ("1800", "cbor.order"),  # 0 in two bytes
            ("190017", "cbor.order"),
            ("1a0000ffff", "cbor.order"),
            ("1b00000000ffffffff", "cbor.order"),
            ("3817", "cbor.order"),  # -24 in two bytes
            ("5800", "cbor.order"),
            ("5f4100ff", "cbor.order"),  # indefinite lengths: bytes, text, array, map
            ("7f6100ff", "cbor.order"),
            ("9f00ff", "cbor.order"),
            ("bf0000ff", "cbor.order"),
            ("1c", "cbor.order"),  # reserved heads
            ("a201000100", "cbor.order"),  # a key twice
            ("a202000100", "cbor.order"),  # keys the wrong way round
            ("a220001903e800", "cbor.order"),  # by length first, as RFC 7049 had it
            ("a1400000", "cbor.form"),
            ("a14000", "cbor.form"),  # bytes as a key
            ("a1f600", "cbor.form"),  # null as a key
            ("f4", "cbor.form"),  # false
            ("f7", "cbor.form"),  # undefined
            ("f90000", "cbor.form"),  # 0.0
            ("fb0000000000000000", "cbor.form"),
            ("f8ff", "cbor.form"),
            ("ff", "cbor.form"),
            ("61ff", "cbor.form"),  # not UTF-8
            ("63eda080", "cbor.form"),  # half of a surrogate pair
            ("9bffffffffffffffff", "cbor.form"),  # more items than there are bytes
            ("bbffffffffffffffff", "cbor.form"),
            ("5bffffffffffffffff00", "cbor.form"),
            ("81" * 8 + "00", "cbor.form"),  # nine levels
            ("c1" * 300 + "00", "cbor.form"),
            ("", "cbor.form"),
        ],
    )
    def test_what_is_refused(self, data, code):
        assert refusal(bytes.fromhex(data)) == code

    def test_the_limits(self):
        assert cbor.decode(bytes.fromhex("81" * 7 + "00"))
        assert refusal(b"\x59\xff\xff" + bytes(65_535)) == "cbor.size"
        for value in (True, 1.5, {b"key": 1} | {1: object()}, 2**64, -(2**64) - 1, {1}):
            with pytest.raises(ProofError, match=r"cbor\.form"):
                cbor.encode(value)


class TestTheDraftsReceipt:
    """Published with the draft of RFC 9942: an unknown key, a header that is not deterministic, no `sub`."""

    def test_its_header_is_not_in_the_one_order_and_that_is_said(self):
        with pytest.raises(ProofError) as refused:
            cose.read(VECTOR)
        assert (refused.value.code, refused.value.place) == ("cbor.order", "protected header")

    def test_it_has_the_shape_that_ours_have(self):
        """Put into the one order, it is read up to the claims; the proof inside reads as the draft's CDDL says."""
        outer = cbor.decode(VECTOR)
        assert outer.tag == cose.SIGN1_TAG
        protected, unprotected, payload, signature = outer.value
        headers = cbor2.loads(protected)
        assert headers[cose.ALGORITHM] == cose.ES256
        assert headers[cose_receipt.STRUCTURE] == cose_receipt.RFC9162_SHA256
        assert headers[cose.CLAIMS] == {cose.ISSUER: "https://transparency-service.example.com"}
        assert payload is None
        assert len(signature) == 64
        ordered = cbor.encode(Tagged(18, [cbor.encode(headers), unprotected, None, signature]))
        assert cose.read(ordered).headers == headers
        assert refusal(ordered, cose_receipt.read) == "cose.form"  # a key id of ten bytes
        size, index, path = cbor.decode(unprotected[cose_receipt.PROOFS][cose_receipt.INCLUSION][0])
        assert (size, index, len(path)) == (5, 3, 3)
        root = merkle.inclusion_root(leaf_hash=HASHES[0], index=index, size=size, path=path)
        assert root.hex() == other_merkle.root_from_inclusion_proof(
            ENTRIES[0].hex(), index, size, [sibling.hex() for sibling in path]
        )

    def test_our_receipts_fit_its_cddl(self):
        """Labels and order of the parts as in the CDDL beside it."""
        cddl = (VECTORS / "cose-receipts/inclusion-receipt.cddl").read_text()
        for label in ("#6.18(", "&(alg: 1)", "&(vds: 395)", "&(vdp: 396)", "&(inclusion-proof: -1)"):
            assert label in cddl
        protected, unprotected, payload, signature = cbor2.loads(inclusion()).value
        headers = cbor2.loads(protected)
        assert (headers[1], headers[395]) == (cose.EDDSA, 1)
        (proof,) = unprotected[396][-1]
        size, index, path = cbor2.loads(proof)
        assert (size, index, len(path)) == (13, 5, 4)
        assert (payload, type(signature)) == (None, bytes)


class TestReceipts:
    """What ours say, and that nothing else is taken for them."""

    @given(st.integers(2, len(ENTRIES)), st.data())
    @settings(max_examples=40)
    def test_round_trip_of_inclusion(self, size, data):
        index = data.draw(st.integers(0, size - 1))
        read = cose_receipt.read(inclusion(index, size))
        assert isinstance(read, InclusionReceipt)
        assert (read.issuer, read.subject, read.size, read.index) == (LOG, METER, size, index)
        assert read.issued_at == "2026-05-04T07:00:00Z"
        root = read.verify(KEYS, log=LOG, entry=ENTRIES[index], subject=METER)
        assert root == merkle.root(HASHES[:size])
        with pytest.raises(ProofError, match=r"cose\.signature"):
            read.verify(KEYS, log=LOG, entry=ENTRIES[index] + b" ", subject=METER)

    @given(st.integers(2, len(ENTRIES)), st.data())
    @settings(max_examples=40)
    def test_round_trip_of_consistency(self, second, data):
        first = data.draw(st.integers(1, second - 1))
        read = cose_receipt.read(consistency(first, second))
        assert isinstance(read, ConsistencyReceipt)
        assert (read.subject, read.first, read.second) == (f"log:origin:{LOG}", first, second)
        assert read.verify(KEYS, log=LOG, first_root=merkle.root(HASHES[:first])) == merkle.root(HASHES[:second])
        with pytest.raises(ProofError) as refused:
            read.verify(KEYS, log=LOG, first_root=merkle.root(HASHES[1 : first + 1]))
        assert refused.value.code in ("proof.consistency", "cose.signature")

    @pytest.mark.parametrize("algorithm", [ED25519, ECDSA_P256])
    @pytest.mark.parametrize("make", [inclusion, consistency])
    def test_every_changed_byte_is_refused(self, make, algorithm):
        key = key_of("receipt", algorithm)
        keys = {key.public.keyid: key.public}
        data = make(key=key)
        verify(data, keys=keys)
        for position in range(len(data)):
            broken = bytearray(data)
            broken[position] ^= 1 << position % 8
            with pytest.raises(ProofError):
                verify(bytes(broken), keys=keys)
        for end in range(0, len(data), 7):
            with pytest.raises(ProofError):
                verify(data[:end], keys=keys)

    def test_numbers_that_lead_the_same_way_are_refused(self):
        """RFC 9942 leaves the proof outside the signature: leaf 0 of 3 and of 4 have paths of the same shape."""
        read = cose.read(inclusion(0, 3))
        proof = cbor.decode(read.unprotected[cose_receipt.PROOFS][cose_receipt.INCLUSION][0])
        moved = cbor.encode([4, *proof[1:]])
        assert merkle.inclusion_root(leaf_hash=HASHES[0], index=0, size=4, path=proof[2]) == merkle.root(HASHES[:3])
        parts = [read.protected, {cose_receipt.PROOFS: {cose_receipt.INCLUSION: [moved]}}, None, read.signature]
        forged = cbor.encode(Tagged(18, parts))
        assert verify_receipt(forged, leaf_entry_hex=ENTRIES[0].hex(), log_public_key_pem=pem(KEY)).ok
        assert refusal(forged, cose_receipt.read) == "cose.claims"

    def test_whose_and_which(self):
        other = key_of("other")
        read = cose_receipt.read(inclusion())
        for wanted, keys, log, subject in [
            ("receipt.key", {other.public.keyid: other.public}, LOG, METER),
            ("receipt.log", KEYS, "log.example.test/b", METER),
            ("cose.claims", KEYS, LOG, "meter:dlms_system_title:414C450000000002"),
        ]:
            with pytest.raises(ProofError) as refused:
                read.verify(keys, log=log, entry=ENTRIES[5], subject=subject)
            assert refused.value.code == wanted
        about_a_meter = replace(cose_receipt.read(consistency()), subject=METER)
        with pytest.raises(ProofError, match=r"cose\.claims"):
            about_a_meter.verify(KEYS, log=LOG, first_root=merkle.root(HASHES[:5]))

    def test_the_algorithm_is_the_keys(self):
        """A header that names another algorithm is refused before anything is verified with it."""
        headers = {1: cose.ES256, 4: cose.thumbprint(KEY.public), **cose_receipt.read(inclusion()).signed.headers}
        headers[1] = cose.ES256
        protected = cbor.encode(headers)
        root = merkle.root(HASHES[:13])
        signature = KEY.sign(cose.to_be_signed(protected, root))
        parts = [protected, cose.read(inclusion()).unprotected, None, signature]
        with pytest.raises(ProofError) as refused:
            verify(cbor.encode(Tagged(18, parts)))
        assert refused.value.code == "cose.algorithm"

    def test_what_has_no_receipt(self):
        for sizes in [(0, 5), (5, 5)]:
            with pytest.raises(ProofError, match=r"cose\.form"):
                consistency(*sizes)
        with pytest.raises(ProofError, match=r"cose\.form"):
            inclusion(0, 1)

    @pytest.mark.parametrize(
        ("position", "part"),
        [
            (1, {}),
            (1, {396: {}}),
            (1, {396: {-1: []}}),
            (1, {396: {-3: [b""]}}),
            (1, {396: {-1: [5]}}),
            (1, {396: {-1: [cbor.encode([13, 5, []])]}}),
            (1, {396: {-1: [cbor.encode([13, 5, [bytes(31)]])]}}),
            (1, {396: {-1: [cbor.encode([13, 5, [bytes(32)] * 64])]}}),
            (1, {396: {-1: [cbor.encode([13, -5, [bytes(32)]])]}}),
            (1, {396: {-1: [cbor.encode([13, 5, [bytes(32)]])] * 2}}),
            (1, {396: {-1: [cbor.encode([13, 5, [bytes(32)]])]}, 4: b"x"}),
            (0, b"\xa0"),
            (0, b"\x80"),
            (0, {}),
            (2, b""),
            (3, bytes(63)),
            (3, None),
        ],
    )
    def test_what_is_no_receipt(self, position, part):
        parts = cbor.decode(inclusion()).value
        parts[position] = part
        assert refusal(cbor.encode(Tagged(18, parts)), cose_receipt.read) == "cose.form"
        assert refusal(cbor.encode(Tagged(17, cbor.decode(inclusion()).value)), cose_receipt.read) == "cose.form"

    def test_one_over_the_size(self):
        assert refusal(bytes(cose_receipt.MAX_BYTES + 1), cose_receipt.read) == "cbor.size"


class TestOthers:
    """scitt-cose and cbor2, written by others."""

    @pytest.mark.parametrize("algorithm", [ED25519, ECDSA_P256])
    @pytest.mark.parametrize(("index", "size"), [(0, 2), (5, 13), (12, 13), (20, 21)])
    def test_others_verify_our_inclusion(self, algorithm, index, size):
        key = key_of("receipt", algorithm)
        data = inclusion(index, size, key=key)
        said = verify_receipt(data, leaf_entry_hex=ENTRIES[index].hex(), log_public_key_pem=pem(key))
        assert said.ok, said.errors
        assert (said.tree_size, said.leaf_index, said.issuer, said.subject, said.iat) == (size, index, LOG, METER, AT)
        assert said.root == merkle.root(HASHES[:size]).hex()
        wrong = verify_receipt(data, leaf_entry_hex=ENTRIES[index - 1].hex(), log_public_key_pem=pem(key))
        assert (wrong.ok, wrong.failed_at) == (False, "signature")

    @pytest.mark.parametrize("algorithm", [ED25519, ECDSA_P256])
    def test_others_verify_our_consistency(self, algorithm):
        key = key_of("receipt", algorithm)
        data = consistency(key=key)
        root = merkle.root(HASHES[:13])
        cose_sign1.verify_sign1(
            data, public_key_pem=pem(key), detached_payload=root, understood_labels=frozenset({1, 4, 15, 395})
        )
        first, second, path = cbor2.loads(cbor2.loads(data).value[1][396][-2][0])
        assert other_merkle.verify_consistency(
            merkle.root(HASHES[:5]).hex(), root.hex(), first, second, [sibling.hex() for sibling in path]
        )

    @pytest.mark.parametrize("algorithm", [ED25519, ECDSA_P256])
    def test_the_key_set_and_the_key_id(self, algorithm):
        """RFC 9679: the key id is the hash of the key's required parameters alone."""
        key = key_of("receipt", algorithm).public
        (listed,) = cbor2.load(io.BytesIO(cose.key_set({key.keyid: key})))
        required = {name: listed[name] for name in ((1, -1, -2) if algorithm == ED25519 else (1, -1, -2, -3))}
        assert listed.keys() - required.keys() == {2, 3}
        assert listed[2] == hashlib.sha256(cbor2.dumps(required, canonical=True)).digest()
        assert b"".join(required[name] for name in (-2, -3) if name in required) == key.der[-32 * (len(required) - 2) :]
        assert {len(required[name]) for name in (-2, -3) if name in required} == {32}
        assert cbor2.loads(cbor2.loads(inclusion(key=key_of("receipt", algorithm))).value[0])[4] == listed[2]
