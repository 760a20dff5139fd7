"""Profiles are data: a fifth one, of a market nobody has seen, loads and runs without code."""

import pytest
import yaml

from compliance.custody import profiles, vocabulary
from compliance.custody.lifecycle import fold
from tests.custody.facts import WORDS, fact, life

ATLANTIS = yaml.safe_load(
    """
id: atlantis
name: Kingdom of Atlantis
roles: {manufacturer: forge, utility: tide guild}
id_schemes: {meter: [shell_number], metering_point: [reef_number]}
key_plan: {kind: pearls, roles: [PEARL]}
market_status_map: {AFLOAT: [in_service], SUNK: [disposed, scrapped]}
required_events: [mfg.assembled, install.installed]
required_fields: {install.installed: [depth], cell.keys_provisioned: ['keys[].pearl']}
profile_rules: [no pearl twice]
"""
)


def test_all_profiles_on_file_load():
    assert set(profiles.load()) == {"gb", "de", "nl", "dlms"}
    assert list(profiles.active()) == ["dlms"]


def test_a_fifth_profile_runs():
    atlantis = profiles.read(ATLANTIS)
    facts = life("install.installed")
    result = fold(facts, words=WORDS, profiles={"atlantis": atlantis})
    codes = [(facts[place].type, v.code) for place, found in result.violations.items() for v in found]
    assert codes == [
        ("cell.keys_provisioned", "profile.required_field"),
        ("cell.keys_provisioned", "profile.required_field"),
        ("install.installed", "profile.required_field"),
    ]
    assert result.state.claimed == "installed"


def test_a_market_without_key_hand_over_installs_without_it():
    """GB and others hand over certificates, not bundles: the precondition follows the profile, not the code."""
    facts = [event for event in life("install.installed") if not event.type.startswith("keys.")]
    with_bundles = fold(facts, words=WORDS, profiles=profiles.active())
    assert [v.code for found in with_bundles.violations.values() for v in found] == ["precondition.keys_acknowledged"]
    without = fold(facts, words=WORDS, profiles={"gb": profiles.load()["gb"]})
    assert without.violations == {}


@pytest.mark.parametrize("name", sorted(profiles.load()))
def test_the_honest_life_runs_under_every_profile(name):
    """The same life; what a market asks for beyond it is named, and nothing else is."""
    facts = life()
    result = fold(facts, words=WORDS, profiles={name: profiles.load()[name]})
    assert {v.code for found in result.violations.values() for v in found} <= {"profile.required_field"}
    assert result.state.claimed == "disposed"


def test_a_meter_keeps_the_profile_it_was_born_under():
    atlantis = profiles.read(ATLANTIS)
    known = {"dlms": profiles.default(), "atlantis": atlantis}
    born = [fact("mfg.assembled", profile="atlantis"), *life("install.installed")[1:]]
    codes = {v.code for found in fold(born, words=WORDS, profiles=known).violations.values() for v in found}
    assert codes == {"profile.required_field"}


@pytest.mark.parametrize(
    "change",
    [
        {"required_events": ["mfg.forged"]},
        {"required_fields": {"mfg.forged": ["x"]}},
        {"market_status_map": {"AFLOAT": ["swimming"]}},
    ],
)
def test_a_profile_that_names_what_is_not_there_is_refused(change):
    with pytest.raises(profiles.ProfileError):
        profiles.read({**ATLANTIS, **change})


def test_a_profile_file_beside_the_others_is_found(tmp_path, monkeypatch):
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles.yaml").write_text((vocabulary.FOLDER / "profiles.yaml").read_text())
    (tmp_path / "profiles" / "atlantis.yaml").write_text(yaml.safe_dump({"profiles": [ATLANTIS]}))
    monkeypatch.setattr(vocabulary, "FOLDER", tmp_path)
    assert set(profiles.load.__wrapped__()) == {"gb", "de", "nl", "dlms", "atlantis"}
