"""A token of our own: SoftHSM (PKCS #11) with its objects in a folder of the tests."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.services.process import ServiceMissing, find_program, folder

TOKEN = "meterproof-tests"
PIN = "4711-not-a-secret"
_LIBRARIES = ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
              "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so", "/usr/local/lib/softhsm/libsofthsm2.so")  # fmt: skip


@contextmanager
def token() -> Iterator[str]:
    """The path of the library; SOFTHSM2_CONF names a folder with one token until the block ends.

    The library reads that variable when a process loads it, so there is one such folder in a test process.
    """
    program = find_program("softhsm2-util")
    library = next((path for path in _LIBRARIES if Path(path).exists()), None)
    if library is None:
        raise ServiceMissing("libsofthsm2.so is not where it was looked for. ./run test installs what the tests need.")
    with folder("meterproof-softhsm-") as home:
        (home / "tokens").mkdir()
        (home / "softhsm2.conf").write_text(f"directories.tokendir = {home / 'tokens'}\nlog.level = ERROR\n")
        os.environ["SOFTHSM2_CONF"] = str(home / "softhsm2.conf")
        try:
            subprocess.run(
                [program, "--init-token", "--free", "--label", TOKEN, "--pin", PIN, "--so-pin", "0815"],
                check=True, capture_output=True, timeout=60,
            )  # fmt: skip
            yield library
        finally:
            del os.environ["SOFTHSM2_CONF"]
