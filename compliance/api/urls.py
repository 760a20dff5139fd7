"""Addresses of the REST interface, the public log and the health checks."""

from django.urls import path, re_path, register_converter

from compliance.api.views import (
    api_keys,
    batches,
    checks,
    docs,
    events,
    evidence,
    fallback,
    frameworks,
    health,
    jobs,
    log,
    meters,
    organisations,
    reports,
    service,
)

app_name = "api"

V1 = "api/v1/"


class Hash:
    """64 lower-case hex digits."""

    regex = "[0-9a-f]{64}"

    def to_python(self, value: str) -> str:
        """As it is."""
        return value

    def to_url(self, value: str) -> str:
        """As it is."""
        return value


class Position(Hash):
    """A position in a batch, one spelling each."""

    regex = "(?:0|[1-9][0-9]{0,4})"


register_converter(Hash, "hash")
register_converter(Position, "position")

urlpatterns = [
    path("livez", health.live, name="live"),
    path("readyz", health.ready, name="ready"),
    path("log/checkpoint", log.checkpoint, name="checkpoint"),
    path("log/checkpoint.anchored", log.anchored, name="checkpoint-anchored"),
    path("log/checkpoint.tsr", log.time_stamp, name="checkpoint-time-stamp"),
    re_path(f"^{log.TILE}$", log.tile, name="tile"),
    re_path(f"^{log.CONSISTENCY}$", log.consistency, name="consistency"),
    re_path(rf"^{log.CONSISTENCY}\.cose$", log.consistency_receipt, name="consistency_receipt"),
    path("log/receipt-keys", log.receipt_keys, name="receipt_keys"),
    path("docs/problems", docs.problems, name="problems"),
    path(f"{V1}schema", docs.schema, name="schema"),
    path(f"{V1}schema.yaml", docs.schema_yaml, name="schema_yaml"),
    path(f"{V1}docs", docs.operations, name="operations"),
    path(f"{V1}service", service.Service.as_view(), name="service"),
    path(f"{V1}organisations", organisations.OrganisationList.as_view(), name="organisations"),
    path(f"{V1}organisations/<str:organisation_id>", organisations.OrganisationDetail.as_view(), name="organisation"),
    path(f"{V1}api-keys", api_keys.ApiKeyList.as_view(), name="api_keys"),
    path(f"{V1}api-keys/<str:api_key_id>", api_keys.ApiKeyDetail.as_view(), name="api_key"),
    path(f"{V1}api-keys/<str:api_key_id>/rotate", api_keys.ApiKeyRotation.as_view(), name="api_key_rotation"),
    path(f"{V1}batches", batches.BatchList.as_view(), name="batches"),
    path(f"{V1}batches/<hash:batch_id>", batches.BatchDetail.as_view(), name="batch"),
    path(f"{V1}events/<hash:batch_id>/<position:index>", events.EventDetail.as_view(), name="event"),
    path(f"{V1}events/<hash:batch_id>/<position:index>/receipt", events.EventReceipt.as_view(), name="receipt"),
    path(f"{V1}events/<hash:batch_id>/<position:index>/proof", events.EventProof.as_view(), name="proof"),
    path(f"{V1}events/<hash:batch_id>/<position:index>/entry", events.EventEntry.as_view(), name="event_entry"),
    path(f"{V1}events/<hash:batch_id>/<position:index>/cose-receipt", events.EventCose.as_view(), name="event_cose"),
    path(f"{V1}subjects", events.SubjectLookup.as_view(), name="subjects"),
    path(f"{V1}meters", meters.MeterList.as_view(), name="meters"),
    path(f"{V1}meters/<str:meter_id>", meters.MeterDetail.as_view(), name="meter"),
    path(f"{V1}meters/<str:meter_id>/events", meters.MeterEvents.as_view(), name="meter_events"),
    path(f"{V1}meters/<str:meter_id>/proof", meters.MeterProof.as_view(), name="meter_proof"),
    path(f"{V1}evidence", evidence.EvidenceList.as_view(), name="evidence_list"),
    path(f"{V1}evidence/<str:evidence_id>", evidence.EvidenceDetail.as_view(), name="evidence"),
    path(
        f"{V1}evidence/<str:evidence_id>/files/<str:sha256>", evidence.EvidenceContent.as_view(), name="evidence_file"
    ),
    path(f"{V1}checks/runs", checks.CheckRuns.as_view(), name="check_runs"),
    path(f"{V1}findings", checks.FindingList.as_view(), name="findings"),
    path(f"{V1}findings/<str:finding_id>", checks.FindingDetail.as_view(), name="finding"),
    path(f"{V1}frameworks", frameworks.FrameworkList.as_view(), name="frameworks"),
    path(f"{V1}coverage/<str:framework_key>", frameworks.CoverageDetail.as_view(), name="coverage"),
    path(f"{V1}reports", reports.ReportList.as_view(), name="reports"),
    path(f"{V1}reports/<str:report_id>", reports.ReportDetail.as_view(), name="report"),
    path(f"{V1}reports/<str:report_id>/content", reports.ReportContent.as_view(), name="report_content"),
    path(f"{V1}jobs/<str:job_id>", jobs.JobDetail.as_view(), name="job"),
    re_path(r"^(?:api|log)/", fallback.nothing_here, name="nothing_here"),
]
