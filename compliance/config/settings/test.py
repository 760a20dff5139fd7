"""The test run: a database and folders of its own, cheap password hashing. DATABASE_URL chooses the engine."""

import os
import tempfile
from pathlib import Path

# Before `base` is read: every path of a test process lies in a folder of its own.
_VAR = Path(tempfile.mkdtemp(prefix="meterproof-test-"))
for _name in [name for name in os.environ if name.startswith("METERPROOF_")]:
    del os.environ[_name]
os.environ["METERPROOF_VAR"] = str(_VAR)

from compliance.config.settings.embedded import *  # noqa: E402, F403

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
ALLOWED_HOSTS = ["*"]
AXES_ENABLED = False
CELERY_BROKER_URL = ""
