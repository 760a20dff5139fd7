"""All addresses: the REST interface and the public log first, pages last."""

from django.urls import include, path

urlpatterns = [
    path("", include("compliance.api.urls")),
    path("", include("compliance.web.urls")),
]
