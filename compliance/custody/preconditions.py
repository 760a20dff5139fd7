"""Preconditions of event types that a meter's own chain can answer, one function a question.

Each is given the state before the event and says in a sentence what is broken, or nothing. Those that need other
chains (is the firmware released, is the seal number new) are questions of the room `checks`. The prose they stand for
is in `events.yaml`.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from compliance.custody import shapes, vocabulary
from compliance.custody.profiles import Profile

if TYPE_CHECKING:
    from compliance.custody.lifecycle import Fact, State


class Case(NamedTuple):
    """What a question may look at."""

    state: "State"
    fact: "Fact"
    profile: Profile


Question = Callable[[Case], str | None]
LIVE_KEYS = frozenset({"bound", "released", "acknowledged", "rotated"})
_BEFORE_PROVISIONED = frozenset({"none", "assembled", "in_cell"})
_TEST_RESULTS = ("functional_result", "security_result", "robustness_result", "metrology_result")


def broken(state: "State", fact: "Fact", profile: Profile) -> Iterator[tuple[str, str]]:
    """Code and sentence of each precondition that does not hold."""
    questions = _QUESTIONS.get(fact.type)
    if questions is not None:
        case = Case(state, fact, profile)
        for name, question in questions:
            detail = question(case)
            if detail is not None:
                yield name, detail
    further = profile.required_fields.get(fact.type)
    if further is not None:
        for pointer in shapes.missing(fact.data, further):
            yield "profile.required_field", f"the profile {profile.id} asks for data{pointer}"


def tests_passed(data: Mapping[str, Any]) -> bool:
    """True if all four results of `cell.tested` are a pass."""
    return all(data.get(name) == "pass" for name in _TEST_RESULTS)


def _no_live_keys(case: Case) -> str | None:
    if case.state.key_state in LIVE_KEYS:
        return f"the meter still has keys on board ({case.state.key_state})"
    return None


def _identity_matches(case: Case) -> str | None:
    data = case.fact.data
    if data.get("identity_check") != "match" or data.get("label_identity") != data.get("electronic_identity"):
        return f"label {data.get('label_identity')} and electronic identity {data.get('electronic_identity')} differ"
    return None


def _steps_before(case: Case) -> str | None:
    steps = vocabulary.load().cell_steps
    needed = steps[: steps.index(case.fact.type)] if case.fact.type in steps else steps
    session = case.fact.data.get("session_id")
    if session != case.state.session:
        return f"the meter did not enter the cell in {session}"
    seen = iter(dict.fromkeys(case.state.steps))  # each step where it came first
    for step in needed:
        if step not in seen:
            return f"{step} is missing in this session, or came out of order"
    return None


def _tests_passed(case: Case) -> str | None:
    return None if case.state.tests_passed else "the last test in the cell was not passed"


def _keys_destroyed(case: Case) -> str | None:
    if case.state.key_state in LIVE_KEYS and case.fact.data.get("keys_destroyed") is not True:
        return "keys were bound and are not reported destroyed"
    return None


def _provisioned(case: Case) -> str | None:
    if case.state.claimed in _BEFORE_PROVISIONED:
        return f"keys are released for a meter that is {case.state.claimed}"
    return None


def _from_recipient(case: Case) -> str | None:
    if case.fact.author != case.state.recipient:
        return f"{case.fact.author} acknowledges keys that were released to {case.state.recipient or 'nobody'}"
    return None


def _to_consignee(case: Case) -> str | None:
    if case.fact.author not in (case.state.consignee, case.state.carrier):
        return f"{case.fact.author} is neither consignee nor carrier of this shipment"
    return None


def _keys_acknowledged(case: Case) -> str | None:
    if case.profile.requires("keys.bundle_acknowledged") and case.state.key_state not in {"acknowledged", "rotated"}:
        return f"the keys are not acknowledged ({case.state.key_state})"
    return None


def _seals_intact(case: Case) -> str | None:
    if case.state.seal_state not in {"intact", "replaced"}:
        return f"the seals are {case.state.seal_state}"
    return None


def _rotated(case: Case) -> str | None:
    return None if case.state.rotated else "no key was rotated since the re-provisioning began"


def _ready_for_reuse(case: Case) -> str | None:
    if case.fact.data.get("outcome") == "reuse" and not (case.state.sanitised and case.state.rotated):
        return "reuse needs sanitisation and then a key rotation since the removal"
    return None


def _sanitised(case: Case) -> str | None:
    return None if case.state.data_state == "sanitised" else "the meter was not sanitised"


def _other_verifier(case: Case) -> str | None:
    if case.fact.data.get("performed_by") == case.fact.data.get("verified_by"):
        return "the person who sanitised also verified it"
    return None


def _other_reviewer(case: Case) -> str | None:
    if case.state.opened_by is not None and case.fact.data.get("reviewed_by") == case.state.opened_by:
        return "the person who opened the quarantine also reviewed it"
    return None


def _from_party_on_record(case: Case) -> str | None:
    data = case.fact.data
    kind, giver = data.get("kind"), data.get("from_party")
    on_record = {
        "ownership": [case.state.owner],
        "control": [case.state.controller],
        "both": [case.state.owner, case.state.controller],
        "possession": [case.state.holder],
    }.get(str(kind), [])
    if any(party != giver for party in on_record):
        return f"{giver} gives {kind} that it does not have on record"
    return None


_QUESTIONS: dict[str, tuple[tuple[str, Question], ...]] = {
    "mfg.rejected": (("precondition.keys_destroyed", _keys_destroyed),),
    "cell.entered": (
        ("precondition.keys_live", _no_live_keys),
        ("precondition.identity_check", _identity_matches),
    ),
    "cell.firmware_loaded": (("precondition.cell_order", _steps_before),),
    "cell.keys_provisioned": (("precondition.cell_order", _steps_before),),
    "cell.trust_anchors_loaded": (("precondition.cell_order", _steps_before),),
    "cell.personalised": (("precondition.cell_order", _steps_before),),
    "cell.tested": (("precondition.cell_order", _steps_before),),
    "cell.sealed": (("precondition.cell_order", _steps_before), ("precondition.test_passed", _tests_passed)),
    "cell.exited": (("precondition.cell_order", _steps_before),),
    "keys.bundle_released": (("precondition.provisioned", _provisioned),),
    "keys.bundle_acknowledged": (("precondition.recipient", _from_recipient),),
    "delivery.received": (("precondition.consignee", _to_consignee),),
    "install.installed": (
        ("precondition.keys_acknowledged", _keys_acknowledged),
        ("precondition.seals_intact", _seals_intact),
    ),
    "ownership.transferred": (("precondition.from_party", _from_party_on_record),),
    "reprov.completed": (("precondition.rotated", _rotated),),
    "eol.triaged": (("precondition.reuse", _ready_for_reuse),),
    "eol.sanitised": (("precondition.other_verifier", _other_verifier),),
    "eol.disposed": (("precondition.sanitised", _sanitised),),
    "exception.released": (("precondition.other_reviewer", _other_reviewer),),
}
ASKED = frozenset(_QUESTIONS)  # the types whose events have preconditions
