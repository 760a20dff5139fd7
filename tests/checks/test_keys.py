"""AN-02: each key in one meter and one role. AN-06: two people behind what needs two."""

import hashlib
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compliance.checks import registry
from compliance.custody.lifecycle import Signer
from tests.checks.telling import ALICE, BOB, METER, STATION, WORDS, Telling, is_found, meter, one, outcomes

CUSTOMER = Signer("stadtwerk", "p-9")


def tag(number):
    return hashlib.sha256(str(number).encode()).hexdigest()


def key(number, role="GUEK", **members):
    return {
        "role": role,
        "origin": "hsm",
        "commitment": tag(f"salted {number} {role} {members}"),
        "public_key_sha256": None,
        "registry_tag": None if number is None else tag(number),
        "generation": 1,
        **members,
    }


@pytest.fixture
def keys():
    return Telling("AN-02")


def provision(telling, *given_keys, about=METER, code="cell.keys_provisioned"):
    return telling.say(code, {"keys": list(given_keys)}, about=about)


def test_one_key_on_two_meters_is_found_and_names_the_other(keys):
    assert outcomes(provision(keys, key(1), about=meter(1))) == ["conforms"]
    assert is_found(provision(keys, key(1), about=meter(2)), f"also the GUEK of {meter(1)}", meter(1))


def test_the_public_key_tells_as_much_as_the_tag(keys):
    asymmetric = key(None, "DS_SIGNING", public_key_sha256=tag("spki"))
    provision(keys, asymmetric, about=meter(1))
    assert is_found(provision(keys, asymmetric, about=meter(2)), "also the DS_SIGNING", meter(1))


def test_equal_commitments_say_nothing(keys):
    """They are salted: equal ones would be chance, and different ones hide equal keys."""
    provision(keys, key(1, commitment=tag("c")), about=meter(1))
    assert outcomes(provision(keys, key(2, commitment=tag("c")), about=meter(2))) == ["conforms"]


def test_a_rotation_to_a_key_of_another_meter_is_found(keys):
    provision(keys, key(1), about=meter(1))
    assert is_found(provision(keys, key(1), about=meter(2), code="keys.rotated"), "also the GUEK", meter(1))


def test_one_key_in_two_roles_of_a_meter_is_found(keys):
    assert is_found(provision(keys, key(1, "GUEK"), key(1, "GAK")), "one key for GUEK and GAK", METER)
    assert is_found(provision(keys, key(1, "MASTER_KEK")), "was already the GUEK of this meter", METER)


def test_the_same_key_in_the_same_role_again_is_no_second_use(keys):
    provision(keys, key(1))
    assert outcomes(provision(keys, key(1))) == ["conforms"]


@pytest.mark.parametrize("role", ["GBEK", "E_METER_ENCRYPTION_KEY_BROADCAST", "GUEK"])
@pytest.mark.parametrize("first", [True, False, None])
@pytest.mark.parametrize("second", [True, False, None])
def test_a_shared_key_is_on_the_list_and_declared_by_both(keys, role, first, second):
    provision(keys, key(1, role, shared=first), about=meter(1))
    said = provision(keys, key(1, role, shared=second), about=meter(2))
    honest = role != "GUEK" and first is True and second is True
    assert outcomes(said) == ["conforms" if honest else "deviates"]


def test_a_shared_key_in_another_role_is_found(keys):
    provision(keys, key(1, "GBEK", shared=True), about=meter(1))
    other = key(1, "E_METER_ENCRYPTION_KEY_BROADCAST", shared=True)
    assert outcomes(provision(keys, other, about=meter(2))) == ["deviates"]


@pytest.mark.parametrize(
    ("code", "changes"), [("mfg.rejected", {"keys_destroyed": True}), ("eol.sanitised", {"keys_erased": True})]
)
def test_a_destroyed_key_that_comes_back_is_found(keys, code, changes):
    provision(keys, key(1))
    keys.say(code, changes)
    assert outcomes(provision(keys, key(2))) == ["conforms"]
    assert is_found(provision(keys, key(1)), "reported destroyed and is back", METER)


def test_a_rework_that_kept_its_keys_destroyed_none(keys):
    provision(keys, key(1))
    keys.say("mfg.rejected", {"keys_destroyed": False})
    assert outcomes(provision(keys, key(1))) == ["conforms"]


def test_a_destroyed_key_on_another_meter_is_found_too(keys):
    provision(keys, key(1), about=meter(1))
    keys.say("mfg.rejected", {"keys_destroyed": True}, about=meter(1))
    assert is_found(provision(keys, key(1), about=meter(2)), "also the GUEK", meter(1))


def test_without_tag_and_digest_nothing_can_be_told(keys):
    said = one(provision(keys, key(1), key(None, "GAK")))
    assert said.outcome == "not_evaluable"
    assert "GAK" in said.detail


def test_what_can_be_told_is_told_beside_what_cannot(keys):
    provision(keys, key(1), about=meter(1))
    assert outcomes(provision(keys, key(1), key(None, "GAK"), about=meter(2))) == ["deviates"]


@settings(deadline=None)
@given(st.lists(st.integers(1, 6), max_size=12))
def test_found_exactly_where_a_key_was_before(numbers):
    """However many meters and keys: every use after the first is found, no first use is."""
    telling = Telling("AN-02")
    seen = Counter()
    for place, number in enumerate(numbers):
        said = one(provision(telling, key(number), about=meter(place)))
        assert (said.outcome == "deviates") == (seen[number] > 0)
        assert len(said.meters) == seen[number]
        seen[number] += 1


SIGNED_TWICE = registry.check("AN-06").listens_to
OTHERWISE = {"mfg.rejected": {"outcome": "scrap"}}


def pair(code):
    """Two signers who are enough, and two who are not although they are two keys."""
    if WORDS.events[code].signature_rule == "two_organisations":
        return (ALICE, CUSTOMER), (ALICE, BOB)
    return (ALICE, BOB), (ALICE, Signer("elster", "p-1"))


def test_it_listens_to_exactly_what_asks_for_two():
    assert set(SIGNED_TWICE) == {code for code, event_type in WORDS.events.items() if event_type.signature_rule}


@pytest.mark.parametrize("code", SIGNED_TWICE)
def test_two_are_enough_and_one_is_not(code):
    telling = Telling("AN-06")
    enough, one_twice = pair(code)
    changes = OTHERWISE.get(code, {})
    assert outcomes(telling.say(code, changes, signers=enough)) == ["conforms"]
    assert outcomes(telling.say(code, changes, signers=(*enough, STATION))) == ["conforms"]
    for too_few in (enough[:1], one_twice, (ALICE, STATION)):
        assert outcomes(telling.say(code, changes, signers=too_few)) == ["deviates"]


def test_the_answer_counts_keys_and_people():
    telling = Telling("AN-06")
    assert is_found(telling.say("cell.exited", signers=(ALICE,)), "1 signature of 1 person")
    assert is_found(telling.say("cell.exited", signers=(ALICE, ALICE)), "2 signatures of 1 person")
    assert is_found(telling.say("cell.exited", signers=(STATION, STATION)), "2 signatures of 0 people")
    assert is_found(telling.say("ownership.transferred", signers=(ALICE, BOB)), "signed for 1 organisation, not two")


def test_two_houses_may_have_people_of_the_same_pseudonym():
    telling = Telling("AN-06")
    assert outcomes(telling.say("cell.exited", signers=(ALICE, Signer("other", "p-1")))) == ["conforms"]


def test_rework_needs_one_scrap_needs_two():
    telling = Telling("AN-06")
    assert telling.say("mfg.rejected", {"outcome": "rework"}, signers=(ALICE,)) == []
    assert outcomes(telling.say("mfg.rejected", {"outcome": "scrap"}, signers=(ALICE,))) == ["deviates"]


def test_the_same_actor_twice_is_found_though_two_signed():
    telling = Telling("AN-06")
    person = {"person": "p-1"}
    assert is_found(telling.say("cell.exited", actor=person, second_actor=person), "the same person acts twice")
    assert outcomes(telling.say("cell.exited", actor=person, second_actor={"person": "p-2"})) == ["conforms"]


@pytest.mark.parametrize(
    ("code", "member"),
    [
        ("cell.session_opened", "operators"),
        ("cell.keys_provisioned", "custodians"),
        ("keys.bundle_released", "approvers"),
    ],
)
def test_the_two_that_are_named_must_be_two(code, member):
    telling = Telling("AN-06")
    assert is_found(telling.say(code, {member: ["p-1", "p-1"]}), f"fewer than two {member}")
    assert is_found(telling.say(code, {member: ["p-1"]}), f"fewer than two {member}")
    assert outcomes(telling.say(code, {member: ["p-1", "p-2"]})) == ["conforms"]


def test_nobody_verifies_his_own_sanitisation():
    said = Telling("AN-06").say("eol.sanitised", {"performed_by": "p-1", "verified_by": "p-1"})
    assert is_found(said, "performed_by and verified_by name the same person")
