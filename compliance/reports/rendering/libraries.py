"""The native libraries WeasyPrint draws with: which are missing, and which versions drew a report.

Only asks the loader, so that a web process can say what is missing without importing WeasyPrint.
"""

import ctypes
from dataclasses import dataclass
from functools import cache
from importlib import metadata


@dataclass(frozen=True, slots=True)
class Library:
    """A shared library and the Debian package that brings it."""

    file: str
    package: str


LIBRARIES = (
    Library("libgobject-2.0.so.0", "libglib2.0-0"),
    Library("libpango-1.0.so.0", "libpango-1.0-0"),
    Library("libpangoft2-1.0.so.0", "libpangoft2-1.0-0"),
    Library("libharfbuzz.so.0", "libharfbuzz0b"),
    Library("libharfbuzz-subset.so.0", "libharfbuzz-subset0"),
    Library("libfontconfig.so.1", "libfontconfig1"),
)
PACKAGES = ("weasyprint", "pydyf", "fonttools", "pyphen", "tinycss2", "tinyhtml5")


def missing() -> list[Library]:
    """Libraries the loader does not find."""
    return [library for library in LIBRARIES if _load(library.file) is None]


def versions() -> dict[str, str]:
    """Versions of all that decides how a page is drawn, by name. Equal versions draw equal bytes."""
    found = {name: metadata.version(name) for name in PACKAGES}
    found |= {"pango": _version("libpango-1.0.so.0", "pango_version_string")}
    found |= {"harfbuzz": _version("libharfbuzz.so.0", "hb_version_string")}
    return dict(sorted(found.items()))


def _version(file: str, function: str) -> str:
    library = _load(file)
    if library is None:
        return "missing"
    ask = getattr(library, function)
    ask.restype = ctypes.c_char_p
    answer: bytes = ask()
    return answer.decode("ascii")


@cache
def _load(file: str) -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL(file)
    except OSError:
        return None
