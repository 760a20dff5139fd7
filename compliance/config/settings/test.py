"""The test run: a database and folders of its own, cheap password hashing. DATABASE_URL chooses the engine."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

# Before `base` is read: every path of a test process lies in a folder of its own.
_VAR = Path(tempfile.mkdtemp(prefix="meterproof-test-"))
(_VAR / "static").mkdir()  # WhiteNoise warns of a missing folder, and warnings are errors here
for _name in [name for name in os.environ if name.startswith("METERPROOF_")]:
    del os.environ[_name]
os.environ["METERPROOF_VAR"] = str(_VAR)
atexit.register(shutil.rmtree, _VAR, ignore_errors=True)

from compliance.config.settings.embedded import *  # noqa: E402, F403
from compliance.config.settings.embedded import DATABASES  # noqa: E402

if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    # A file: an in-memory database has no WAL and no locks between connections.
    DATABASES["default"]["TEST"] = {"NAME": str(_VAR / "test.sqlite3")}

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
ALLOWED_HOSTS = ["*"]
AXES_ENABLED = False
CELERY_BROKER_URL = ""
