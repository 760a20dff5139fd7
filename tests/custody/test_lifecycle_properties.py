"""Properties of the fold over any history, against a model that knows nothing but the table of the vocabulary."""

import copy
import dataclasses
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from compliance.custody import profiles, vocabulary
from compliance.custody.lifecycle import Fact, Signer, State, advance
from tests.custody.facts import HONEST_LIFE, WORDS, fact, folded

RAW = yaml.safe_load((vocabulary.FOLDER / "events.yaml").read_text())
BY_CODE = {event["code"]: event for event in RAW["events"]}
OUTCOMES = yaml.safe_load((vocabulary.FOLDER / "data.yaml").read_text())["outcomes"]
PARTIES = ["elster", "spedition", "stadtwerk", "installateur", "recycler", "fremd"]
CODES = sorted(set(BY_CODE) - {"record.corrected"})
# Types that make a life go on, weighted so that long lives are common.
LIKELY = [code for code, _, _ in HONEST_LIFE] * 2 + CODES


@st.composite
def statements(draw: st.DrawFn) -> tuple[str, str, dict[str, Any], int]:
    """A type, a sender, changes to its data, and how many of its keys sign."""
    code = draw(st.sampled_from(LIKELY))
    changes: dict[str, Any] = {}
    if code in OUTCOMES:
        changes[OUTCOMES[code]["field"]] = draw(st.sampled_from(sorted(OUTCOMES[code]["leads_to"])))
    if code == "ownership.transferred":
        changes["kind"] = draw(st.sampled_from(["ownership", "control", "both", "possession"]))
        changes["from_party"], changes["to_party"] = draw(st.sampled_from(PARTIES)), draw(st.sampled_from(PARTIES))
    if code == "delivery.dispatched":
        changes["carrier"], changes["consignee"] = draw(st.sampled_from(PARTIES)), draw(st.sampled_from(PARTIES))
    if code == "keys.bundle_released":
        changes["recipient"] = draw(st.sampled_from(PARTIES))
    if code == "eol.removed":
        changes["next_holder"] = draw(st.sampled_from(PARTIES))
    return code, draw(st.sampled_from(PARTIES)), changes, draw(st.integers(1, 3))


def made(code: str, author: str, changes: dict[str, Any], signers: int) -> Fact:
    """The statement as the fold sees it."""
    signing = [Signer(author, "p-1"), Signer(author, "p-2"), Signer(changes.get("to_party", "elster"), "p-3")]
    return fact(code, author, changes=changes, signers=tuple(signing[:signers]))


HISTORIES = st.lists(statements(), max_size=40)


def _facts(history: list[tuple[str, str, dict[str, Any], int]]) -> list[Fact]:
    return [made(*statement) for statement in history]


@settings(max_examples=150, deadline=None)
@given(HISTORIES)
def test_the_same_chain_folds_to_the_same_state(history):
    facts = _facts(history)
    assert folded(facts) == folded(copy.deepcopy(facts))


@settings(max_examples=150, deadline=None)
@given(HISTORIES, st.integers(0, 40))
def test_what_comes_later_changes_nothing_before(history, cut):
    """T7: whatever is sent, the judgement of the entries accepted before stays as it was."""
    facts = _facts(history)
    prefix, whole = folded(facts[:cut]), folded(facts)
    early = {place: found for place, found in whole.violations.items() if place < cut}
    assert prefix.violations == early


@settings(max_examples=200, deadline=None)
@given(HISTORIES)
def test_a_violation_never_moves_the_assured_state(history):
    state = State()
    for event in _facts(history):
        before = state.assured
        found, _ = advance(state, event, words=WORDS, profile=profiles.default())
        assert not found or state.assured == before, (event.type, found)


@settings(max_examples=200, deadline=None)
@given(HISTORIES, statements())
def test_without_standing_nothing_moves(history, last):
    """T9: an event of somebody who is no party moves neither state nor track."""
    state = folded(_facts(history)).state
    stranger = dataclasses.replace(made(*last), author="somebody", signers=(Signer("somebody", "p-1"),))
    if stranger.type == "mfg.assembled" and state.maker is None:
        return  # the one event that gives standing
    before = copy.copy(state)
    found, standing = advance(state, stranger, words=WORDS, profile=profiles.default())
    assert not standing
    assert "standing.missing" in {violation.code for violation in found}
    assert state == before


@settings(max_examples=200, deadline=None)
@given(HISTORIES)
def test_a_party_changes_only_by_an_event_that_says_so(history):
    """Nobody becomes owner or controller by an event whose effects do not name that track."""
    state = State()
    for event in _facts(history):
        before = copy.copy(state)
        advance(state, event, words=WORDS, profile=profiles.default())
        effects = BY_CODE[event.type].get("effects") or {}
        written = repr(effects) + ("holder" if event.data.get("kind") == "possession" else "")
        for track in ("holder", "owner", "controller"):
            assert getattr(state, track) == getattr(before, track) or track in written


@settings(max_examples=200, deadline=None)
@given(HISTORIES)
def test_title_passes_only_to_somebody_who_signed(history):
    """T9: an ownership transfer needs both signatures, whatever the history."""
    state = State()
    for event in _facts(history):
        before = copy.copy(state)
        advance(state, event, words=WORDS, profile=profiles.default())
        if event.type == "ownership.transferred" and state != before:
            organisations = {signer.organisation for signer in event.signers}
            assert event.data["to_party"] in organisations
            assert len(organisations) > 1


class Life(RuleBasedStateMachine):
    """One meter against a model of a few lines: the claimed state by the table alone."""

    events: Bundle[Any] = Bundle("events")

    def __init__(self) -> None:
        super().__init__()
        self.state = State()
        self.claimed = "none"
        self.before = None
        self.history: list[Fact] = []

    @rule(statement=statements())
    def say(self, statement):
        event = made(*statement)
        _, standing = advance(self.state, event, words=WORDS, profile=profiles.default())
        self.history.append(event)
        if standing:
            self._model(statement)

    @rule(code=st.sampled_from([code for code, _, _ in HONEST_LIFE]))
    def go_on(self, code):
        """Whoever may do it does it."""
        parties = [self.state.holder, self.state.owner, self.state.controller, self.state.maker, self.state.consignee]
        author = next((party for party in parties if party not in (None, "?")), "elster")
        self.say((code, author, {}, 2))

    def _model(self, statement):
        code, _, changes, _ = statement
        target = BY_CODE[code]["to_state"]
        if code in OUTCOMES:
            example = WORDS.events[code].example
            word = changes.get(OUTCOMES[code]["field"], example[OUTCOMES[code]["field"]])
            target = OUTCOMES[code]["leads_to"][word]
        if target in (None, "=") or self.claimed in RAW["terminal_states"]:
            return
        if target == "quarantined" and self.claimed != "quarantined":
            self.before = self.claimed
        if target == "previous":
            target = self.before or self.claimed
        if self.claimed == "quarantined" and target != "quarantined":
            self.before = None
        self.claimed = target

    @invariant()
    def the_claimed_state_is_the_model(self):
        assert self.state.claimed == self.claimed

    @invariant()
    def the_fold_agrees_with_the_steps(self):
        if len(self.history) % 10 == 9:
            assert folded(self.history).state == self.state


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
