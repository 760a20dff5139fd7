"""What can go wrong on the sender's side, each with the exit code of the command line."""

from collections.abc import Sequence
from dataclasses import dataclass

EXIT_OK = 0
EXIT_REFUSED = 1  # the server refused something, or something does not verify
EXIT_USAGE = 2  # wrong arguments, a file that cannot be read, a key that is not there
EXIT_TRY_AGAIN = 3  # nobody answered; running the same command again continues where this one stopped


class ClientError(Exception):
    """A sentence for the person at the keyboard, what they can do about it, and the exit code."""

    exit_code = EXIT_USAGE

    def __init__(self, message: str, *, mend: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.mend = mend


@dataclass(frozen=True, slots=True)
class LineProblem:
    """One line of the user's file that cannot be sent or was refused, and why.

    `line` counts from 1 in the file the user gave; `pointer` is a JSON pointer into that line (RFC 6901).
    """

    line: int
    pointer: str
    code: str
    detail: str

    def __str__(self) -> str:
        place = f"line {self.line}" if self.line else "batch"
        return f"{place} {self.pointer or '/'}: {self.detail} [{self.code}]"


class BadFile(ClientError):
    """The file has lines that no server would take; nothing was sent."""

    exit_code = EXIT_REFUSED

    def __init__(self, message: str, problems: Sequence[LineProblem]) -> None:
        super().__init__(message, mend="Mend these lines and run the same command again.")
        self.problems = tuple(problems)


class Refused(ClientError):
    """The server understood and said no. `status` and `code` are those of its problem document (RFC 9457)."""

    exit_code = EXIT_REFUSED

    def __init__(
        self, *, status: int, code: str, detail: str, mend: str = "", problems: Sequence[LineProblem] = ()
    ) -> None:
        super().__init__(f"{detail} [{status} {code}]", mend=mend)
        self.status = status
        self.code = code
        self.problems = tuple(problems)


class Unreachable(ClientError):
    """No answer, or only "later", until the patience of the caller was used up."""

    exit_code = EXIT_TRY_AGAIN
    advice = "Nothing is lost. Run the same command again: it continues where it stopped."

    def __init__(self, message: str) -> None:
        super().__init__(message, mend=self.advice)


class Faulty(Unreachable):
    """The server failed (500) each time it was asked. The operator finds the cause by the request's id."""

    def __init__(self, message: str, *, request: str) -> None:
        super().__init__(message)
        self.request = request
        if request:
            self.mend = f"Tell the operator: request {request}. {self.advice}"


class NotTrusted(ClientError):
    """An answer that does not verify with the keys this user trusts."""

    exit_code = EXIT_REFUSED
