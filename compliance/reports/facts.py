"""What a report says, before it has a shape: typed, complete, taken from the record.

Builders fill these; templates only arrange them. Every figure has its population beside it, every list says how many
items it has in all, so that a page can show the first `SHOWN_ROWS` and name the attachment that holds the rest.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Generic, Literal, TypeVar

SHOWN_ROWS = 200  # about eight pages; nobody reads on, and drawing costs 10 ms a row
LONGEST_PRINTED_LINE = 400  # an Ed25519 line has some 120 characters after its name

Row = TypeVar("Row")
Tone = Literal["ok", "warn", "bad"]


@dataclass(frozen=True, slots=True)
class Listed(Generic[Row]):
    """The first rows of a list, and how long it is."""

    rows: tuple[Row, ...]
    total: int

    @classmethod
    def first(cls, rows: "list[Row] | tuple[Row, ...]", limit: int = SHOWN_ROWS) -> "Listed[Row]":
        """The first `limit` of `rows`."""
        return cls(tuple(rows[:limit]), len(rows))

    @property
    def hidden(self) -> int:
        """How many are not shown."""
        return self.total - len(self.rows)


@dataclass(frozen=True, slots=True)
class Conclusion:
    """What follows from the record by the rule that the report states. Not an opinion: those are signed by people."""

    tone: Tone
    heading: str
    sentence: str


@dataclass(frozen=True, slots=True)
class CheckpointFacts:
    """The published tree head that the report stands on."""

    origin: str
    size: int
    root: str  # hex
    published_at: datetime
    note: str
    stamped_at: datetime | None = None  # by a time stamp authority; its token is in the attached proof

    @property
    def printed_note(self) -> str:
        """The note for paper: of a line with ML-DSA-44, 3,300 characters, only the beginning. Files have it whole."""
        return "\n".join(
            line if len(line) <= LONGEST_PRINTED_LINE else f"{line[:LONGEST_PRINTED_LINE]}… ({len(line):,} characters)"
            for line in self.note.split("\n")
        )


@dataclass(frozen=True, slots=True)
class Document:
    """What every report says about itself."""

    number: str
    kind: str
    title: str
    operator: str
    requested_by: str
    prepared_at: datetime
    language: str
    address: str  # where the issuer's platform shows this report
    checkpoint: CheckpointFacts
    seal_by: str
    time_stamp_by: str
    software: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class AttachmentFacts:
    """One file inside the report."""

    name: str
    description: str
    media_type: str
    size: int
    sha256: str


class CoverageState(StrEnum):
    """How far the record supports a requirement. The words are those of `checks.coverage`."""

    SUPPORTED = "supported"
    CONTRIBUTING = "contributing"
    CONTRADICTED = "contradicted"
    NONE = "none"
    NOT_ASSESSABLE = "not_assessable"


@dataclass(frozen=True, slots=True)
class FrameworkFacts:
    """The catalogue the report is about."""

    key: str
    title: str
    edition: str
    publisher: str
    verification: str  # how the catalogue itself was checked
    licence_note: str
    requirements: int
    assessable: int


@dataclass(frozen=True, slots=True)
class RequirementFacts:
    """One row of the coverage table."""

    group: str
    ref: str
    title: str
    state: CoverageState
    verification: str
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class GroupTotals:
    """One bar of the chart."""

    title: str
    counts: Mapping[CoverageState, int]

    @property
    def total(self) -> int:
        """All requirements of the group."""
        return sum(self.counts.values())


@dataclass(frozen=True, slots=True)
class FindingFacts:
    """A finding of a detector."""

    number: str
    finding: str  # the subject of its chain in the log
    detector: str
    version: str
    severity: str  # of `checks.registry.Severity`
    title: str
    state: str
    condition: str
    concerns: str  # subject of what it is about
    meters: int
    meters_named: tuple[str, ...]
    bears_on: tuple[str, ...]
    log_size: int | None

    @property
    def names_more(self) -> bool:
        """Whether it names other meters than the one it concerns."""
        return self.meters > 0 and self.meters_named != (self.concerns,)


@dataclass(frozen=True, slots=True)
class CheckFacts:
    """One automated test and what it looked at."""

    detector: str
    title: str
    version: str
    population: int
    deviations: int
    not_evaluable: int
    log_size: int
    ran_at: datetime | None


@dataclass(frozen=True, slots=True)
class StageFacts:
    """Meters at one stage of the life cycle."""

    title: str
    meters: int


@dataclass(frozen=True, slots=True)
class EventFacts:
    """One entry of a chain."""

    seq: int
    occurred_at: str
    recorded_at: str
    title: str
    author: str
    place: str
    entry_hash: str
    violations: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SampledMeter:
    """A meter whose whole chain was verified for this report."""

    subject: str
    entries: int
    claimed_state: str
    assured_state: str
    verified: bool
    failure: str


@dataclass(frozen=True, slots=True)
class CustodyFacts:
    """What was verified of the meters' custody."""

    meters: int
    entries: int
    organisations: int
    stages: tuple[StageFacts, ...]
    violations: Mapping[str, int]
    meters_with_violations: int
    meters_assured_lower: int  # the record assures less than the parties claim
    sampled: tuple[SampledMeter, ...]
    example_subject: str
    example: Listed[EventFacts]
    first_recorded_at: datetime | None
    last_recorded_at: datetime | None


@dataclass(frozen=True, slots=True)
class EvidenceFacts:
    """One evidence file."""

    number: str
    title: str
    kind: str
    organisation: str
    state: str
    covers: str
    file_name: str
    media_type: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class FrameworkAudit:
    """The framework audit report."""

    document: Document
    framework: FrameworkFacts
    conclusion: Conclusion
    groups: tuple[GroupTotals, ...]
    requirements: Listed[RequirementFacts]
    findings: Listed[FindingFacts]
    findings_by_severity: Mapping[str, int]
    checks: tuple[CheckFacts, ...]
    custody: CustodyFacts
    evidence: Listed[EvidenceFacts]
    evidence_by_state: Mapping[str, int]

    def count(self, state: CoverageState) -> int:
        """How many requirements are in `state`."""
        return sum(group.counts.get(state, 0) for group in self.groups)


@dataclass(frozen=True, slots=True)
class IdentifierFacts:
    """One of the meter's identifiers."""

    scheme: str
    value: str


@dataclass(frozen=True, slots=True)
class KeyFacts:
    """A key of the meter as the register knows it: by commitment, never by value."""

    role: str
    form: str
    digest: str
    seq: int
    destroyed: bool


@dataclass(frozen=True, slots=True)
class InclusionFacts:
    """Where the last entry of the chain lies in the log."""

    seq: int
    entry_hash: str
    leaf: int
    path_length: int


@dataclass(frozen=True, slots=True)
class MeterCertificate:
    """The custody certificate of one meter."""

    document: Document
    conclusion: Conclusion
    subject: str
    public_id: str
    meter_address: str
    meter_type: str
    manufacturer: str
    identifiers: tuple[IdentifierFacts, ...]
    holder: str
    owner: str
    controller: str
    claimed_state: str
    assured_state: str
    tracks: Mapping[str, str]
    timeline: Listed[EventFacts]
    keys: tuple[KeyFacts, ...]
    firmware: tuple[tuple[str, str], ...]
    exceptions: tuple[str, ...]
    findings: tuple[FindingFacts, ...]
    inclusion: InclusionFacts | None

    @property
    def key_form(self) -> str:
        """How most of its keys are known."""
        return Counter(key.form for key in self.keys).most_common(1)[0][0] if self.keys else "commitment"
