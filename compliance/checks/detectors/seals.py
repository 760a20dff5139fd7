"""Are the seals those that were put on? AN-10."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from compliance.checks.knowledge import Knowledge
from compliance.checks.registry import EventCheck, Severity, register
from compliance.checks.story import MeterStory, Step, seals_applied, seals_seen
from compliance.checks.verdicts import Verdict, conforms, deviates, not_evaluable


@register
class SealInconsistent(EventCheck):
    """AN-10: Is each seal number used once, and is the seal that is seen the one that was put on?

    After a recorded opening (the meter reports its cover open, or it goes back into the cell) another number is no
    deviation. Whether a number comes from an issued roll cannot be told: nobody records rolls yet.
    """

    id = "AN-10"
    name = "seal_inconsistent"
    severity = Severity.HIGH
    speaks_to = ("iso27001-2022:A.7.8", "iso27001-2022:A.7.10", "iso27001-2022:A.5.21")
    listens_to = ("cell.sealed", "cell.exited", "delivery.inspected", "install.installed", "eol.removed")

    def judge(self, step: Step, knowledge: Knowledge) -> Iterable[Verdict]:
        if step.type == "cell.exited":
            return _judge_exit(step, knowledge)
        if step.type == "delivery.inspected":
            meters = dict.fromkeys(seen["subject"] for seen in step.data["seal_results"])
            return [_combined(_compare(step, knowledge.meter(meter)), about=meter) for meter in meters]
        story = knowledge.meter(step.subject)
        return [_combined([*_compare(step, story), *_reused(step, knowledge)])]


def _judge_exit(step: Step, knowledge: Knowledge) -> Iterator[Verdict]:
    """Every seal point of the type must have its seal. A unit that was never sealed at all is AN-04's question."""
    story = knowledge.meter(step.subject)
    if not story.seals:
        return
    of_type = knowledge.chain(story.meter_type)
    registered = [said for said in of_type if said.type == "design.type_registered" and said.is_by_namesake]
    if not registered:
        yield not_evaluable("the seal points of its type were never recorded")
    elif missing := [point for point in registered[-1].data["seal_points"] if point not in story.seals]:
        yield deviates(f"no seal at {', '.join(missing)}")
    else:
        yield conforms()


def _compare(step: Step, story: MeterStory) -> Iterator[Verdict]:
    """What was found on the meter against what was put on it."""
    for seen in seals_seen(step.fact, story.subject):
        applied, point = story.seal_at(seen["point"]), seen["point"]
        if point in story.loose:
            yield conforms()
        elif applied is None:
            yield not_evaluable(f"no seal was ever recorded at {point}")
        elif seen["result"] == "missing":
            yield deviates(f"the seal {applied} at {point} is missing")
        elif seen["number"] != applied:
            yield deviates(f"at {point} the seal {seen['number']} was found, {applied} had been put on")
        else:
            yield conforms()


def _reused(step: Step, knowledge: Knowledge) -> Iterator[Verdict]:
    """Numbers that were put on somewhere before, or twice now."""
    applied: list[Mapping[str, Any]] = seals_applied(step.fact)
    numbers = [seal["number"] for seal in applied]
    for number in dict.fromkeys(numbers):
        if before := sorted({use.subject for use in knowledge.uses_of_seal(number)}):
            yield deviates(f"the seal {number} was already put on {', '.join(before)}", meters=before)
        elif numbers.count(number) > 1:
            yield deviates(f"the seal {number} is put on twice")
        else:
            yield conforms()


def _combined(verdicts: Iterable[Verdict], *, about: str = "") -> Verdict:
    """One answer for a meter from the answers for its seals: the worst, with all reasons."""
    given = list(verdicts)
    if bad := [verdict for verdict in given if verdict.outcome == "deviates"]:
        meters = [*([about] if about else ()), *(meter for verdict in bad for meter in verdict.meters)]
        return deviates("; ".join(verdict.detail for verdict in bad), about=about, meters=meters)
    if unknown := [verdict for verdict in given if verdict.outcome == "not_evaluable"]:
        return not_evaluable("; ".join(verdict.detail for verdict in unknown), about=about)
    return conforms(about) if given else not_evaluable("no seal was looked at", about=about)
