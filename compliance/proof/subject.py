"""Subjects: what has a chain of its own, named `kind:scheme:value` by the identifier it was born with.

The text is part of what senders sign, so there is one spelling: bytes outside `A-Za-z0-9._~/+-` as `%` and two
upper-case hex digits, and the value in the normal form of its scheme.
"""

import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from compliance.proof import identifiers
from compliance.proof.checkpoint import is_origin
from compliance.proof.errors import ProofError

KINDS: Final = (
    "meter",
    "meter_type",
    "firmware",
    "component_lot",
    "cell_session",
    "key_bundle",
    "logistic_unit",
    "shipment",
    "evidence",
    "organisation",
    "signing_key",
    "person_role",
    "engagement",
    "finding",
    "report",
    "log",
)
KEY_BYTES: Final = 16  # of the SHA-256: enough that nobody finds two subjects with one key
MAX_SUBJECT_BYTES: Final = 180
PLATFORM: Final = "platform"
RESERVED_SCHEMES: Final = ("org", "sha256", "origin", PLATFORM)

_SUBJECT = re.compile(rf"({'|'.join(KINDS)}):([a-z][a-z0-9_]{{0,31}}):((?:[A-Za-z0-9._~/+-]|%[0-9A-F]{{2}}){{1,128}})")
_SCHEME = re.compile(r"[a-z][a-z0-9_]{0,31}")
_ORGANISATION = re.compile(r"[a-z][a-z0-9_]{1,30}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FIXED_SCHEME: Final = {"organisation": "org", "signing_key": "sha256", "log": "origin"}
_SCHEME_OF_KIND: Final = {scheme: kind for kind, scheme in _FIXED_SCHEME.items()}
_UNESCAPED: Final = "._~/+-"
_is_plain = re.compile(r"[A-Za-z0-9._~/+-]*").fullmatch
_CACHED: Final = 65_536  # a batch names its subjects in two places; a factory's meters come back for weeks


@dataclass(frozen=True, slots=True)
class Subject:
    """A subject whose text is in normal form. `value` is the plain value, unescaped."""

    kind: str
    scheme: str
    value: str

    @property
    def text(self) -> str:
        """The one spelling, as in events and entries."""
        return spell(self.kind, self.scheme, self.value)

    @property
    def key(self) -> bytes:
        """The key of the subject in databases."""
        return key_of(self.text)

    def __str__(self) -> str:
        return self.text


def spell(kind: str, scheme: str, value: str) -> str:
    """The text of a subject, its value escaped."""
    return f"{kind}:{scheme}:{value if _is_plain(value) else quote(value, safe=_UNESCAPED)}"


@lru_cache(maxsize=_CACHED)
def key_of(text: str) -> bytes:
    """The first sixteen bytes of the SHA-256 of a subject text."""
    return hashlib.sha256(text.encode()).digest()[:KEY_BYTES]


def parse(text: object) -> Subject:
    """The subject `text` names. Raises ProofError `subject.form` unless it is in normal form."""
    if type(text) is not str or len(text) > MAX_SUBJECT_BYTES:
        raise ProofError("subject.form", f"{str(text)[:200]!r} is no subject text kind:scheme:value")
    return _parse(text)


@lru_cache(maxsize=_CACHED)
def _parse(text: str) -> Subject:
    match = _SUBJECT.fullmatch(text)
    if match is None:
        raise ProofError("subject.form", f"{text!r} is no subject text kind:scheme:value")
    kind, scheme, escaped = match.groups()
    try:
        value = unquote_to_bytes(escaped).decode("utf-8") if "%" in escaped else escaped
    except UnicodeDecodeError:
        raise ProofError("subject.form", f"the value of {text} is not UTF-8") from None
    subject = Subject(kind, scheme, value)
    if subject.text != text:
        raise ProofError("subject.form", f"{text} is not in normal form; that is {subject.text}")
    _require_fixed_form(subject)
    identifiers.check(scheme, value)
    return subject


def make(kind: str, scheme: str, value: str) -> Subject:
    """The subject someone means who typed `value`: normalised by its scheme. Raises ProofError `subject.form`."""
    if kind not in KINDS or _SCHEME.fullmatch(scheme) is None:
        raise ProofError("subject.form", f"no subject of kind {kind[:40]!r} and scheme {scheme[:40]!r}")
    try:
        return parse(Subject(kind, scheme, identifiers.normalise(scheme, value)).text)
    except UnicodeEncodeError:
        raise ProofError("subject.form", "the value is not Unicode") from None


def organisation(organisation_id: str) -> str:
    """Text of the subject of an organisation."""
    return f"organisation:org:{organisation_id}"


def signing_key(keyid: str) -> str:
    """Text of the subject of a signing key."""
    return f"signing_key:{keyid}"


def log(origin: str) -> str:
    """Text of the subject of the log itself."""
    return Subject("log", "origin", origin).text


def is_scheme(text: str) -> bool:
    """Whether `text` has the form of a scheme."""
    return _SCHEME.fullmatch(text) is not None


def is_organisation_id(text: object) -> bool:
    """Whether `text` has the form of an organisation id."""
    return type(text) is str and _ORGANISATION.fullmatch(text) is not None


def may_be_given_to_organisation(organisation_id: str) -> bool:
    """Whether an organisation may be registered under this id: right form, and no scheme is called so."""
    return (
        is_organisation_id(organisation_id)
        and organisation_id not in RESERVED_SCHEMES
        and not identifiers.is_known(organisation_id)
    )


def _require_fixed_form(subject: Subject) -> None:
    fixed = _FIXED_SCHEME.get(subject.kind)
    kind_of_scheme = _SCHEME_OF_KIND.get(subject.scheme)
    if (fixed and subject.scheme != fixed) or (kind_of_scheme and subject.kind != kind_of_scheme):
        raise ProofError("subject.form", f"{subject.text}: kind and scheme do not belong together")
    right = True
    if subject.kind == "organisation":
        right = is_organisation_id(subject.value)
    elif subject.kind == "signing_key":
        right = _SHA256.fullmatch(subject.value) is not None
    elif subject.kind == "log":
        right = is_origin(subject.value)
    if not right:
        raise ProofError("subject.form", f"{subject.text}: the value is of another form")
