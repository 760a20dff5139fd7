"""Signing in and out, and the page of one's own account."""

from django.contrib.auth import views as auth_views
from django.contrib.auth.decorators import login_required
from django.contrib.auth.forms import AuthenticationForm
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from compliance.ledger import selectors as ledger
from compliance.web import charts
from compliance.web.reader import reader

LOCKED_OUT_STATUS = 429


class SignInForm(AuthenticationForm):
    """User name and password. One answer for an unknown name and for a wrong password."""

    error_messages = {
        **AuthenticationForm.error_messages,
        "invalid_login": "The user name or the password is not right",
    }

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        for name, words in (("username", "Enter your user name"), ("password", "Enter your password")):
            self.fields[name].widget.attrs.update({"class": "in", "autofocus": False})
            self.fields[name].error_messages["required"] = words


class SignIn(auth_views.LoginView):
    """The sign-in page, with the latest checkpoint beside it: it is public, and worth comparing."""

    template_name = "web/login.html"
    authentication_form = SignInForm
    redirect_authenticated_user = True

    def get_context_data(self, **kwargs: object) -> dict[str, object]:
        return {**super().get_context_data(**kwargs), **checkpoint_context()}


def checkpoint_context() -> dict[str, object]:
    """The latest checkpoint and its root as bars, or nothing while there is none."""
    checkpoint = ledger.latest_checkpoint()
    if checkpoint is None:
        return {"checkpoint": None}
    return {
        "checkpoint": checkpoint,
        "root": checkpoint.root.hex(),
        "root_bars": charts.root_bars(checkpoint.root.hex()),
    }


def locked_out(request: HttpRequest, *_args: object, **_kwargs: object) -> HttpResponse:
    """What axes answers after too many wrong passwords for one name from one address."""
    return render(request, "web/locked_out.html", checkpoint_context(), status=LOCKED_OUT_STATUS)


@login_required
@require_GET
def account(request: HttpRequest) -> HttpResponse:
    """Who one is here, and the way out."""
    return render(request, "web/account.html", {"memberships": reader(request).active_memberships})
