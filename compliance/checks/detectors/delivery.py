"""Is it handed from hand to hand, and does what arrives match the note? AN-14 and AN-15."""

from collections.abc import Iterable, Iterator, Sequence

from compliance.checks.knowledge import METER, Knowledge, LogKnowledge
from compliance.checks.registry import EventCheck, Severity, SweepCheck, register
from compliance.checks.story import Step
from compliance.checks.verdicts import Verdict, conforms, deviates, not_evaluable
from compliance.custody.lifecycle import UNKNOWN_PARTY


@register
class CustodyGap(EventCheck):
    """AN-14: Does whoever handles a meter hold it?

    At the wall the holder on record must act, or whoever it is on the way to. A shipment is received by its carrier or
    consignee. Possession is handed over by the party that has it.
    """

    id = "AN-14"
    name = "custody_gap"
    severity = Severity.HIGH
    speaks_to = ("iso27001-2022:A.5.9", "iso27001-2022:A.5.11", "iso27001-2022:A.7.9")
    listens_to = ("delivery.received", "install.installed", "eol.removed", "ownership.transferred")

    def judge(self, step: Step, knowledge: Knowledge) -> Iterable[Verdict]:
        if step.type == "delivery.received":
            return [_judge_receipt(step, knowledge.chain(step.subject))]
        if not step.subject.startswith(METER):
            return []
        if step.type == "ownership.transferred":
            return [_judge_transfer(step, knowledge)] if step.data.get("kind") == "possession" else []
        return [_judge_hands_on(step, knowledge)]


def _judge_receipt(step: Step, chain: Sequence[Step]) -> Verdict:
    note = _note(chain)
    if note is None:
        return not_evaluable("no delivery note was recorded for this shipment")
    expected = [note.data.get("consignee"), note.data.get("carrier")]
    if step.author not in expected:
        return deviates(f"received by {step.author}, but on the way to {expected[0]} with {expected[1]}")
    return conforms()


def _judge_transfer(step: Step, knowledge: Knowledge) -> Verdict:
    holder, giver = knowledge.meter(step.subject).state.holder, step.data.get("from_party")
    if holder in (None, UNKNOWN_PARTY):
        return not_evaluable("no holder is on record")
    if giver != holder:
        return deviates(f"{giver} hands the meter over, but {holder} holds it")
    return conforms()


def _judge_hands_on(step: Step, knowledge: Knowledge) -> Verdict:
    state = knowledge.meter(step.subject).state
    if state.holder in (None, UNKNOWN_PARTY):
        return not_evaluable("no holder is on record")
    if step.author not in (state.holder, state.consignee):
        return deviates(f"{step.type} by {step.author}, but {state.holder} holds the meter")
    return conforms()


@register
class DeliveryNoteMismatch(SweepCheck):
    """AN-15: Is what was found at goods-in what the delivery note says?

    The note in force is the last that was not declared wrong: a short shipment that a corrected note announced is none.
    Shipments that nobody inspected yet are not judged.
    """

    id = "AN-15"
    name = "delivery_note_mismatch"
    severity = Severity.HIGH
    speaks_to = ("iso27001-2022:A.5.14", "iso27001-2022:A.5.20", "iso27001-2022:A.5.21")

    def examine(self, knowledge: LogKnowledge) -> Iterable[tuple[Step, Verdict]]:
        for subject, chain in sorted(knowledge.chains.items()):
            inspected = [step for step in chain if step.type == "delivery.inspected"]
            if subject.startswith("shipment:") and inspected:
                yield inspected[-1], _judge_inspection(inspected[-1], chain)


def _judge_inspection(step: Step, chain: Sequence[Step]) -> Verdict:
    note = _note(chain)
    if note is None:
        return not_evaluable("no delivery note was recorded for this shipment")
    if problems := list(_differences(step, note, chain)):
        named = [*step.data["missing"], *step.data["unexpected"]]
        return deviates("; ".join(problems), meters=[subject for subject in named if subject.startswith(METER)])
    return conforms()


def _differences(step: Step, note: Step, chain: Sequence[Step]) -> Iterator[str]:
    data = step.data
    stated, found = int(note.data["meter_count"]), int(data["found_count"])
    if data["missing"]:
        yield f"missing: {len(data['missing'])}"
    if data["unexpected"]:
        yield f"on no note: {len(data['unexpected'])}"
    if found != stated:
        yield f"{stated} on the note, {found} found"
    received = [said for said in chain if said.type == "delivery.received"]
    if received:
        units = set(note.data["units"])
        if strangers := sorted(set(received[-1].data["received_units"]) - units):
            yield f"units on no note: {', '.join(strangers)}"


def _note(chain: Sequence[Step]) -> Step | None:
    """The delivery note in force: the last dispatch of the sender that stands."""
    return next((step for step in reversed(chain) if step.type == "delivery.dispatched" and step.is_by_namesake), None)
