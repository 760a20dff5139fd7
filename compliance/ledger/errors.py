"""What the ledger refuses, and what it has to stop for."""

from collections.abc import Sequence


class Refused(Exception):
    """A batch or one of its events cannot be recorded as sent.

    `index` is the position in the signed batch, `pointer` a JSON pointer into that event, both None when the whole
    batch is meant. `problems` holds every refusal found in one go, this one first, so that a caller in mode "proceed"
    can leave all of them out at once.
    """

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        index: int | None = None,
        pointer: str | None = None,
        others: Sequence["Refused"] = (),
    ) -> None:
        super().__init__(f"{code}: {detail}" if index is None else f"{code} at {index}: {detail}")
        self.code = code
        self.detail = detail
        self.index = index
        self.pointer = pointer
        self.problems: tuple[Refused, ...] = (self, *others)


class Conflict(Refused):
    """What was recorded before stands against it: HTTP 409."""


class WrongAboutChains(Exception):
    """A chain that a caller took for begun has no entry, or one that he took for new has some. Nothing was recorded;
    ask for them, and append again.
    """


class LedgerError(Exception):
    """The ledger cannot go on. The text is for the operator: what is wrong and what to do."""


class NoLog(LedgerError):
    """There is no log yet in this database."""

    def __init__(self) -> None:
        super().__init__("There is no log in this database yet. Create it with: manage.py ledger init")


class KeyUnavailable(LedgerError):
    """A private key is missing, or its token does not answer. What was to be signed waits."""


class ClockJumped(LedgerError):
    """The clock is so far ahead of what was seen last that an entry would pin its subject to the future."""


class Damaged(LedgerError):
    """Stored bytes contradict each other. `place` names where."""

    def __init__(self, place: str, detail: str) -> None:
        super().__init__(f"{place}: {detail}. Nothing was written. Run: manage.py fsck")
        self.place = place
        self.detail = detail


class SignerRefused(LedgerError):
    """The signer will not sign this checkpoint: it does not follow from the last one it signed."""


class WitnessAlarm(LedgerError):
    """A witness knows another history of this log. Nothing is published until the operator has looked."""

    def __init__(self, witness: str, why: str, evidence: str) -> None:
        super().__init__(
            f"Publishing is stopped: witness {witness} {why}. Either somebody signed another history with this log's "
            f"key, or the database or the signer's memory went back, or the witness is wrong. Evidence: {evidence}. "
            "Find out which. Then go on with: manage.py ledger go-on REASON"
        )
        self.witness = witness
        self.why = why


class StateRefused(LedgerError):
    """Database, signer store and published files do not belong together, so nothing may start on them."""


class NotRead(LedgerError):
    """A part of the log could not be read, so that nothing can be said about the whole."""
