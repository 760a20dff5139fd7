"""Organisations: an administrator registers them; everybody else sees their own."""

from typing import Any, ClassVar

from django.http import HttpResponse
from rest_framework import serializers
from rest_framework.request import Request

from compliance.accounts import actions, selectors
from compliance.accounts.models import Organisation, SignaturePolicy
from compliance.accounts.roles import MarketRole
from compliance.api import paging
from compliance.api.schema import operation, path_text
from compliance.api.shapes import Choice, Pattern, Shape, Text
from compliance.api.views.base import ApiView, json_response
from compliance.proof.times import format_time

TAG = "Organisations"
ORGANISATION_ID = path_text("organisation_id", "The organisation's id.", r"^[a-z][a-z0-9_]{1,30}$")


class NewOrganisation(Shape):
    """What the platform vouches for."""

    id = Pattern(r"[a-z][a-z0-9_]{1,30}", help_text="Given once and never reused.")
    name = Text(max_length=200)
    roles = serializers.ListField(child=Choice(choices=MarketRole.choices), min_length=1, max_length=len(MarketRole))
    first_key = Pattern(r"sha256:[0-9a-f]{64}", help_text="Key id of the organisation's first signing key.")
    signature_policy = Choice(choices=SignaturePolicy.choices, required=False)


class OrganisationAnswer(serializers.Serializer):
    """An organisation as the log knows it."""

    id = serializers.CharField()
    name = serializers.CharField()
    roles = serializers.ListField(child=serializers.CharField())
    first_key = serializers.CharField()
    signature_policy = serializers.ChoiceField(choices=SignaturePolicy.choices)
    subject = serializers.CharField(help_text="Subject text of its chain.")
    registered_at = serializers.DateTimeField()


class OrganisationPage(serializers.Serializer):
    """A page of organisations."""

    items = OrganisationAnswer(many=True)
    next = serializers.CharField(allow_null=True)


def organisation_body(organisation: Organisation) -> dict[str, Any]:
    """What the interface says about an organisation."""
    return {
        "id": organisation.pk,
        "name": organisation.name,
        "roles": organisation.roles,
        "first_key": organisation.first_key,
        "signature_policy": organisation.signature_policy,
        "subject": organisation.subject,
        "registered_at": format_time(organisation.registered_at),
    }


class OrganisationList(ApiView):
    """`/api/v1/organisations`"""

    actions: ClassVar = {"GET": "organisation.read", "POST": "organisation.register"}
    query_shapes: ClassVar = {"GET": paging.PageQuery}

    @operation(
        "list_organisations",
        "Organisations you may see",
        tag=TAG,
        answer=OrganisationPage,
        action="organisation.read",
        query=paging.PageQuery,
    )
    def get(self, request: Request) -> HttpResponse:
        page = paging.page_of(
            selectors.organisations_visible_to(self.caller),
            key="pk",
            query=self.query,
            bound_to=f"organisations {self.caller.pk}",
        )
        body = {"items": [organisation_body(each) for each in page.rows], "next": page.next}
        return json_response(body, headers=paging.link_to(request.path, self.query, page.next))

    @operation(
        "register_organisation",
        "Register an organisation and its first signing key",
        tag=TAG,
        answer=OrganisationAnswer,
        success=201,
        action="organisation.register",
        body=NewOrganisation,
        also=(409,),
        description="Becomes an entry of the log. The organisation then sends org.key_registered for the key itself.",
    )
    def post(self, request: Request) -> HttpResponse:
        wanted = self.read_body(NewOrganisation, request)
        organisation = actions.register_organisation(by=self.caller, **wanted)
        headers = {"Location": f"{request.path}/{organisation.pk}"}
        return json_response(organisation_body(organisation), status=201, headers=headers)


class OrganisationDetail(ApiView):
    """`/api/v1/organisations/{organisation_id}`"""

    actions: ClassVar = {"GET": "organisation.read"}

    @operation(
        "get_organisation",
        "One organisation",
        tag=TAG,
        answer=OrganisationAnswer,
        action="organisation.read",
        also=(404,),
        parameters=[ORGANISATION_ID],
    )
    def get(self, request: Request, organisation_id: str) -> HttpResponse:
        organisation = self.found(selectors.organisations_visible_to(self.caller).filter(pk=organisation_id).first())
        return json_response(organisation_body(organisation))
