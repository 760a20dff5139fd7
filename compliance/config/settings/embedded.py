"""One machine, no broker: SQLite in `var/`, files on disk, a worker process that polls the job table. The default."""

import dj_database_url

from compliance.config import environment
from compliance.config.settings.base import *  # noqa: F403
from compliance.config.settings.base import METERPROOF, VAR_DIR

VAR_DIR.mkdir(parents=True, exist_ok=True, mode=0o700)  # events, sessions and keys are no other user's business
SECRET_KEY = environment.secret("DJANGO_SECRET_KEY", METERPROOF["SECRETS_DIR"] / "django-secret-key")
DEBUG = environment.flag("DJANGO_DEBUG")
# Styles, scripts and fonts are served from where they lie in the tree: nothing has to be collected first.
WHITENOISE_USE_FINDERS = True
STATIC_ROOT = None
ALLOWED_HOSTS = environment.words("DJANGO_ALLOWED_HOSTS", "127.0.0.1,localhost,[::1]")

# WAL with FULL: a commit that was answered survives a power cut. IMMEDIATE: the write lock is taken at BEGIN, which is
# what stands in for row locks here.
SQLITE_OPTIONS = {
    "transaction_mode": "IMMEDIATE",
    "timeout": 30,
    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;",
}
DATABASES = {
    "default": dj_database_url.parse(
        environment.text("DATABASE_URL", f"sqlite:///{VAR_DIR / 'db.sqlite3'}"),
        conn_max_age=60,
        conn_health_checks=True,
    )
}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    DATABASES["default"]["OPTIONS"] = SQLITE_OPTIONS
