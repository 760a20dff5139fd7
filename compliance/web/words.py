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


def state(code: str) -> str:
    """The word for a life-cycle state."""
    return custody.state(code)
