"""Settings that hold everywhere. `embedded`, `production` and `test` build on them."""

from pathlib import Path
from typing import Any

from csp.constants import NONE, SELF

from compliance.config import environment

BASE_DIR = Path(__file__).resolve().parents[3]
VAR_DIR = Path(environment.text("METERPROOF_VAR", str(BASE_DIR / "var"))).resolve()

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "axes",
    "csp",
    "rest_framework",
    "drf_spectacular",
    "compliance.jobs",
    "compliance.ledger",
    "compliance.accounts",
    "compliance.frameworks",
    "compliance.evidence",
    "compliance.custody",
    "compliance.provisioning",
    "compliance.checks",
    "compliance.reports",
    "compliance.api",
    "compliance.web",
    "compliance.demo",
]

MIDDLEWARE = [
    "compliance.api.middleware.RequestId",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "compliance.web.middleware.SecurityHeaders",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "compliance.accounts.middleware.RowScope",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "axes.middleware.AxesMiddleware",
]

ROOT_URLCONF = "compliance.config.urls"
WSGI_APPLICATION = "compliance.config.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": False,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "compliance.web.context.frame",
            ],
        },
    },
]

AUTH_USER_MODEL = "accounts.Person"
AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher"]
AUTH_PASSWORD_VALIDATORS = [
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 12},  # NIST SP 800-63B-4 asks for 15 without and 8 with a second factor
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
AXES_FAILURE_LIMIT = 10
AXES_COOLOFF_TIME = 0.25  # hours: long enough to stop guessing, short enough not to be a way to lock people out
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_CLIENT_IP_CALLABLE = "compliance.accounts.addresses.client_address"
AXES_LOCKOUT_CALLABLE = "compliance.web.views.session.locked_out"
LOGIN_URL = "web:login"
LOGIN_REDIRECT_URL = "web:overview"
LOGOUT_REDIRECT_URL = "web:login"

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_I18N = True
USE_TZ = True

STATIC_URL = "static/"
STATIC_ROOT: Path | None = VAR_DIR / "static"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}

# Transactions are opened by actions alone, never around a whole request.
ATOMIC_REQUESTS = False
DATA_UPLOAD_MAX_MEMORY_SIZE = (
    25 * 1024 * 1024
)  # above the largest body a view accepts (evidence, 20 MiB); views bound their own
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_HTTPONLY = True
CSRF_COOKIE_SAMESITE = "Lax"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "form-action": [SELF],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
        "require-trusted-types-for": ["'script'"],
    },
}

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["compliance.api.authentication.ApiKeyAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "compliance.api.problems.exception_handler",
    "UNAUTHENTICATED_USER": None,
    "NUM_PROXIES": environment.number("METERPROOF_PROXIES"),  # 0: X-Forwarded-For is what a stranger wrote
}
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
        # Rate limits lie here. At the limit a third of all entries goes, and its callers have full buckets again:
        # strangers must not get there by asking from many addresses. 100,000 take some 30 MB.
        "OPTIONS": {"MAX_ENTRIES": 100_000},
    }
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Meterproof",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    # Two shapes have a `kind` of their own; each list gets a name that stays.
    "ENUM_NAME_OVERRIDES": {"ReportKindEnum": "compliance.reports.models.Kind"},
}

# Celery is a doorbell: without a broker the embedded worker polls the job table.
CELERY_BROKER_URL = environment.text("CELERY_BROKER_URL")
# Whoever rings waits for one attempt: the sweeper rings again. kombu's own pauses would hold a web request for seconds.
CELERY_BROKER_TRANSPORT_OPTIONS = {"max_retries": 0, "interval_start": 0, "interval_step": 0}
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_TASK_DEFAULT_QUEUE_TYPE = "quorum"  # read by RabbitMQ only
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT = 30
CELERY_WORKER_MAX_TASKS_PER_CHILD = 50  # WeasyPrint does not give memory back

# Ours. Every path lies below VAR_DIR unless the environment says otherwise.
METERPROOF: dict[str, Any] = {
    "ORIGIN": environment.text(
        "METERPROOF_ORIGIN", "meterproof.example/log"
    ),  # C2SP: schema-less URL, for ever the log's name
    "BASE_URL": environment.text("METERPROOF_BASE_URL", "http://127.0.0.1:8000"),
    "LOG_DIR": Path(environment.text("METERPROOF_LOG_DIR", str(VAR_DIR / "log"))),
    "TRUST_DIR": Path(environment.text("METERPROOF_TRUST_DIR", str(VAR_DIR / "trust"))),
    "SECRETS_DIR": Path(environment.text("METERPROOF_SECRETS_DIR", str(VAR_DIR / "secrets"))),
    "SIGNER_DIR": Path(environment.text("METERPROOF_SIGNER_DIR", str(VAR_DIR / "signer"))),
    "BLOB_DIR": Path(environment.text("METERPROOF_BLOB_DIR", str(VAR_DIR / "blobs"))),
    "REPORT_DIR": Path(environment.text("METERPROOF_REPORT_DIR", str(VAR_DIR / "reports"))),
    "AUTHORITY_DIR": Path(environment.text("METERPROOF_AUTHORITY_DIR", str(VAR_DIR / "authority"))),
    "WITNESS_POLICY": Path(environment.text("METERPROOF_WITNESS_POLICY", str(VAR_DIR / "witness.policy"))),
    "WITNESS_FAIL_CLOSED": environment.flag("METERPROOF_WITNESS_FAIL_CLOSED", default=True),
    "WITNESS_TIMEOUT_SECONDS": environment.number("METERPROOF_WITNESS_TIMEOUT_SECONDS", 1),
    "WITNESS_RENEW_SECONDS": environment.number("METERPROOF_WITNESS_RENEW_SECONDS", 300),
    "WITNESS_DIR": Path(environment.text("METERPROOF_WITNESS_DIR", str(VAR_DIR / "witness"))),
    "LOG_KEY": environment.text("METERPROOF_LOG_KEY"),  # PKCS #11 URI of a new log's key; empty: a file in SECRETS_DIR
    "POST_QUANTUM": environment.flag("METERPROOF_POST_QUANTUM"),  # a second line with ML-DSA-44 on each checkpoint
    "HSM_MODULE": environment.text("METERPROOF_HSM_MODULE"),
    "HSM_PIN_FILE": environment.text("METERPROOF_HSM_PIN_FILE"),
    "MAX_MERGE_DELAY_SECONDS": 60,
    # [{"url", "root", "policy", "timeout"}], tried in turn; empty: the development authority
    "TIME_STAMP_AUTHORITIES": environment.objects("METERPROOF_TIME_STAMP_AUTHORITIES"),
    "ALLOW_DEVELOPMENT_AUTHORITY": True,
}
