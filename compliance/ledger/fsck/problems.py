"""What fsck finds."""

from dataclasses import dataclass, field
from typing import Any, Final

MAX_SHOWN: Final = 1_000  # a lost disk has millions; the first thousand say where


@dataclass(frozen=True, slots=True)
class Problem:
    """Something stored contradicts something else. `place` says where to look."""

    code: str
    place: str
    detail: str


@dataclass(slots=True)
class FsckResult:
    """What was read and what was wrong with it. `problem_count` counts those beyond the shown ones too."""

    problems: list[Problem] = field(default_factory=list)
    problem_count: int = 0
    entries: int = 0
    redacted: int = 0
    batches: int = 0
    bytes: int = 0
    checkpoints: int = 0
    size: int = 0
    files: int = 0
    seconds: float = 0.0

    @property
    def sound(self) -> bool:
        """Whether nothing was wrong."""
        return not self.problem_count

    def add(self, code: str, place: str, detail: str) -> None:
        """Note a problem."""
        self.problem_count += 1
        if len(self.problems) < MAX_SHOWN:
            self.problems.append(Problem(code, place, detail))

    def absorb(self, part: "FsckResult") -> None:
        """Add what was read and found in a part of the ledger, after what is here."""
        self.problems += part.problems[: MAX_SHOWN - len(self.problems)]
        self.problem_count += part.problem_count
        self.entries += part.entries
        self.redacted += part.redacted
        self.batches += part.batches
        self.bytes += part.bytes
        self.checkpoints += part.checkpoints
        self.files += part.files

    def to_object(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "sound": self.sound,
            "problem_count": self.problem_count,
            "problems": [
                {"code": problem.code, "place": problem.place, "detail": problem.detail} for problem in self.problems
            ],
            "entries": self.entries,
            "redacted": self.redacted,
            "batches": self.batches,
            "bytes": self.bytes,
            "checkpoints": self.checkpoints,
            "size": self.size,
            "files": self.files,
            "seconds": round(self.seconds, 3),
        }
