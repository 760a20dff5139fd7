"""Is every key in one meter only? AN-02."""

from collections.abc import Iterable, Iterator

from compliance.checks.knowledge import KeyUse, Knowledge
from compliance.checks.registry import EventCheck, Severity, register
from compliance.checks.story import MeterStory, Step, key_value
from compliance.checks.verdicts import Verdict, conforms, deviates, not_evaluable


@register
class DuplicateKey(EventCheck):
    """AN-02: Is each key in one meter and one role only, and does a destroyed key stay destroyed?

    Equal registry tags mean equal keys, equal public key digests too; commitments are salted and say nothing here. A
    key may be shared where its role is on the list and both sides declare it.
    """

    id = "AN-02"
    name = "duplicate_key_commitment"
    severity = Severity.CRITICAL
    speaks_to = ("iso27001-2022:A.8.24", "iso27001-2022:A.5.17")
    listens_to = ("cell.keys_provisioned", "keys.rotated")
    parameters = {"shared_roles": ["GBEK", "E_METER_ENCRYPTION_KEY_BROADCAST"]}

    def judge(self, step: Step, knowledge: Knowledge) -> Iterable[Verdict]:
        story = knowledge.meter(step.subject)
        problems: list[str] = []
        meters: list[str] = []
        silent: list[str] = []
        seen: dict[str, KeyUse] = {}
        for key in step.data["keys"]:
            value = key_value(key)
            use = KeyUse(step.subject, step.seq, str(key.get("role")), key.get("shared") is True)
            if not value:
                silent.append(use.role)
                continue
            for problem, meter in self._problems(value, use, story, seen.get(value), knowledge.uses_of_key(value)):
                problems.append(problem)
                meters.append(meter)
            seen.setdefault(value, use)
        if problems:
            return [deviates("; ".join(dict.fromkeys(problems)), meters=meters)]
        if silent:
            return [not_evaluable(f"no registry tag or public key digest for {', '.join(silent)}")]
        return [conforms()]

    def _problems(
        self, value: str, use: KeyUse, story: MeterStory, beside: KeyUse | None, elsewhere: Iterable[KeyUse]
    ) -> Iterator[tuple[str, str]]:
        if beside is not None and beside.role != use.role:
            yield f"one key for {beside.role} and {use.role}", use.subject
        if value in story.destroyed and not self._may_share(use, use):
            yield f"the {use.role} was reported destroyed and is back", use.subject
        for other in sorted(elsewhere, key=lambda each: (each.subject, each.seq, each.role)):
            if other.subject != use.subject and not self._may_share(use, other):
                yield f"the {use.role} is also the {other.role} of {other.subject}", other.subject
            elif other.subject == use.subject and other.role != use.role:
                yield f"the {use.role} was already the {other.role} of this meter", use.subject

    def _may_share(self, one: KeyUse, other: KeyUse) -> bool:
        return one.shared and other.shared and one.role == other.role and one.role in self.parameters["shared_roles"]
