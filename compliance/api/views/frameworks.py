"""Frameworks that are loaded, and how far the log and the evidence support them."""

from typing import Any, ClassVar

from django.http import HttpResponse
from rest_framework import serializers
from rest_framework.request import Request

from compliance.api.schema import operation
from compliance.api.views.base import ApiView, json_response
from compliance.frameworks import selectors
from compliance.frameworks.models import Framework

TAG = "Frameworks"


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


class FrameworkList(ApiView):
    """`/api/v1/frameworks`"""

    actions: ClassVar = {"GET": "framework.read"}

    @operation(
        "list_frameworks", "Frameworks that are loaded", tag=TAG, answer=FrameworkListAnswer, action="framework.read"
    )
    def get(self, request: Request) -> HttpResponse:
        return json_response({"items": [_framework_body(framework) for framework in selectors.frameworks()]})


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
