"""What was planted, what only looks like it, and how the platform's findings compare. The platform never sees this."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Planted:
    """One anomaly, or one decoy: a legitimate story that looks like it."""

    detector: str
    story: str
    subject: str
    meters: tuple[str, ...] = ()

    @property
    def subjects(self) -> frozenset[str]:
        """Chains by which a finding may name it."""
        return frozenset({self.subject, *self.meters})


@dataclass(slots=True)
class Truth:
    """All plants and decoys of a run."""

    seed: int
    meters: int
    plants: list[Planted] = field(default_factory=list)
    decoys: list[Planted] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """The content of `truth.json`."""
        return asdict(self)

    @property
    def touched(self) -> frozenset[str]:
        """Every chain that a plant changed; all others must be without violation."""
        return frozenset(subject for plant in self.plants for subject in plant.subjects)


@dataclass(frozen=True, slots=True)
class Comparison:
    """What the detectors made of it."""

    found: Sequence[Planted]
    missed: Sequence[Planted]
    decoys_reported: Sequence[Planted]
    unexpected: Sequence[Mapping[str, Any]]

    @property
    def is_right(self) -> bool:
        """All plants found, and nothing else."""
        return not (self.missed or self.decoys_reported or self.unexpected)


def compare(truth: Truth, findings: Iterable[Mapping[str, Any]]) -> Comparison:
    """Match findings (`detector`, `subject`, `meters`) with what was planted."""
    matched: set[Planted] = set()
    unexpected = []
    for finding in findings:
        named = {finding["subject"], *finding.get("meters", ())}
        plants = [one for one in truth.plants if one.detector == finding["detector"] and one.subjects & named]
        matched.update(plants)
        if not plants:
            unexpected.append(finding)
    reported = [
        decoy
        for decoy in truth.decoys
        if any(
            decoy.detector == finding["detector"] and decoy.subjects & {finding["subject"], *finding.get("meters", ())}
            for finding in unexpected
        )
    ]
    return Comparison(
        found=[plant for plant in truth.plants if plant in matched],
        missed=[plant for plant in truth.plants if plant not in matched],
        decoys_reported=reported,
        unexpected=unexpected,
    )
