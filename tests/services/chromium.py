"""Chromium on this machine, under any of the names that it comes with."""

import shutil

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MISSING = "no Chromium on this machine: pages were NOT checked in a browser (./run doctor says how to get one)"


def find_chromium() -> str | None:
    """Path of the program, None without one."""
    return next((path for path in map(shutil.which, NAMES) if path), None)
