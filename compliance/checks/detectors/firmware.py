"""Does a meter run what its maker released? AN-07."""

from collections.abc import Iterable, Iterator

from compliance.checks.knowledge import Knowledge, Release
from compliance.checks.registry import EventCheck, Severity, register
from compliance.checks.story import Step
from compliance.checks.verdicts import Verdict, conforms, deviates, not_evaluable
from compliance.proof import subject as subjects

_DIGEST = {
    "cell.firmware_loaded": "image_sha256_readback",
    "ops.firmware_updated": "activated_sha256",
    "ops.attested": "firmware_sha256",
}


@register
class FirmwareNotReleased(EventCheck):
    """AN-07: Is the image that was loaded or reported a released one for this type, and not revoked by then?

    By then: what is said of an image counts from when it is said to have happened, so that a read-out that comes late
    is judged by its own day. A superseded image stays allowed. Only the maker of a type can release for it.
    """

    id = "AN-07"
    name = "firmware_not_released"
    severity = Severity.CRITICAL
    speaks_to = ("iso27001-2022:A.8.19", "iso27001-2022:A.8.32", "iso27001-2022:A.8.9", "iso27001-2022:A.5.21")
    listens_to = ("cell.firmware_loaded", "ops.firmware_updated", "ops.attested", "delivery.inspected")

    def judge(self, step: Step, knowledge: Knowledge) -> Iterable[Verdict]:
        for meter, image in _images(step):
            yield _judge_image(step, meter, image, knowledge)


def _images(step: Step) -> Iterator[tuple[str, str]]:
    if step.type == "delivery.inspected":
        for sample in step.data["firmware_sample"]:
            yield sample["subject"], sample["image_sha256"]
    else:
        yield step.subject, step.data[_DIGEST[step.type]]


def _judge_image(step: Step, meter: str, image: str, knowledge: Knowledge) -> Verdict:
    about = meter if meter != step.subject else ""
    meters = (meter,) if about else ()
    said = [release for release in knowledge.releases_of(image) if _is_by_maker(release)]
    if not said:
        return deviates(f"nobody released the image {image[:16]}…", about=about, meters=meters)
    meter_type = knowledge.meter(meter).meter_type
    if not meter_type:
        return not_evaluable("of which type the meter is was never recorded", about=about)
    for_type = [release for release in said if meter_type in release.target_types]
    if not for_type:
        return deviates(f"the image {image[:16]}… is not released for {meter_type}", about=about, meters=meters)
    counting = [release for release in for_type if release.occurred_at <= step.occurred_at]
    if not counting:
        return deviates(f"the image {image[:16]}… was released only later", about=about, meters=meters)
    if max(counting, key=lambda release: (release.occurred_at, release.subject, release.seq)).status == "revoked":
        return deviates(f"the image {image[:16]}… was revoked before", about=about, meters=meters)
    return conforms(about)


def _is_by_maker(release: Release) -> bool:
    return all(subjects.parse(target).scheme == release.author for target in release.target_types)
