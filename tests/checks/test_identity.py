"""AN-01: each identity once. AN-23: what is taken out of service stays out."""

import pytest

from compliance.checks.verdicts import Outcome
from tests.checks.telling import METER, Telling, identity, is_found, meter, one, outcomes

LDN = "ELS0000000002406"
OPERATIONAL = (
    "install.installed",
    "install.commissioned",
    "ops.attested",
    "ops.firmware_updated",
    "reprov.started",
    "cell.entered",
)


def ldn(*values):
    return {"identifiers": [{"scheme": "dlms_ldn", "value": value} for value in values]}


@pytest.fixture
def twins():
    return Telling("AN-01")


@pytest.fixture
def zombie():
    telling = Telling("AN-23")
    telling.born()
    return telling


def test_one_birth_is_honest_and_a_second_is_found(twins):
    assert outcomes(twins.say("mfg.assembled")) == ["conforms"]
    assert is_found(twins.say("mfg.assembled"), "born a second time, by elster")
    assert outcomes(twins.say("mfg.assembled", ldn(), about=meter(7))) == ["conforms"]


def test_another_maker_cannot_give_birth_again_either(twins):
    twins.born()
    assert is_found(twins.say("mfg.assembled", author="forger"), "by forger")


def test_two_values_of_a_scheme_that_allows_one(twins):
    assert is_found(twins.say("mfg.assembled", ldn(LDN, "ELS9000000002406")), "two names of one scheme: dlms_ldn")


def test_the_same_value_twice_is_one_name(twins):
    assert outcomes(twins.say("mfg.assembled", ldn(LDN, LDN))) == ["conforms"]


def test_a_second_title_beside_the_one_that_names_the_chain(twins):
    name = {"identifiers": [{"scheme": "dlms_system_title", "value": "454C530000000099"}]}
    assert is_found(twins.say("mfg.assembled", name), "dlms_system_title")
    assert outcomes(
        Telling("AN-01").say(
            "mfg.assembled", {"identifiers": [dict(name["identifiers"][0], value=METER.rpartition(":")[2])]}
        )
    ) == ["conforms"]


def test_schemes_that_allow_many_values(twins):
    names = [{"scheme": "gtin14", "value": value} for value in ("04012345678901", "04012345678918")]
    assert outcomes(twins.say("mfg.assembled", {"identifiers": names})) == ["conforms"]


def test_label_and_chip(twins):
    twins.born()
    assert outcomes(twins.say("cell.entered")) == ["conforms"]
    assert is_found(twins.say("cell.entered", {"electronic_identity": "454C530000002407"}), "the chip 454C530000002407")
    assert is_found(twins.say("cell.entered", {"identity_check": "mismatch"}), "the label says")


def test_a_label_may_show_any_recorded_name(twins):
    twins.say("mfg.assembled", ldn(LDN))
    assert outcomes(twins.say("cell.entered", {"label_identity": LDN, "electronic_identity": LDN})) == ["conforms"]


def test_a_name_nobody_recorded_cannot_be_judged(twins):
    twins.born()
    said = one(twins.say("cell.entered", identity(meter(7))))
    assert said.outcome is Outcome.NOT_EVALUABLE
    assert "no recorded name" in said.detail


def test_a_reworked_unit_enters_again_under_its_own_name(twins):
    twins.born()
    twins.say("cell.entered")
    twins.say("mfg.rejected")
    assert outcomes(twins.say("cell.entered")) == ["conforms"]


@pytest.mark.parametrize("code", OPERATIONAL)
@pytest.mark.parametrize(
    ("end", "changes", "word"),
    [
        ("eol.decommissioned", {}, "decommissioned"),
        ("eol.disposed", {}, "disposed"),
        ("eol.triaged", {"outcome": "dispose"}, "decommissioned"),
        ("mfg.rejected", {"outcome": "scrap"}, "scrapped"),
        ("exception.released", {"decision": "scrapped"}, "scrapped"),
    ],
)
def test_whatever_works_after_its_end_is_found(zombie, end, changes, word, code):
    assert outcomes(zombie.say(code)) == ["conforms"]
    zombie.say(end, changes)
    assert is_found(zombie.say(code), f"{code} of a meter that is {word}")


@pytest.mark.parametrize("outcome", ["reuse", "refurbish", "analyse"])
def test_triage_leads_a_decommissioned_meter_back(zombie, outcome):
    zombie.say("eol.decommissioned")
    zombie.say("eol.triaged", {"outcome": outcome})
    assert outcomes(zombie.say("cell.entered")) == ["conforms"]


@pytest.mark.parametrize("end", [("eol.disposed", {}), ("mfg.rejected", {"outcome": "scrap"})])
def test_nothing_leads_back_from_disposal_and_scrap(zombie, end):
    zombie.say(*end)
    zombie.say("eol.triaged", {"outcome": "reuse"})
    assert outcomes(zombie.say("cell.entered")) == ["deviates"]


@pytest.mark.parametrize(("code", "changes"), [("mfg.rejected", {"outcome": "rework"}), ("eol.removed", {})])
def test_rework_and_removal_are_no_end(zombie, code, changes):
    zombie.say(code, changes)
    assert outcomes(zombie.say("cell.entered")) == ["conforms"]


def test_an_honest_end(zombie):
    for code in ("eol.decommissioned", "eol.sanitised", "eol.disposed"):
        assert set(outcomes(zombie.say(code))) <= {"conforms"}


def test_an_end_after_the_end(zombie):
    zombie.say("eol.disposed")
    assert is_found(zombie.say("eol.disposed"), "second time")
    assert is_found(zombie.say("eol.decommissioned"), "after it was disposed")


def test_of_a_meter_nobody_saw_born_nothing_is_said():
    assert outcomes(Telling("AN-23").say("ops.attested", about=meter(9))) == ["not_evaluable"]
