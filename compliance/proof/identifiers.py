"""Identifier schemes: what a value looks like in normal form, its check digit, and how to bring typed text there.

The schemes are data (`identifier_schemes.json`); this module knows steps and check digit rules by name, and no market.
Signed text is never repaired: `check` says whether a value is in normal form, `normalise` is for what people type.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from types import MappingProxyType
from typing import Final

from compliance.proof.errors import ProofError

MAX_VALUE_CHARACTERS: Final = 128
_EUI64_OCTETS: Final = 8


@dataclass(frozen=True, slots=True)
class Scheme:
    """One identifier scheme."""

    code: str
    name: str
    applies_to: tuple[str, ...]
    pattern: re.Pattern[str]
    check_digit: str | None
    steps: tuple[str, ...]
    single_valued: bool
    personal_data: bool
    valid_examples: tuple[str, ...]
    invalid_examples: tuple[str, ...]
    status: str


def is_known(scheme: str) -> bool:
    """Whether `scheme` is an identifier scheme; otherwise it names the organisation that gave the value."""
    return scheme in SCHEMES


def is_single_valued(scheme: str) -> bool:
    """Whether a value of `scheme` names one thing only, so that a second chain for it is a conflict."""
    known = SCHEMES.get(scheme)
    return known is None or known.single_valued


def check(scheme: str, value: str, *, place: str | None = None) -> None:
    """Raise ProofError `subject.form` unless `value` is in the scheme's normal form with a right check digit.

    Values of unknown schemes are taken as text.
    """
    known = SCHEMES.get(scheme)
    if known is None:
        return
    if known.pattern.fullmatch(value) is None:
        raise ProofError("subject.form", f"{value[:80]!r} is no {known.name} in normal form", place=place)
    if known.check_digit and not CHECK_DIGITS[known.check_digit](value):
        raise ProofError("subject.form", f"the check digit of {value} ({known.name}) is wrong", place=place)


def normalise(scheme: str, value: str, *, place: str | None = None) -> str:
    """What someone typed as a value of `scheme`, in normal form. Raises ProofError `subject.form`."""
    known = SCHEMES.get(scheme)
    value = value.strip()
    if known is None:
        return value
    for step in known.steps:
        value = STEPS[step](value)
    check(scheme, value, place=place)
    return value


def gs1_mod10(digits: str) -> bool:
    """From the right, weights 3 and 1 alternating, complement to ten."""
    total = sum(int(digit) * (3 if place % 2 == 0 else 1) for place, digit in enumerate(reversed(digits[:-1])))
    return (10 - total % 10) % 10 == int(digits[-1])


def mpan_mod11(digits: str) -> bool:
    """Prime weights on the first twelve digits, sum modulo 11, then modulo 10."""
    weights = (3, 5, 7, 13, 17, 19, 23, 29, 31, 37, 41, 43)
    total = sum(int(digit) * weight for digit, weight in zip(digits, weights, strict=False))
    return total % 11 % 10 == int(digits[-1])


def malo_mod10(digits: str) -> bool:
    """Odd places once, even places twice, complement to ten."""
    total = sum(int(digit) * (1 if place % 2 == 0 else 2) for place, digit in enumerate(digits[:-1]))
    return (10 - total % 10) % 10 == int(digits[-1])


def _eui64(value: str) -> str:
    plain = re.sub(r"[-:\s]", "", value).upper()
    if len(plain) != 2 * _EUI64_OCTETS:
        return value
    return "-".join(plain[at : at + 2] for at in range(0, len(plain), 2))


def _digital_link(value: str) -> str:
    match = re.fullmatch(r"urn:epc:id:sgtin:([0-9]{6,12})\.([0-9]{1,7})\.([!-~]{1,20})", value)
    if match is None:
        return value
    company, item, serial = match.groups()
    digits = item[0] + company + item[1:]
    check_digit = next((digit for digit in "0123456789" if gs1_mod10(digits + digit)), "")
    return f"https://id.gs1.org/01/{digits}{check_digit}/21/{serial}"


CHECK_DIGITS: Final[dict[str, Callable[[str], bool]]] = {
    "gs1_mod10": gs1_mod10,
    "mpan_mod11": mpan_mod11,
    "malo_mod10": malo_mod10,
}
STEPS: Final[dict[str, Callable[[str], str]]] = {
    "upper": str.upper,
    "no_blanks": lambda value: re.sub(r"\s", "", value),
    "single_blanks": lambda value: " ".join(value.split()),
    "digits": lambda value: re.sub(r"[\s.-]", "", value),
    "pad_14": lambda value: value.rjust(14, "0"),
    "eui64": _eui64,
    "digital_link": _digital_link,
}


def _load() -> dict[str, Scheme]:
    text = files("compliance.proof").joinpath("identifier_schemes.json").read_text(encoding="utf-8")
    return {
        code: Scheme(
            code=code,
            name=item["name"],
            applies_to=tuple(item["applies_to"]),
            pattern=re.compile(item["pattern"], re.ASCII),
            check_digit=item["check_digit"],
            steps=tuple(item["normalise"]),
            single_valued=item["single_valued"],
            personal_data=item["personal_data"],
            valid_examples=tuple(item["valid_examples"]),
            invalid_examples=tuple(item["invalid_examples"]),
            status=item["status"],
        )
        for code, item in json.loads(text).items()
    }


SCHEMES: Final = MappingProxyType(_load())
