"""Signatures and time stamp tokens that are written as they were made.

asn1crypto takes a length whose last byte is 0x80 for an indefinite one, and then encodes the whole branch anew, twice
for each level above: half a minute for a signature with a time stamp inside, whenever its length happens to end so.
What these functions return answers with its bytes.
"""

from asn1crypto import cms, parser

SEQUENCE, CONTEXT, UNIVERSAL, CONSTRUCTED = 16, 2, 0, 1


class UnchangingContentInfo(cms.ContentInfo):
    """A CMS structure with fixed bytes."""

    def dump(self, force: bool = False) -> bytes:  # noqa: ARG002 - the signature is asn1crypto's
        """The bytes this was read from."""
        return bytes(self._header + self._contents + self._trailer)


def unchanging(built: cms.ContentInfo) -> cms.ContentInfo:
    """`built`, a signed-data structure (RFC 5652 section 5), with fixed bytes."""
    signed = parser.emit(UNIVERSAL, CONSTRUCTED, SEQUENCE, built["content"].contents)
    tagged = parser.emit(CONTEXT, CONSTRUCTED, 0, signed)
    return UnchangingContentInfo.load(
        parser.emit(UNIVERSAL, CONSTRUCTED, SEQUENCE, built["content_type"].dump() + tagged)
    )
