"""API keys: made, rotated and revoked here; the secret is in the answer to the making and nowhere else."""

from datetime import timedelta
from typing import Any, ClassVar

from django.http import HttpResponse
from rest_framework import serializers
from rest_framework.request import Request

from compliance.accounts import actions, policy, selectors
from compliance.accounts.models import ApiKey
from compliance.api import idempotency, paging
from compliance.api.idempotency import Answer
from compliance.api.problems import ApiProblem
from compliance.api.schema import header, operation, path_text
from compliance.api.shapes import Choice, Pattern, Shape, Text, Whole
from compliance.api.views.base import ApiView, json_response
from compliance.jobs import clock
from compliance.proof.times import format_time

TAG = "API keys"
DAYS = actions.DEFAULT_KEY_LIFE.days
MOST_DAYS = actions.LONGEST_KEY_LIFE.days
KEY_ID = path_text("api_key_id", "The public part of the key.", r"^mp_live_[0-9A-Za-z]{8}$")
IDEMPOTENCY_KEY = header(
    "Idempotency-Key",
    "A fresh random value; the same one when the request is repeated.",
    pattern=r"^[A-Za-z0-9._:-]{1,255}$",
)


class NewApiKey(Shape):
    """Whose machine it is, what it may do, and how long."""

    organisation = Pattern(r"[a-z][a-z0-9_]{1,30}")
    scopes = serializers.ListField(
        child=Choice(choices=sorted(policy.ALL_SCOPES)), min_length=1, max_length=len(policy.ALL_SCOPES)
    )
    days = Whole(required=False, min_value=1, max_value=MOST_DAYS, help_text=f"Lifetime, {DAYS} if not said.")
    name = Text(required=False, max_length=100, help_text="For people: where the key is used.")


class ApiKeyAnswer(serializers.Serializer):
    """A key without its secret."""

    id = serializers.CharField()
    organisation = serializers.CharField()
    name = serializers.CharField(allow_blank=True)
    scopes = serializers.ListField(child=serializers.CharField())
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField()
    last_used_at = serializers.DateTimeField(allow_null=True)
    revoked_at = serializers.DateTimeField(allow_null=True)
    replaces = serializers.CharField(allow_null=True)


class NewApiKeyAnswer(ApiKeyAnswer):
    """A key just made."""

    secret = serializers.CharField(help_text="Shown this once.")


class ApiKeyPage(serializers.Serializer):
    """A page of keys."""

    items = ApiKeyAnswer(many=True)
    next = serializers.CharField(allow_null=True)


def api_key_body(key: ApiKey) -> dict[str, Any]:
    """What the interface says about a key."""
    return {
        "id": key.public_id,
        "organisation": key.organisation_id,
        "name": key.name,
        "scopes": key.scopes,
        "created_at": format_time(key.created_at),
        "expires_at": format_time(key.expires_at),
        "last_used_at": format_time(key.last_used_at) if key.last_used_at else None,
        "revoked_at": format_time(key.revoked_at) if key.revoked_at else None,
        "replaces": key.replaces.public_id if key.replaces else None,
    }


class ApiKeyList(ApiView):
    """`/api/v1/api-keys`"""

    actions: ClassVar = {"GET": "api_key.read", "POST": "api_key.create"}
    query_shapes: ClassVar = {"GET": paging.PageQuery}

    @operation(
        "list_api_keys",
        "API keys you may see, newest first",
        tag=TAG,
        answer=ApiKeyPage,
        action="api_key.read",
        query=paging.PageQuery,
    )
    def get(self, request: Request) -> HttpResponse:
        page = paging.page_of(
            selectors.api_keys_visible_to(self.caller).select_related("replaces"),
            key="pk",
            query=self.query,
            bound_to=f"api keys {self.caller.pk}",
            descending=True,
        )
        body = {"items": [api_key_body(each) for each in page.rows], "next": page.next}
        return json_response(body, headers=paging.link_to(request.path, self.query, page.next))

    @operation(
        "create_api_key",
        "Make an API key",
        tag=TAG,
        answer=NewApiKeyAnswer,
        success=201,
        action="api_key.create",
        body=NewApiKey,
        parameters=[IDEMPOTENCY_KEY],
    )
    def post(self, request: Request) -> HttpResponse:
        wanted = self.read_body(NewApiKey, request)
        organisation = selectors.organisation(wanted["organisation"])
        if organisation is None or not policy.allows(self.caller, "api_key.create", organisation):
            raise ApiProblem("organisation.unknown")

        def make() -> Answer:
            key, secret = actions.create_api_key(
                by=self.caller,
                organisation=organisation,
                scopes=wanted["scopes"],
                expires=clock.now() + timedelta(days=wanted.get("days", DAYS)),
                name=wanted.get("name", ""),
            )
            headers = {"Location": f"{request.path}/{key.public_id}"}
            return Answer(status=201, body={**api_key_body(key), "secret": secret}, headers=headers)

        return idempotency.once(request, self.sent, make)


class ApiKeyDetail(ApiView):
    """`/api/v1/api-keys/{api_key_id}`"""

    actions: ClassVar = {"GET": "api_key.read", "DELETE": "api_key.revoke"}

    @operation(
        "get_api_key",
        "One API key",
        tag=TAG,
        answer=ApiKeyAnswer,
        action="api_key.read",
        also=(404,),
        parameters=[KEY_ID],
    )
    def get(self, request: Request, api_key_id: str) -> HttpResponse:
        return json_response(api_key_body(self.found(_key(api_key_id, self.caller))))

    @operation(
        "revoke_api_key",
        "Revoke an API key at once",
        tag=TAG,
        answer=ApiKeyAnswer,
        action="api_key.revoke",
        also=(404,),
        parameters=[KEY_ID],
        description="Requests under way with the key are not recorded either. Revoking again changes nothing.",
    )
    def delete(self, request: Request, api_key_id: str) -> HttpResponse:
        return json_response(
            api_key_body(actions.revoke_api_key(by=self.caller, key=self.found(_key(api_key_id, self.caller))))
        )


class ApiKeyRotation(ApiView):
    """`/api/v1/api-keys/{api_key_id}/rotate`"""

    actions: ClassVar = {"POST": "api_key.create"}

    @operation(
        "rotate_api_key",
        "Make the successor of an API key; both live for seven days",
        tag=TAG,
        answer=NewApiKeyAnswer,
        success=201,
        action="api_key.create",
        also=(404, 409, 422),
        parameters=[KEY_ID, IDEMPOTENCY_KEY],
    )
    def post(self, request: Request, api_key_id: str) -> HttpResponse:
        old = self.found(_key(api_key_id, self.caller))

        def make() -> Answer:
            key, secret = actions.rotate_api_key(by=self.caller, key=old)
            return Answer(status=201, body={**api_key_body(key), "secret": secret})

        return idempotency.once(request, self.sent, make)


def _key(api_key_id: str, caller: ApiKey) -> ApiKey | None:
    keys = selectors.api_keys_visible_to(caller).select_related("replaces")
    return keys.filter(identifier=api_key_id.removeprefix("mp_live_")).first()
