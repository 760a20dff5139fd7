"""Does what is loaded, updated and put into service lie within a valid certificate? AN-08."""

from collections.abc import Iterable

from compliance.checks.knowledge import Knowledge
from compliance.checks.registry import EventCheck, Severity, register
from compliance.checks.story import Step
from compliance.checks.verdicts import Verdict, conforms, deviates, not_evaluable

_GOOD = frozenset({"granted", "renewed"})
_VERSION = {"cell.firmware_loaded": "version", "ops.firmware_updated": "to_version"}
_IMAGE = {"cell.firmware_loaded": "image_sha256_readback", "ops.firmware_updated": "activated_sha256"}


@register
class FirmwareOutsideCertificate(EventCheck):
    """AN-08: Is the released image within the scope of a certificate of its type that was valid then?

    Of each certificate counts what was last said of it by the day of the event. An image that nobody released is
    AN-07's question. At commissioning the question is whether the type has a valid certificate at all.
    """

    id = "AN-08"
    name = "firmware_outside_certificate"
    severity = Severity.HIGH
    speaks_to = ("iso27001-2022:A.5.36", "iso27001-2022:A.8.32")
    listens_to = ("cell.firmware_loaded", "install.commissioned", "ops.firmware_updated")

    def judge(self, step: Step, knowledge: Knowledge) -> Iterable[Verdict]:
        if step.type in _IMAGE and not knowledge.releases_of(step.data[_IMAGE[step.type]]):
            return []
        meter_type = knowledge.meter(step.subject).meter_type
        if not meter_type:
            return [not_evaluable("of which type the meter is was never recorded")]
        certificates = _last_words(knowledge.chain(meter_type), step)
        if not certificates:
            return [not_evaluable(f"no certificate of {meter_type} was recorded by then")]
        valid = [each for each in certificates if _is_valid(each, step)]
        if not valid:
            return [deviates(f"no certificate of {meter_type} was valid then")]
        version = step.data.get(_VERSION.get(step.type, ""))
        if version is not None and not any(version in each.data.get("scope_firmware", ()) for each in valid):
            return [deviates(f"version {version} is in the scope of no valid certificate of {meter_type}")]
        return [conforms()]


def _last_words(chain: Iterable[Step], step: Step) -> list[Step]:
    """The last thing said of each certificate by the time of `step`."""
    last: dict[tuple[str, str], Step] = {}
    for said in sorted(chain, key=lambda each: each.occurred_at):
        if said.type == "design.type_certified" and said.occurred_at <= step.occurred_at:
            last[str(said.data.get("scheme")), str(said.data.get("certificate_id"))] = said
    return list(last.values())


def _is_valid(certificate: Step, step: Step) -> bool:
    day = f"{step.occurred_at:%Y-%m-%d}"
    issued, until = certificate.data.get("issued_on"), certificate.data.get("valid_until")
    within = (not issued or str(issued)[:10] <= day) and (not until or day <= str(until)[:10])
    return certificate.data.get("status") in _GOOD and within
