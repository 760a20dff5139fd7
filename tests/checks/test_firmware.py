"""AN-07: only what its maker released. AN-08: only what a valid certificate covers."""

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.checks.telling import FIRMWARE, IMAGE, METER, START, TYPE, WORDS, Telling, is_found, meter, one, outcomes

SECOND, DAY = timedelta(seconds=1), timedelta(days=1)
UNKNOWN = "00" * 32
UPDATED = WORDS.events["ops.firmware_updated"].example["activated_sha256"]
REPORTS = {
    "cell.firmware_loaded": "image_sha256_readback",
    "ops.firmware_updated": "activated_sha256",
    "ops.attested": "firmware_sha256",
}


@pytest.fixture
def firmware():
    telling = Telling("AN-07")
    telling.born()
    return telling


def report(telling, code="ops.attested", image=IMAGE, **members):
    return telling.say(code, {REPORTS[code]: image}, **members)


def release(telling, status="released", **members):
    changes = {"status": status, **members.pop("changes", {})}
    return telling.say("design.firmware_released", changes, about=FIRMWARE, **members)


@pytest.mark.parametrize("code", REPORTS)
def test_a_released_image_is_honest_and_another_is_found(firmware, code):
    release(firmware)
    assert outcomes(report(firmware, code)) == ["conforms"]
    assert is_found(report(firmware, code, UNKNOWN), "nobody released the image 0000000000000000")
    almost = ("0" if IMAGE[0] != "0" else "1") + IMAGE[1:]
    assert outcomes(report(firmware, code, almost)) == ["deviates"]


def test_a_sample_at_goods_in_is_judged_meter_by_meter(firmware):
    release(firmware)
    firmware.born(meter(2))
    sample = [{"subject": METER, "image_sha256": IMAGE}, {"subject": meter(2), "image_sha256": UNKNOWN}]
    good, bad = firmware.say("delivery.inspected", {"firmware_sample": sample}, author="stadtwerk")
    assert (good.outcome, good.about) == ("conforms", METER)
    assert (bad.outcome, bad.about, bad.meters) == ("deviates", meter(2), (meter(2),))


def test_for_another_type_is_not_for_this_one(firmware):
    release(firmware, changes={"target_types": ["meter_type:elster:AS1440"]})
    assert is_found(report(firmware), f"is not released for {TYPE}")


@pytest.mark.parametrize("author", ["rival", "stadtwerk"])
def test_only_the_maker_of_a_type_releases_for_it(firmware, author):
    release(firmware, author=author)
    assert is_found(report(firmware), "nobody released")


@pytest.mark.parametrize(("early", "outcome"), [(timedelta(0), "conforms"), (SECOND, "deviates")])
def test_released_in_time(firmware, early, outcome):
    release(firmware, at=START + DAY)
    assert outcomes(report(firmware, at=START + DAY - early)) == [outcome]


@pytest.mark.parametrize(("early", "outcome"), [(timedelta(0), "deviates"), (SECOND, "conforms")])
def test_revoked_counts_from_its_moment_on(firmware, early, outcome):
    """A read-out that comes late is judged by its own day."""
    release(firmware)
    release(firmware, "revoked", at=START + DAY)
    assert outcomes(report(firmware, at=START + DAY - early, came_at=START + 9 * DAY)) == [outcome]


def test_superseded_is_still_allowed(firmware):
    release(firmware)
    release(firmware, "superseded")
    assert outcomes(report(firmware)) == ["conforms"]


def test_released_and_revoked_at_one_moment_is_revoked(firmware):
    release(firmware, at=START)
    release(firmware, "revoked", at=START)
    assert is_found(report(firmware), "revoked before")


def test_a_revocation_can_be_taken_back(firmware):
    release(firmware, "revoked")
    release(firmware)
    assert outcomes(report(firmware)) == ["conforms"]


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from(["released", "superseded", "revoked"])), max_size=6))
def test_the_last_word_by_then_decides(words):
    telling = Telling("AN-07")
    telling.born()
    for day, status in words:
        release(telling, status, at=START + day * DAY)
    now = 5
    by_then = [status for day, status in sorted(words, key=lambda word: word[0]) if day <= now]
    honest = bool(by_then) and by_then[-1] != "revoked"
    assert outcomes(report(telling, at=START + now * DAY)) == ["conforms" if honest else "deviates"]


def test_of_an_unknown_meter_nothing_is_said():
    telling = Telling("AN-07")
    release(telling)
    assert outcomes(report(telling, about=meter(9))) == ["not_evaluable"]
    assert outcomes(report(telling, image=UNKNOWN, about=meter(9))) == ["deviates"]


@pytest.fixture
def scope():
    """A meter of a type with one certificate, and two released images."""
    telling = Telling("AN-08")
    telling.born()
    release(telling)
    release(telling, changes={"image_sha256": UPDATED, "version": "4.2.0"})
    return telling


def certify(telling, status="granted", **changes):
    return telling.say("design.type_certified", {"status": status, "issued_on": "2026-01-15", **changes}, about=TYPE)


def test_within_scope(scope):
    certify(scope)
    assert outcomes(scope.say("cell.firmware_loaded")) == ["conforms"]
    assert is_found(scope.say("ops.firmware_updated"), "version 4.2.0 is in the scope of no valid certificate")
    certify(scope, "renewed", scope_firmware=["4.1.2", "4.2.0"])
    assert outcomes(scope.say("ops.firmware_updated")) == ["conforms"]


def test_two_certificates_cover_more_than_one(scope):
    certify(scope)
    certify(scope, certificate_id="DLMS-2", scope_firmware=["4.2.0"])
    assert outcomes(scope.say("cell.firmware_loaded")) == ["conforms"]
    assert outcomes(scope.say("ops.firmware_updated")) == ["conforms"]


@pytest.mark.parametrize("status", ["suspended", "withdrawn", "expired"])
def test_a_certificate_that_ended(scope, status):
    certify(scope)
    certify(scope, status)
    assert is_found(scope.say("install.commissioned", author="stadtwerk"), "no certificate of")
    certify(scope, "renewed")
    assert outcomes(scope.say("install.commissioned", author="stadtwerk")) == ["conforms"]


@pytest.mark.parametrize(
    ("until", "outcome"), [("2026-04-14", "conforms"), ("2026-04-13", "deviates"), (None, "conforms")]
)
def test_its_last_day_is_a_valid_day(scope, until, outcome):
    certify(scope, valid_until=until)
    assert outcomes(scope.say("cell.firmware_loaded")) == [outcome]


@pytest.mark.parametrize(("issued", "outcome"), [("2026-04-14", "conforms"), ("2026-04-15", "deviates")])
def test_its_first_day_is_a_valid_day(scope, issued, outcome):
    certify(scope, issued_on=issued)
    assert outcomes(scope.say("cell.firmware_loaded")) == [outcome]


def test_what_an_07_asks_is_not_asked_twice(scope):
    certify(scope)
    assert scope.say("cell.firmware_loaded", {"image_sha256_readback": UNKNOWN}) == []


def test_without_type_or_certificate_nothing_can_be_told(scope):
    said = one(scope.say("cell.firmware_loaded"))
    assert (said.outcome, "no certificate" in said.detail) == ("not_evaluable", True)
    assert outcomes(scope.say("cell.firmware_loaded", about=meter(9))) == ["not_evaluable"]
