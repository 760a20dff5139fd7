"""What intake takes for granted about chains, so that no statement asks for it: that a meter is new at its birth, and
has a chain after it. Wherever that is wrong, the answer is that of an intake that asks.
"""

from typing import Any

import pytest

from compliance.custody import intake
from compliance.custody.intake import BatchRefused
from compliance.custody.models import Identifier, Meter, Violation
from compliance.ledger.models import Entry, Head
from tests.custody import world

pytestmark = [pytest.mark.django_db, pytest.mark.both_engines]

LDN = "meter:dlms_ldn:ELS{:013d}"


@pytest.fixture
def elster(log: object) -> world.Party:
    return world.make()["elster"]


@pytest.fixture
def asks(monkeypatch: pytest.MonkeyPatch) -> list[frozenset[str]]:
    """What intake asked the chains and names of."""
    asked: list[frozenset[str]] = []
    look_up = intake.ledger.chains_without_entries

    def noted(subjects: Any) -> set[str]:
        asked.append(frozenset(subjects))
        return look_up(subjects)

    monkeypatch.setattr(intake.ledger, "chains_without_entries", noted)
    return asked


def plain_birth(number: int) -> dict[str, Any]:
    return world.event("mfg.assembled", world.title(number), {"identifiers": []})


def named(number: int, alias: str) -> dict[str, Any]:
    scheme, _, value = alias.removeprefix("meter:").partition(":")
    return world.event("mfg.assembled", world.title(number), {"identifiers": [{"scheme": scheme, "value": value}]})


def test_births_and_what_follows_ask_for_no_chain(elster: world.Party, asks: list[frozenset[str]]) -> None:
    elster.send(plain_birth(1), plain_birth(2), world.event("mfg.calibrated", world.title(1)))
    elster.send(world.event("mfg.calibrated", world.title(2)))
    assert asks == [frozenset(), frozenset()]
    assert sorted(Head.objects.filter(memory__gt=b"").values_list("seq", flat=True)) == [1, 1]


def test_a_second_birth_is_found_and_recorded_in_the_same_chain(
    elster: world.Party, asks: list[frozenset[str]]
) -> None:
    elster.send(plain_birth(1))
    again = elster.send(plain_birth(1), plain_birth(2))
    assert [entry.seq for entry in again.appended.entries] == [1, 0]
    assert asks[-1] == {world.title(1), world.title(2)}
    assert list(Violation.objects.values_list("code", flat=True)) == ["transition.illegal"]


def test_a_birth_under_a_name_of_another_meter_is_refused(elster: world.Party) -> None:
    alias = LDN.format(9)
    elster.send(named(1, alias))
    before = Entry.objects.count()
    with pytest.raises(BatchRefused) as refusal:
        elster.send(plain_birth(2), world.event("mfg.assembled", alias, {"identifiers": []}))
    said = [(problem.index, problem.code, problem.pointer) for problem in refusal.value.problems]
    assert said == [(1, "subject.taken", "/subject")]
    assert Entry.objects.count() == before


def test_a_birth_gives_a_name_that_another_of_its_batch_is_born_with(elster: world.Party) -> None:
    """The name belongs to a third meter already, and the giver has no standing, so that no index would say so."""
    alias = LDN.format(9)
    elster.send(named(1, alias))
    elster.send(plain_birth(2))
    stranger = world.join("falschmann", "manufacturer")
    scheme, _, value = alias.removeprefix("meter:").partition(":")
    gives = world.event("mfg.calibrated", world.title(2), {"identifiers": [{"scheme": scheme, "value": value}]})
    with pytest.raises(BatchRefused) as refusal:
        stranger.send(gives, world.event("mfg.assembled", alias, {"identifiers": []}))
    assert [problem.code for problem in refusal.value.problems] == ["subject.taken", "subject.taken"]


def test_what_is_refused_leaves_nothing_that_the_others_are_held_against(elster: world.Party) -> None:
    """The chain of a refused event is none of the batch's: the others are recorded at once."""
    elster.send(named(1, LDN.format(9)), plain_birth(2), plain_birth(3))
    scheme, _, value = LDN.format(9).removeprefix("meter:").partition(":")
    takes = world.event("mfg.calibrated", world.title(2), {"identifiers": [{"scheme": scheme, "value": value}]})
    signed = elster.sign(takes, world.event("mfg.calibrated", world.title(3)), named(4, LDN.format(9)))
    result = elster.hand_in(signed.ndjson, mode="proceed")
    assert [problem.code for problem in result.problems] == ["subject.taken", "subject.taken"]
    assert [entry.subject for entry in result.appended.entries] == [world.title(3)]
    assert not Meter.objects.filter(subject=world.title(4)).exists()


def test_events_that_were_recorded_are_known_again_in_another_batch(elster: world.Party) -> None:
    birth = plain_birth(1)
    elster.send(birth)
    again = elster.send(birth, plain_birth(2))
    assert [index for index, _ in again.appended.duplicates] == [0]
    assert [entry.subject for entry in again.appended.entries] == [world.title(2)]
    assert Identifier.objects.filter(subject=world.title(1)).count() == 1
