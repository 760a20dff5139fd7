"""Base64 of RFC 4648 section 4: standard alphabet, padded, no stray bits, one spelling for each value."""

import base64
import binascii


def encode(data: bytes) -> str:
    """The one spelling of `data`."""
    return base64.b64encode(data).decode("ascii")


def decode(text: object) -> bytes | None:
    """The bytes `text` spells, or None if it is not base64 in the one spelling."""
    if type(text) is not str:
        return None
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return data if base64.b64encode(data) == text.encode("ascii") else None
