"""Organisations, for those who administer the platform: register one from its file, make and revoke API keys."""

from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.core.files.uploadedfile import UploadedFile
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from compliance.accounts import actions, policy, selectors
from compliance.accounts.models import Organisation, SignaturePolicy
from compliance.accounts.registration import MAX_BYTES, RegistrationFile, read_registration, register_with_file
from compliance.accounts.roles import MarketRole
from compliance.jobs import clock
from compliance.ledger.errors import LedgerError, Refused
from compliance.proof.errors import ProofError
from compliance.web.reader import reader

ALGORITHMS = {"ed25519": "Ed25519", "ecdsa_p256_sha256": "ECDSA P-256"}
LONGEST_KEY_DAYS = actions.LONGEST_KEY_LIFE.days


class RegisterForm(forms.Form):
    """A registration file with what the platform vouches for: the name and the roles."""

    registration = forms.FileField(
        label="Registration file",
        help_text="registration.ndjson, made by the organisation with the client's keygen",
        error_messages={"required": "Choose the registration file", "empty": "The registration file is empty"},
    )
    name = forms.CharField(
        max_length=200,
        widget=forms.TextInput(attrs={"class": "in"}),
        error_messages={"required": "Enter the organisation's name"},
    )
    roles = forms.MultipleChoiceField(
        choices=MarketRole.choices,
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": "Choose at least one role"},
    )
    signature_policy = forms.ChoiceField(
        label="Signatures",
        choices=SignaturePolicy.choices,
        initial=SignaturePolicy.REQUIRED,
        widget=forms.Select(attrs={"class": "in"}),
    )

    def clean_registration(self) -> RegistrationFile:
        """The file, read and verified; what was wrong with it becomes the field's error."""
        upload: UploadedFile = self.cleaned_data["registration"]
        if upload.size and upload.size > MAX_BYTES:
            raise forms.ValidationError(f"A registration file has at most {MAX_BYTES // 1024} kB")
        self.registration_bytes = upload.read()
        try:
            return read_registration(self.registration_bytes)
        except (Refused, ProofError) as problem:
            raise forms.ValidationError(f"This is not a registration for this log: {problem.detail}") from problem


class ApiKeyForm(forms.Form):
    """A new credential for a machine."""

    name = forms.CharField(
        label="Where it will be used",
        max_length=100,
        required=False,
        widget=forms.TextInput(attrs={"class": "in", "autocomplete": "off"}),
    )
    scopes = forms.MultipleChoiceField(
        widget=forms.CheckboxSelectMultiple, error_messages={"required": "Choose at least one thing the key may do"}
    )
    days = forms.IntegerField(
        label="Days until it ends",
        min_value=1,
        max_value=LONGEST_KEY_DAYS,
        initial=actions.DEFAULT_KEY_LIFE.days,
        widget=forms.NumberInput(attrs={"class": "in"}),
        help_text=f"1 to {LONGEST_KEY_DAYS}",
        error_messages={
            "required": "Enter how many days the key lives",
            "min_value": f"Enter 1 to {LONGEST_KEY_DAYS} days",
            "max_value": f"Enter 1 to {LONGEST_KEY_DAYS} days",
            "invalid": "Enter a whole number of days",
        },
    )

    def __init__(self, *args: Any, organisation: Organisation, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        possible = policy.ALL_SCOPES if organisation.is_platform else policy.ALL_SCOPES - policy.PLATFORM_SCOPES
        self.fields["scopes"].choices = [(scope, scope) for scope in sorted(possible)]  # type: ignore[attr-defined]


@login_required
@require_http_methods(["GET", "POST"])
def organisations(request: HttpRequest) -> HttpResponse:
    """Organisations the reader may see. POST registers one from its file."""
    if not policy.allows(reader(request), "organisation.read"):
        raise PermissionDenied
    may_register = policy.allows(reader(request), "organisation.register")
    form, status = RegisterForm() if may_register else None, 200
    if request.method == "POST":
        if not may_register:
            raise PermissionDenied
        form, status = RegisterForm(request.POST, request.FILES), 422
        if form.is_valid() and (made := _register(request, form)):
            messages.success(request, f"{made.name} is registered, and its first key with it.")
            return redirect("web:organisation", made.pk)
    rows = [
        {
            "organisation": each,
            "roles": ", ".join(role_words(role) for role in each.roles) or "Operator of this platform",
            "policy": SignaturePolicy(each.signature_policy).label,
        }
        for each in selectors.organisations_visible_to(reader(request))
    ]
    return render(request, "web/organisations.html", {"organisations": rows, "form": form}, status=status)


@login_required
@require_http_methods(["GET", "POST"])
def organisation(request: HttpRequest, organisation_id: str) -> HttpResponse:
    """One organisation with its keys. POST makes an API key, whose secret this one answer shows and no other."""
    found = _organisation(request, organisation_id)
    may_create = policy.allows(reader(request), "api_key.create", found)
    form, status, made = None, 200, {}
    if may_create:
        form = ApiKeyForm(organisation=found)
    if request.method == "POST":
        if not may_create:
            raise PermissionDenied
        form = ApiKeyForm(request.POST, organisation=found)
        made = _make_key(request, found, form) if form.is_valid() else {}
        status = 201 if made else 422
        form = ApiKeyForm(organisation=found) if made else form
    return render(request, "web/organisation.html", {**_context(request, found), **made, "form": form}, status=status)


@login_required
@require_POST
def api_key_revoke(request: HttpRequest, organisation_id: str, identifier: str) -> HttpResponse:
    """End a credential at once."""
    found = _organisation(request, organisation_id)
    key = selectors.api_keys_visible_to(reader(request)).filter(organisation=found, identifier=identifier).first()
    if key is None:
        raise Http404
    actions.revoke_api_key(by=reader(request), key=key)
    messages.success(request, f"{key.public_id} no longer works.")
    return redirect("web:organisation", found.pk)


def role_words(role: str) -> str:
    """A market role as words."""
    return MarketRole(role).label if role in MarketRole.values else role


def _organisation(request: HttpRequest, organisation_id: str) -> Organisation:
    found = selectors.organisations_visible_to(reader(request)).filter(pk=organisation_id).first()
    if found is None:
        raise Http404
    return found


def _register(request: HttpRequest, form: RegisterForm) -> Organisation | None:
    read = form.cleaned_data["registration"]
    try:
        return register_with_file(
            by=reader(request),
            id=read.organisation,
            name=form.cleaned_data["name"],
            roles=form.cleaned_data["roles"],
            registration=form.registration_bytes,
            signature_policy=form.cleaned_data["signature_policy"],
        )
    except (Refused, ProofError, LedgerError) as problem:
        form.add_error("registration", f"It could not be registered: {getattr(problem, 'detail', problem)}")
        return None


def _make_key(request: HttpRequest, found: Organisation, form: ApiKeyForm) -> dict[str, Any]:
    try:
        key, secret = actions.create_api_key(
            by=reader(request),
            organisation=found,
            scopes=form.cleaned_data["scopes"],
            expires=clock.now() + timedelta(days=form.cleaned_data["days"]),
            name=form.cleaned_data["name"],
        )
    except Refused as refusal:
        form.add_error(None, refusal.detail)
        return {}
    return {"new_key": key, "secret": secret}


def _context(request: HttpRequest, found: Organisation) -> dict[str, Any]:
    now = clock.now()
    keys = selectors.signing_keys_visible_to(reader(request)).filter(organisation=found)
    api_keys = selectors.api_keys_visible_to(reader(request)).filter(organisation=found)
    return {
        "organisation": found,
        "roles": ", ".join(role_words(role) for role in found.roles) or "Operator of this platform",
        "policy": SignaturePolicy(found.signature_policy).label,
        "signing_keys": [
            {
                "key": key,
                "algorithm": ALGORITHMS.get(key.algorithm, key.algorithm),
                "state": _key_state(key.why_not_valid(now)),
            }
            for key in keys
        ],
        "api_keys": [{"key": key, "alive": key.is_alive(now), "state": _api_key_state(key, now)} for key in api_keys],
        "may_see_api_keys": policy.allows(reader(request), "api_key.read", found),
        "may_revoke": policy.allows(reader(request), "api_key.revoke", found),
    }


def _key_state(problem: str | None) -> tuple[str, str]:
    if problem is None:
        return "ok", "Valid"
    return ("bad", "Revoked") if problem == "key.revoked" else ("none", "Not valid now")


def _api_key_state(key: Any, now: Any) -> tuple[str, str]:
    if key.revoked_at is not None:
        return "bad", "Revoked"
    return ("ok", "Works") if key.is_alive(now) else ("none", "Ended")
