"""Looking at PDF objects without following references: what stands there, and is it the same as before.

Comparison is by the bytes an object would be written with, so a reference is equal only to the same reference.
"""

from io import BytesIO
from typing import Any

from pyhanko.pdf_utils import generic

from compliance.proof.errors import ProofError

Reference = generic.Reference


def require(holds: object, detail: str, *, place: str | None = None) -> None:
    """Raise ProofError `report.update` unless `holds`: a change after the seal that nothing permits."""
    if not holds:
        raise ProofError("report.update", detail, place=place)


def entry(dictionary: Any, key: str) -> Any:
    """The value at `key` as it stands, reference or not; None without one."""
    try:
        return dictionary.raw_get(key)
    except KeyError:
        return None


def written(value: Any) -> bytes:
    """The bytes of `value`."""
    buffer = BytesIO()
    value.write_to_stream(buffer, None)
    return buffer.getvalue()


def same(left: Any, right: Any) -> bool:
    """True when both are written alike, or neither is there."""
    if left is None or right is None:
        return left is right
    return written(left) == written(right)


def is_reference(value: Any) -> bool:
    """True for an indirect reference."""
    return isinstance(value, generic.IndirectObject)


def require_only(old: Any, new: Any, changed: set[str], what: str) -> None:
    """Every entry but those in `changed` is in both dictionaries, and the same."""
    for key in set(old) | set(new):
        if key not in changed:
            require(same(entry(old, key), entry(new, key)), f"{what}: {key} changed")
