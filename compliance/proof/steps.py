"""What a verification did, step by step, in words a regulator reads and in values a script reads."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from compliance.proof.errors import REASONS, ProofError

Status = Literal["ok", "bad", "unchecked"]


@dataclass(slots=True)
class Step:
    """One step: what was checked (`title`), how it ended, and what there is to say."""

    title: str
    status: Status = "ok"
    lines: list[str] = field(default_factory=list)
    code: str | None = None
    place: str | None = None

    def say(self, line: str) -> None:
        """Add a line to what this step says."""
        self.lines.append(line)

    def fail(self, error: ProofError) -> None:
        """End this step as bad, or unchecked if the error only says that it could not be checked."""
        self.status = "unchecked" if error.exit_status > 1 else "bad"
        self.code = error.code
        self.place = error.place
        self.lines.append(f"{error}. {REASONS.get(error.code, 'no meaning is given for this code').capitalize()}.")

    def to_object(self) -> dict[str, Any]:
        """For `--json`."""
        value: dict[str, Any] = {"title": self.title, "status": self.status, "lines": list(self.lines)}
        if self.code:
            value["code"] = self.code
        if self.place:
            value["place"] = self.place
        return value


@dataclass(slots=True)
class Verdict:
    """Everything a verification found. `error` is the first thing that failed, if any."""

    kind: str
    steps: list[Step] = field(default_factory=list)
    error: ProofError | None = None
    notes: list[str] = field(default_factory=list)
    redacted: list[int] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def exit_status(self) -> int:
        """0 nothing bad, 1 something does not verify, 2 it could not be checked."""
        return 0 if self.error is None else self.error.exit_status

    @contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """Run one step; a ProofError ends it as failed and goes on upwards."""
        step = Step(title)
        self.steps.append(step)
        try:
            yield step
        except ProofError as error:
            if all(earlier.code is None for earlier in self.steps):  # an inner step has said it already
                step.fail(error)
            raise

    def note(self, line: str, step: Step | None = None) -> None:
        """Something that must be said though nothing is bad."""
        self.notes.append(line)
        if step is not None:
            step.say(f"Note: {line}")

    def to_object(self) -> dict[str, Any]:
        """For `--json`."""
        value: dict[str, Any] = {
            "kind": self.kind,
            "verdict": ("ok", "bad", "unchecked")[self.exit_status],
            "exit": self.exit_status,
            "steps": [step.to_object() for step in self.steps],
            "notes": list(self.notes),
            "redacted": list(self.redacted),
            **self.facts,
        }
        if self.error is not None:
            value |= {"code": self.error.code, "place": self.error.place, "detail": self.error.detail}
        return value
