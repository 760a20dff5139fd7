"""Is this meter the one it says it is, and may it still be anything? AN-01 and AN-23."""

from collections.abc import Iterable, Iterator

from compliance.checks.knowledge import Knowledge
from compliance.checks.registry import EventCheck, Severity, register
from compliance.checks.story import CELL_ENTRY, MeterStory, Step, stated_names
from compliance.checks.verdicts import Verdict, conforms, deviates, not_evaluable
from compliance.custody.facts import BIRTH
from compliance.proof import identifiers
from compliance.proof import subject as subjects


@register
class DuplicateIdentity(EventCheck):
    """AN-01: Is each identity born once, and does each meter have one?

    The ledger itself refuses a name that belongs to another chain; what is left are a second birth on one chain, a
    second value of a scheme that allows one, and a chip that tells another identity than the label at the gate of the
    cell.
    """

    id = "AN-01"
    name = "duplicate_identity"
    severity = Severity.CRITICAL
    speaks_to = ("iso27001-2022:A.5.9", "iso27001-2022:A.5.21")
    listens_to = (BIRTH, CELL_ENTRY)

    def judge(self, step: Step, knowledge: Knowledge) -> Iterable[Verdict]:
        story = knowledge.meter(step.subject)
        if step.type == BIRTH:
            return [self._judge_birth(step, story)]
        return [self._judge_reading(step, story)]

    def _judge_birth(self, step: Step, story: MeterStory) -> Verdict:
        if story.births:
            return deviates(f"the identity is born a second time, by {step.author}")
        if names := list(_second_names(step, story)):
            return deviates(f"one meter claims two names of one scheme: {'; '.join(names)}")
        return conforms()

    def _judge_reading(self, step: Step, story: MeterStory) -> Verdict:
        label, chip = step.data.get("label_identity"), step.data.get("electronic_identity")
        if label != chip or step.data.get("identity_check") == "mismatch":
            return deviates(f"the label says {label}, the chip {chip}")
        if names := list(_second_names(step, story)):
            return deviates(f"one meter claims two names of one scheme: {'; '.join(names)}")
        if label not in story.known_names():
            return not_evaluable(f"{label} is no recorded name of this meter, so nobody can say whose it is")
        return conforms()


def _second_names(step: Step, story: MeterStory) -> Iterator[str]:
    """Schemes that allow one value and would have several, as sentences."""
    names = {scheme: set(values) for scheme, values in story.names.items()}
    own = subjects.parse(step.subject)
    names.setdefault(own.scheme, set()).add(own.value)
    for scheme, value in stated_names(step.fact):
        names.setdefault(scheme, set()).add(value)
    for scheme, values in sorted(names.items()):
        if len(values) > 1 and scheme in identifiers.SCHEMES and identifiers.is_single_valued(scheme):
            yield f"{scheme} {' and '.join(sorted(values))}"


@register
class ZombieDevice(EventCheck):
    """AN-23: Does a meter that was taken out of service stay out of service?

    Out of service means decommissioned, disposed or scrapped. Triage leads a decommissioned meter back, nothing leads
    back one that was disposed of or scrapped.
    """

    id = "AN-23"
    name = "zombie_device"
    severity = Severity.CRITICAL
    speaks_to = ("iso27001-2022:A.5.9", "iso27001-2022:A.7.14", "iso27001-2022:A.8.16")
    listens_to = (
        "install.installed",
        "install.commissioned",
        "ops.attested",
        "ops.firmware_updated",
        "reprov.started",
        CELL_ENTRY,
        "eol.decommissioned",
        "eol.disposed",
    )

    def judge(self, step: Step, knowledge: Knowledge) -> Iterable[Verdict]:
        story = knowledge.meter(step.subject)
        if step.type == "eol.decommissioned":
            dead_for_good = story.dead in ("disposed", "scrapped")
            return [deviates(f"decommissioned after it was {story.dead}") if dead_for_good else conforms()]
        if step.type == "eol.disposed":
            return [deviates("disposed of a second time") if story.dead == "disposed" else conforms()]
        if story.dead:
            return [deviates(f"{step.type} of a meter that is {story.dead}")]
        if not story.births:
            return [not_evaluable("the meter's birth was never recorded, so its end may be missing too")]
        return [conforms()]
