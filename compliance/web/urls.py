"""Addresses of the pages."""

from django.contrib.auth.views import LogoutView
from django.urls import path

from compliance.web.views import (
    evidence,
    find,
    findings,
    frameworks,
    meters,
    organisations,
    overview,
    public,
    reports,
    session,
)

app_name = "web"
urlpatterns = [
    path("", overview.overview, name="overview"),
    path("find", find.find, name="find"),
    path("meters", meters.meters, name="meters"),
    path("meters/proof", meters.meters_proof, name="meters_proof"),
    path("meters/<str:public_id>", meters.meter, name="meter"),
    path("meters/<str:public_id>/proof", meters.meter_proof, name="meter_proof"),
    path("frameworks", frameworks.frameworks, name="frameworks"),
    path("frameworks/<str:key>", frameworks.framework, name="framework"),
    path("frameworks/<str:key>/<path:ref>", frameworks.requirement, name="requirement"),
    path("evidence", evidence.evidence_list, name="evidence_list"),
    path("evidence/<str:public_id>", evidence.evidence, name="evidence"),
    path("evidence/<str:public_id>/files/<str:sha256>", evidence.evidence_file, name="evidence_file"),
    path("findings", findings.findings, name="findings"),
    path("findings/run", findings.findings_run, name="findings_run"),
    path("findings/<str:public_id>", findings.finding, name="finding"),
    path("reports", reports.reports, name="reports"),
    path("reports/<str:public_id>", reports.report, name="report"),
    path("reports/<str:public_id>/progress", reports.report_progress, name="report_progress"),
    path("reports/<str:public_id>/content", reports.report_content, name="report_content"),
    path("organisations", organisations.organisations, name="organisations"),
    path("organisations/<str:organisation_id>", organisations.organisation, name="organisation"),
    path(
        "organisations/<str:organisation_id>/api-keys/<str:identifier>/revoke",
        organisations.api_key_revoke,
        name="api_key_revoke",
    ),
    path("account", session.account, name="account"),
    path("login", session.SignIn.as_view(), name="login"),
    path("logout", LogoutView.as_view(), name="logout"),
    path("verify", public.verify, name="verify"),
    path("docs", public.docs, name="docs"),
    path("docs/identifiers", public.identifiers, name="identifiers"),
]
