"""Words for the codes that pages show. Codes stay what the formats say; only what people read is written here."""

from dataclasses import dataclass

from compliance.custody import words as custody


@dataclass(frozen=True, slots=True)
class Phase:
    """One of the eight phases that the overview and the meter page draw, and the states it gathers."""

    name: str
    states: tuple[str, ...]

    @property
    def key(self) -> str:
        """Its name in an address."""
        return self.name.lower().replace(" ", "-")


PHASES = (
    Phase("In cell", ("assembled", "in_cell")),
    Phase("Sealed", ("provisioned", "packed")),
    Phase("In transit", ("in_transit",)),
    Phase("Stored", ("received", "accepted")),
    Phase("Installed", ("installed",)),
    Phase("Operating", ("in_service",)),
    Phase("Re-provisioned", ("reprovisioning",)),
    Phase("Decommissioned", ("removed", "in_triage", "decommissioned", "disposed")),
)
OFF_THE_PATH = ("quarantined", "missing", "scrapped")

# Statuses of requirements: icon kind, word, class of the matrix cell, mark beside the number.
COVERAGE = {
    "supported": ("ok", "Supported"),
    "contributing": ("info", "Contributing only"),
    "contradicted": ("bad", "Contradicted"),
    "none": ("none", "No evidence"),
    "not_assessable": ("none", "Not assessable"),
}

REVIEW = {
    "received": ("info", "Received"),
    "submitted": ("info", "In review"),
    "accepted": ("ok", "Accepted"),
    "returned": ("bad", "Returned"),
    "superseded": ("none", "Superseded"),
}

SEVERITY = {
    "critical": ("bad", "Critical"),
    "high": ("bad", "High"),
    "medium": ("warn", "Medium"),
    "low": ("warn", "Low"),
}

REPORT_STATES = {
    "requested": ("none", "Requested"),
    "rendering": ("info", "Laying out"),
    "sealing": ("info", "Signing"),
    "issued": ("ok", "Issued"),
    "failed": ("bad", "Failed"),
}

VERIFICATION = {
    "verified": ("ok", "Verified"),
    "verified-secondary": ("ok", "Verified at a secondary source"),
    "partial": ("warn", "Partly verified"),
    "recalled": ("warn", "From memory, not verified"),
    "unverified-theme": ("warn", "Editorial theme, not the publisher's list"),
}


# What lists call a requirement set where its full title would take three lines.
SHORT_TITLES = {
    "iso27001-2022": "ISO/IEC 27001:2022",
    "iso27001-2013": "ISO/IEC 27001:2013",
    "bsi-cc-pp-0073": "BSI-CC-PP-0073, gateway",
    "bsi-cc-pp-0077-v2": "BSI-CC-PP-0077, security module",
    "uk-cpa-sm": "CPA, GB smart metering",
    "etsi-en-303-645": "ETSI EN 303 645",
    "eu-cra-annex-i": "Cyber Resilience Act, Annex I",
    "iec-62443-4-1": "IEC 62443-4-1",
}


def short_title(key: str, title: str) -> str:
    """The name people use for a requirement set, else its title."""
    return SHORT_TITLES.get(key, title)


def state(code: str) -> str:
    """The word for a life-cycle state."""
    return custody.state(code)
