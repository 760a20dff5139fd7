"""Documents the simulated organisations hand in for their certifications, each linked to what it is meant to show.

The texts are short and invented; what matters is their form, their dates and their links. CPA links point at the
editorial themes of the catalogue, not at an official list.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta

from compliance.demo.papers import Paper, as_csv, as_json, as_pdf, as_text
from compliance.demo.parameters import Parameters
from compliance.demo.people import FACTORY, FIRST_UTILITY, INSTALLER, RECYCLER, SECOND_UTILITY

ISO, BSI, CPA = "iso27001-2022", "bsi-cc-pp-0073", "uk-cpa-sm"
PRODUCED_AFTER_PERIOD = timedelta(days=6)


@dataclass(frozen=True, slots=True)
class _Plan:
    organisation: str
    form: str
    kind: str
    title: str
    lines: Sequence[str]
    requirements: Sequence[str]
    verdict: str = "accept"


_PLANS = (
    _Plan(
        FACTORY, "pdf", "policy", "Information security policy of the production site",
        ["Approved by the management board.", "Scope: design, production and the secured cell.", "Reviewed yearly."],
        [f"{ISO}:A.5.1", f"{ISO}:5.2"],
    ),
    _Plan(
        FACTORY, "pdf", "procedure", "Separation of duties in the secured cell",
        ["Two people open and close each session.", "Nobody releases a unit they provisioned alone."],
        [f"{ISO}:A.5.3", f"{ISO}:A.5.15", f"{ISO}:A.8.2", f"{BSI}:ALC_DVS.1"],
    ),
    _Plan(
        FACTORY, "csv", "record", "Access log of the secured cell",
        ["2025-01-08,p-aur-early-1,door-1", "2025-01-08,p-aur-early-2,door-1", "2025-01-20,p-aur-late-1,door-1"],
        [f"{ISO}:A.7.1", f"{ISO}:A.7.2", f"{BSI}:ALC_DVS.1"],
    ),
    _Plan(
        FACTORY, "pdf", "procedure", "Key management in production",
        ["Keys are made in the HSM and leave it only encrypted to the customer.", "Rejected units lose their keys."],
        [f"{ISO}:A.8.24", f"{ISO}:A.5.17", f"{BSI}:OE.Keygen", f"{CPA}:CPA-DEV-T04", f"{CPA}:CPA-DEV-T06"],
    ),
    _Plan(
        FACTORY, "json", "record", "Firmware release records",
        ["build and release signed by two people", "images: 4.1.2, 4.2.0, 2.0.5, 2.1.0"],
        [f"{ISO}:A.8.32", f"{ISO}:A.8.19", f"{BSI}:ALC_CMC.4", f"{CPA}:CPA-DEV-T08", f"{CPA}:CPA-DEV-T09"],
    ),
    _Plan(
        FACTORY, "pdf", "report", "Robustness and fuzz test report of the DLMS stack",
        ["1 200 000 malformed frames, no crash, no reboot.", "Protocol fuzzing repeated for each release."],
        [f"{ISO}:A.8.29", f"{BSI}:ATE_FUN.1", f"{BSI}:AVA_VAN.5", f"{CPA}:CPA-VER-T18"],
    ),
    _Plan(
        FACTORY, "pdf", "procedure", "Secure development life cycle",
        ["Threat model, code review, signed builds."],
        [f"{ISO}:A.8.25", f"{ISO}:A.8.28", f"{BSI}:ALC_LCD.1", f"{CPA}:CPA-DEV-T17"],
    ),
    _Plan(
        FACTORY, "txt", "procedure", "Delivery procedure: seals, pallets, signed notes",
        ["Every unit is sealed at the exit gate.", "The note names every meter.", "Carriers are vetted."],
        [f"{BSI}:ALC_DEL.1", f"{ISO}:A.5.14", f"{ISO}:A.5.21", f"{CPA}:CPA-DEP-T21"],
    ),
    _Plan(
        FACTORY, "csv", "record", "Approved suppliers and their last assessment",
        ["board-house-4,2025-02-11,approved", "seal-works,2025-03-02,approved"],
        [f"{ISO}:A.5.19", f"{ISO}:A.5.20", f"{ISO}:A.5.22"],
    ),
    _Plan(
        FACTORY, "pdf", "record", "Seal roll register",
        ["Rolls are drawn by the shift lead and balanced at reconciliation."],
        [f"{ISO}:A.7.10", f"{BSI}:FPT_PHP.1", f"{CPA}:CPA-DEV-T01"],
    ),
    _Plan(
        FACTORY, "pdf", "report", "Internal audit of the information security management system",
        ["Two minor nonconformities, both closed."],
        [f"{ISO}:9.2.2", f"{ISO}:10.2"],
    ),
    _Plan(
        FACTORY, "pdf", "minutes", "Management review minutes", ["Held in March.", "Objectives met: 11 of 12."],
        [f"{ISO}:9.3.2", f"{ISO}:9.3.3"],
    ),
    _Plan(
        FACTORY, "csv", "record", "Clock offsets of the stations",
        ["st-01,3 ms", "st-02,-7 ms", "st-03,12 ms"],
        [f"{ISO}:A.8.17", f"{BSI}:FPT_STM.1"],
    ),
    _Plan(
        FACTORY, "pdf", "guidance", "Preparative and operational guidance for installers and operators",
        ["How to compare seals.", "What to do when a seal differs."],
        [f"{BSI}:AGD_PRE.1", f"{BSI}:AGD_OPE.1", f"{CPA}:CPA-DEP-T21"],
    ),
    _Plan(
        FIRST_UTILITY, "pdf", "procedure", "Goods-in inspection and key import",
        ["100 % identity scan.", "Seals and images of a sample.", "Commitments recomputed for every key."],
        [f"{ISO}:A.5.9", f"{ISO}:A.5.23", f"{BSI}:OE.Update"],
    ),
    _Plan(
        FIRST_UTILITY, "json", "record", "Key rotation report of the head end",
        ["all delivered unicast keys replaced", "longest delay: 6 days"],
        [f"{ISO}:A.8.24", f"{BSI}:FCS_CKM.1/MTR"],
    ),
    _Plan(
        SECOND_UTILITY, "pdf", "procedure", "Change of tenant: access and privacy",
        ["Old access ends before new access begins.", "Load profiles are erased."],
        [f"{ISO}:A.5.18", f"{ISO}:A.5.34", f"{BSI}:T.Privacy", f"{BSI}:FDP_RIP.2"],
    ),
    _Plan(
        SECOND_UTILITY, "txt", "record", "Incident drill: leaked key bundle",
        ["Drill of 2025-11-04.", "Bundle revoked after 40 minutes, rotation after 3 days."],
        [f"{ISO}:A.5.24", f"{ISO}:A.5.26"],
        verdict="return",
    ),
    _Plan(
        INSTALLER, "csv", "record", "Training records of the fitters",
        ["inst-1,2025-01-15,seals and hand-over", "inst-2,2025-01-15,seals and hand-over"],
        [f"{ISO}:A.6.3", f"{ISO}:7.2"],
    ),
    _Plan(
        INSTALLER, "pdf", "agreement", "Confidentiality agreement of the field service", ["Signed by all fitters."],
        [f"{ISO}:A.6.6"],
        verdict="",
    ),
    _Plan(
        RECYCLER, "pdf", "certificate", "Certificate of sanitisation, summary of the period",
        ["Technique: cryptographic erase.", "Verified by a second person in each case."],
        [f"{ISO}:A.7.14", f"{ISO}:A.8.10", f"{BSI}:T.ResidualData", f"{CPA}:CPA-DEP-T24"],
    ),
    _Plan(
        RECYCLER, "txt", "record", "Weight notes of shredded devices", ["4 devices, 6.4 kg."], [f"{ISO}:A.7.14"],
        verdict="return",
    ),
)  # fmt: skip


def documents(parameters: Parameters, *, seed: int) -> list[Paper]:
    """All documents, dated shortly after the period they speak of."""
    covers_from, covers_until = parameters.evidence.covers_from, parameters.evidence.covers_until
    produced_at = datetime.combine(covers_until, time(9, 30), UTC) + PRODUCED_AFTER_PERIOD
    papers = []
    for plan in _PLANS:
        slug = "-".join(plan.title.lower().replace(":", "").replace(",", "").split()[:6])
        content, media_type = _content(plan, seed)
        papers.append(
            Paper(
                plan.organisation,
                f"{slug}.{plan.form}",
                media_type,
                content,
                title=plan.title,
                kind=plan.kind,
                covers_from=covers_from,
                covers_until=covers_until,
                produced_at=produced_at,
                links=tuple(("requirement", requirement) for requirement in plan.requirements),
                verdict=plan.verdict,
            )
        )
    return papers


def _content(plan: _Plan, seed: int) -> tuple[bytes, str]:
    head = f"{plan.title} ({plan.organisation}, demonstration run {seed})"
    match plan.form:
        case "pdf":
            return as_pdf(
                plan.title, [f"Demonstration run {seed}, {plan.organisation}", "", *plan.lines]
            ), "application/pdf"
        case "csv":
            return as_csv([head], [line.split(",") for line in plan.lines]), "text/csv"
        case "json":
            return as_json({"title": plan.title, "run": seed, "content": list(plan.lines)}), "application/json"
        case _:
            return as_text([head, "", *plan.lines]), "text/plain"
