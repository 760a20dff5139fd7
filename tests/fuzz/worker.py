"""One target in a process of its own: `python -m tests.fuzz.worker TARGET [libFuzzer options] CORPUS`. Ends at a
crash.
"""

import sys

import atheris

with atheris.instrument_imports(include=["compliance.proof"]):
    from tests.fuzz.targets import run


def main() -> None:
    """Fuzz until an option of libFuzzer says stop."""
    name = sys.argv.pop(1)
    atheris.Setup(sys.argv, lambda data: run(name, data) and None)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
