"""The keys of a log over time: from where to where in the log each counts."""

import pytest

from compliance.proof.errors import ProofError
from compliance.proof.log_keys import LogKeys, Statement
from compliance.proof.note import NoteSigner
from tests.proof.world import key_of

ORIGIN = "log.example.test/keys"
TIME = "2026-05-04T06:00:00Z"
FIRST, SECOND = (NoteSigner(ORIGIN, key_of(f"log-{number}")).verifier for number in (1, 2))
OLD, NEW = key_of("receipt-1").public, key_of("receipt-2").public
CREATED = {"log_key": FIRST.vkey, "receipt_key": OLD.to_object(), "platform_key": "sha256:" + "0" * 64}


def revoked(leaf: int | None, use: str, keyid: str, reason: str = "superseded") -> Statement:
    data = {"use": use, "keyid": keyid, "effective_at": TIME, "reason": reason}
    return Statement(leaf, "log.key_revoked", data, TIME)


def test_each_key_counts_between_its_own_entry_and_that_of_its_end() -> None:
    keys = LogKeys(
        [
            Statement(0, "log.created", CREATED, TIME),
            Statement(3, "log.key_added", {"use": "log", "key": SECOND.vkey}, TIME),
            Statement(4, "log.key_added", {"use": "receipt", "key": NEW.to_object()}, TIME),
            revoked(6, "log", FIRST.id.hex(), "superseded by another"),
            revoked(7, "receipt", OLD.keyid, "stolen"),
            revoked(8, "log", FIRST.id.hex(), "stolen"),
            Statement(9, "something.else", {}, TIME),
            Statement(None, "log.key_added", {"use": "receipt", "key": key_of("receipt-3").public.to_object()}, TIME),
        ]
    )
    assert keys.platform_key == CREATED["platform_key"]
    assert keys.verifiers == (FIRST, SECOND)
    counted = [keys.verifiers_at(size) for size in (0, 1, 3, 4, 6, 7, 100)]
    assert counted == [(), (FIRST,), (FIRST,), (FIRST, SECOND), (FIRST, SECOND), (SECOND,), (SECOND,)]
    assert set(keys.receipt_keys) == {OLD.keyid, NEW.keyid, key_of("receipt-3").public.keyid}
    ends = {place: (end.leaf, end.effective_at, end.is_harmless) for place, end in keys.revoked.items()}
    at = "2026-05-04T06:00:00.000000Z"
    assert ends == {("log", FIRST.id.hex()): (6, at, True), ("receipt", OLD.keyid): (7, at, False)}
    found = keys.find("receipt", NEW.keyid)
    assert found is not None
    assert (found.added, found.recorded_at, found.key) == (4, "2026-05-04T06:00:00.000000Z", NEW)
    assert keys.find("log", NEW.keyid) is None
    waiting = keys.find("receipt", key_of("receipt-3").public.keyid)
    assert waiting is not None
    assert not waiting.signs_at(10**9)


def test_a_revocation_that_waits_for_its_place_ends_nothing_yet() -> None:
    keys = LogKeys([Statement(0, "log.created", CREATED, TIME), revoked(None, "log", FIRST.id.hex())])
    assert keys.verifiers_at(10**9) == (FIRST,)


def test_a_key_that_was_never_named_has_no_end() -> None:
    with pytest.raises(ProofError) as refused:
        LogKeys([revoked(1, "log", FIRST.id.hex())])
    assert refused.value.code == "key.unknown"
