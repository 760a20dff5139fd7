"""All addresses: the REST interface and the public log first, pages last."""

from django.urls import include, path

urlpatterns = [
    path("", include("compliance.api.urls")),
    path("", include("compliance.web.urls")),
]

handler500 = "compliance.web.views.errors.server_error"
