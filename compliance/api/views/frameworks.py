"""Frameworks that are loaded, and how far the log and the evidence support them."""

from typing import Any, ClassVar

from django.http import HttpResponse
from rest_framework import serializers
from rest_framework.request import Request

from compliance.api.schema import operation, path_text
from compliance.api.views.base import ApiView, json_response
from compliance.checks import coverage
from compliance.frameworks import selectors
from compliance.frameworks.models import Framework

TAG = "Frameworks"
FRAMEWORK_KEY = path_text("framework_key", "The framework's key.", r"^[a-z0-9][a-z0-9-]{0,63}$")


class FrameworkAnswer(serializers.Serializer):
    """The current edition of a framework."""

    key = serializers.CharField()
    title = serializers.CharField()
    edition = serializers.CharField()
    publisher = serializers.CharField(allow_blank=True)
    verification = serializers.CharField(help_text="How the catalogue as a whole was confirmed.")
    official = serializers.BooleanField(help_text="False for editorial lists, which are not the publisher's own.")
    status = serializers.CharField(allow_blank=True, help_text="A warning to be shown with the framework.")
    requirements = serializers.IntegerField()
    assessable = serializers.IntegerField()


class FrameworkListAnswer(serializers.Serializer):
    """All of them; there are a few dozen at most."""

    items = FrameworkAnswer(many=True)


class ReasonAnswer(serializers.Serializer):
    """Why a requirement stands as it does."""

    kind = serializers.ChoiceField(choices=["evidence", "check", "mapping"])
    effect = serializers.ChoiceField(choices=[effect.value for effect in coverage.Effect])
    text = serializers.CharField()
    reference = serializers.CharField(help_text="An evidence id, a check's id or a requirement's reference.")


class RequirementAnswer(serializers.Serializer):
    """One requirement and its reasons, the weightiest first."""

    reference = serializers.CharField()
    ref = serializers.CharField()
    title = serializers.CharField(allow_blank=True)
    group = serializers.CharField(allow_blank=True)
    kind = serializers.CharField()
    verification = serializers.CharField(help_text="How the wording of this item was confirmed.")
    assessable = serializers.BooleanField()
    status = serializers.ChoiceField(choices=[status.value for status in coverage.Status])
    reasons = ReasonAnswer(many=True)


class CoveredFrameworkAnswer(serializers.Serializer):
    """The edition that was asked about."""

    key = serializers.CharField()
    edition = serializers.CharField()
    title = serializers.CharField()
    publisher = serializers.CharField(allow_blank=True)
    digest = serializers.CharField(help_text="SHA-256 of the catalogue's content.")
    official = serializers.BooleanField()
    status = serializers.CharField(allow_blank=True)
    verification = serializers.CharField()
    licence_note = serializers.CharField(allow_blank=True)


class CheckedAnswer(serializers.Serializer):
    """The run of the checks that the answer rests on."""

    run = serializers.CharField()
    log_size = serializers.IntegerField()
    root = serializers.CharField()  # type: ignore[assignment]  # taken out by the metaclass
    ran_at = serializers.DateTimeField()


class TotalsAnswer(serializers.Serializer):
    """How many requirements stand how."""

    requirements = serializers.IntegerField()
    assessable = serializers.IntegerField()
    contradicted = serializers.IntegerField()
    supported = serializers.IntegerField()
    contributing = serializers.IntegerField()
    none = serializers.IntegerField()
    not_assessable = serializers.IntegerField()


class CoverageAnswer(serializers.Serializer):
    """How far the record supports a framework, with every reason. The same file is attached to audit reports."""

    format = serializers.CharField()
    framework = CoveredFrameworkAnswer()
    computed_at = serializers.DateTimeField()
    checks = CheckedAnswer(allow_null=True)
    totals = TotalsAnswer()
    requirements = RequirementAnswer(many=True)
    unresolved_references = serializers.ListField(
        child=serializers.CharField(), help_text="Cited by accepted evidence, but not in this edition."
    )


class FrameworkList(ApiView):
    """`/api/v1/frameworks`"""

    actions: ClassVar = {"GET": "framework.read"}

    @operation(
        "list_frameworks", "Frameworks that are loaded", tag=TAG, answer=FrameworkListAnswer, action="framework.read"
    )
    def get(self, request: Request) -> HttpResponse:
        return json_response({"items": [_framework_body(framework) for framework in selectors.frameworks()]})


class CoverageDetail(ApiView):
    """`/api/v1/coverage/{framework_key}`"""

    actions: ClassVar = {"GET": "coverage.read"}

    @operation(
        "get_coverage",
        "How far the record supports a framework, requirement by requirement",
        tag=TAG,
        answer=CoverageAnswer,
        action="coverage.read",
        also=(404,),
        parameters=[FRAMEWORK_KEY],
        description="Computed when asked, from accepted evidence, the checks' last run and one hop of mappings.",
    )
    def get(self, request: Request, framework_key: str) -> HttpResponse:
        framework = self.found(selectors.editions(framework_key).first())
        return json_response(coverage.as_json(coverage.compute(framework.key)))


def _framework_body(framework: Framework) -> dict[str, Any]:
    return {
        "key": framework.key,
        "title": framework.title,
        "edition": framework.edition,
        "publisher": framework.publisher,
        "verification": framework.verification,
        "official": framework.is_official,
        "status": framework.status,
        "requirements": framework.requirement_count,  # type: ignore[attr-defined]
        "assessable": framework.assessable_count,  # type: ignore[attr-defined]
    }
