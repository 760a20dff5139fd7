"""What can go wrong with evidence. Codes are those of the API's problem catalogue."""


class IntakeRefused(Exception):
    """A file or what is said about it cannot be taken in. `code` says why in one word, `detail` in a sentence."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code, self.detail = code, detail


class WrongState(Exception):
    """The evidence is not in the state that the action needs."""

    code = "evidence.state"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class EvidenceIsImmutable(Exception):
    """A row of recorded evidence was about to be changed or deleted other than by `actions`."""


class BlobDamaged(Exception):
    """The stored bytes are not those of their digest."""

    code = "evidence.damaged"

    def __init__(self, sha256: str) -> None:
        super().__init__(f"the stored bytes of {sha256} have changed")
        self.sha256 = sha256


class BlobMissing(Exception):
    """The bytes of this digest are not stored."""

    code = "evidence.missing"

    def __init__(self, sha256: str) -> None:
        super().__init__(f"the bytes of {sha256} are gone from the store")
        self.sha256 = sha256
