"""Which call fails: the n-th of its kind, once or from then on."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Countdown:
    """Fails the call number `fail_at` (from 1), and with `lasting` every one after it."""

    fail_at: int
    lasting: bool = False
    calls: int = 0
    failed: list[str] = field(default_factory=list)

    def strikes(self, call: str) -> bool:
        """Count `call`, and say whether it has to fail."""
        self.calls += 1
        due = self.calls >= self.fail_at if self.lasting else self.calls == self.fail_at
        if due:
            self.failed.append(call)
        return due
