"""Do two people stand behind what needs two? AN-06."""

from collections.abc import Iterable, Iterator

from compliance.checks.knowledge import Knowledge
from compliance.checks.registry import EventCheck, Severity, register
from compliance.checks.story import Step
from compliance.checks.verdicts import Verdict, conforms, deviates
from compliance.custody import lifecycle, vocabulary

# Members of `data` that name the two people beside the signatures.
_NAMED_PAIRS = {
    "cell.session_opened": ("operators",),
    "cell.keys_provisioned": ("custodians",),
    "keys.bundle_released": ("approvers",),
}
_NAMED_TWICE = {"eol.sanitised": ("performed_by", "verified_by")}


@register
class TwoPersonRuleBroken(EventCheck):
    """AN-06: Did two different people sign what needs two?

    People are told apart by who holds the signing key; a station's or service's key is nobody's hand. Where the
    vocabulary asks for two organisations, two organisations must have signed.
    """

    id = "AN-06"
    name = "two_person_rule_broken"
    severity = Severity.HIGH
    speaks_to = ("iso27001-2022:A.5.3", "iso27001-2022:A.5.15", "iso27001-2022:A.8.2")
    listens_to = (
        "design.firmware_released",
        "mfg.rejected",
        "cell.session_opened",
        "cell.keys_provisioned",
        "cell.exited",
        "cell.session_reconciled",
        "keys.bundle_released",
        "keys.bundle_revoked",
        "ownership.transferred",
        "eol.sanitised",
        "exception.released",
    )

    def judge(self, step: Step, knowledge: Knowledge) -> Iterable[Verdict]:  # noqa: ARG002 (the entry says it all)
        event_type = vocabulary.load().events[step.type]
        if not event_type.asks_second_signature(step.data):
            return []
        if problems := list(_problems(step, event_type.signature_rule)):
            return [deviates("; ".join(problems))]
        return [conforms()]


def _problems(step: Step, rule: str | None) -> Iterator[str]:
    if not lifecycle.enough_signers(rule, step.signers):
        if rule == "two_organisations":
            yield f"signed for {len({signer.organisation for signer in step.signers})} organisation, not two"
        else:
            people = {signer.person for signer in step.signers if signer.person is not None}
            keys = len(step.told.keyids)
            yield f"{keys} signature{'s' * (keys != 1)} of {len(people)} {'person' if len(people) == 1 else 'people'}"
    event = step.told.event
    if "second_actor" in event and event["second_actor"] == event["actor"]:
        yield "the same person acts twice"
    for member in _NAMED_PAIRS.get(step.type, ()):
        named = step.data.get(member)
        if isinstance(named, list) and len(set(map(str, named))) < 2:
            yield f"fewer than two {member} are named"
    if step.type in _NAMED_TWICE and len({str(step.data.get(member)) for member in _NAMED_TWICE[step.type]}) == 1:
        yield f"{' and '.join(_NAMED_TWICE[step.type])} name the same person"
