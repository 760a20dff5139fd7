"""The embedded settings, with django-simple-history beside our own apps."""

from compliance.config.settings.embedded import *  # noqa: F403
from compliance.config.settings.embedded import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "simple_history", "tests.benchmarks.history"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
