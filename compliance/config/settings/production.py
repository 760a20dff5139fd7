"""Many users behind a TLS proxy: PostgreSQL, Celery, secrets from the environment. See docs/operators/settings.md."""

import dj_database_url
from django.core.exceptions import ImproperlyConfigured

from compliance.config import environment
from compliance.config.settings.base import *  # noqa: F403
from compliance.config.settings.base import METERPROOF


def _required(name: str) -> str:
    value = environment.text(name)
    if not value:
        raise ImproperlyConfigured(f"{name} must be set. docs/operators/settings.md lists every setting.")
    return value


SECRET_KEY = _required("DJANGO_SECRET_KEY")
DEBUG = False
ALLOWED_HOSTS = environment.words("DJANGO_ALLOWED_HOSTS")
CSRF_TRUSTED_ORIGINS = environment.words("DJANGO_CSRF_TRUSTED_ORIGINS")
DATABASES = {"default": dj_database_url.parse(_required("DATABASE_URL"), conn_max_age=60, conn_health_checks=True)}

SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SECURE_SSL_REDIRECT = True
SECURE_HSTS_SECONDS = 63_072_000  # two years, what browsers' preload lists ask for
SECURE_HSTS_INCLUDE_SUBDOMAINS = True
SECURE_HSTS_PRELOAD = True
SESSION_COOKIE_SECURE = True
SESSION_COOKIE_NAME = "__Host-sessionid"
CSRF_COOKIE_SECURE = True
CSRF_COOKIE_NAME = "__Host-csrftoken"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}
METERPROOF = {
    **METERPROOF,
    "ALLOW_DEVELOPMENT_AUTHORITY": environment.flag("METERPROOF_ALLOW_DEVELOPMENT_AUTHORITY"),
}
