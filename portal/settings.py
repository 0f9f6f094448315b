"""All settings, from the environment only.

In development (the default) every server that is not named by a URL is the embedded one of `make run`, under
`POINTSMAN_HOME`. In production nothing is guessed: what has no safe default must be given, and the process stops with the
name of the variable otherwise. The README's configuration table lists each variable; a test keeps the two in step.
"""

import base64
import contextlib
import secrets
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import dj_database_url
from django.urls import reverse_lazy

from ingress.intake.correlation_config import parse_correlation_paths
from portal.env import ConfigError, env, importable, matching, named_keys

BASE_DIR = Path(__file__).resolve().parent.parent

# -- Where it runs ---------------------------------------------------------------------------------------------------

POINTSMAN_ENV = env.choice(
    "POINTSMAN_ENV", "development", ("development", "production"), "`production` refuses every guessed value"
)
PRODUCTION = POINTSMAN_ENV == "production"
DEBUG = env.flag("DEBUG", False, "Django's debug pages; refused in production")
if PRODUCTION and DEBUG:
    raise ConfigError("DEBUG", "is true while POINTSMAN_ENV is production; switch one of them")

POINTSMAN_HOME: Path = (
    env.path("POINTSMAN_HOME", None, "state of the embedded servers and generated secrets", shown_default=".local")
    or BASE_DIR / ".local"
)
POINTSMAN_CACHE: Path = (
    env.path("POINTSMAN_CACHE", None, "downloaded tools (the Temporal CLI)", shown_default="~/.cache/pointsman")
    or Path.home() / ".cache" / "pointsman"
)
HOST = env.text("HOST", "127.0.0.1", "address that the web process listens on")
PORT = env.port("PORT", 8000, "port of the web process")
POSTGRES_PORT = env.port("POSTGRES_PORT", 15432, "port of the embedded PostgreSQL")
REDIS_PORT = env.port("REDIS_PORT", 16379, "port of the embedded Redis")
TEMPORAL_PORT = env.port("TEMPORAL_PORT", 17233, "port of the embedded Temporal dev server")
TEMPORAL_UI_PORT = env.port("TEMPORAL_UI_PORT", 18233, "port of Temporal's own UI beside the embedded server")
WEB_THREADS = env.whole("WEB_THREADS", 8, "threads of one web process", low=1, high=64)
URL = matching(r"https?://[^\s/]+\S*", "a URL that begins with http:// or https://")
PUBLIC_URL: str = env.parsed(
    "PUBLIC_URL", f"http://{HOST}:{PORT}", URL, "the portal's address as people and programs see it"
).rstrip("/")


def _required_in_production(name: str, value: str, default: str) -> str:
    if value:
        return value
    if PRODUCTION:
        raise ConfigError(name, "is not set; in production there is no default")
    return default


def _development_secret_key() -> str:
    """A key made once and kept under POINTSMAN_HOME, so that sessions survive a restart of `make run`."""
    path = POINTSMAN_HOME / "secret-key"
    if not path.exists():
        POINTSMAN_HOME.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(48))
    return path.read_text().strip()


SECRET_KEY = env.secret("SECRET_KEY", "Django's secret key (50 or more random characters); made once in development")
if not SECRET_KEY:
    if PRODUCTION:
        raise ConfigError("SECRET_KEY", "is not set; in production there is no default")
    SECRET_KEY = _development_secret_key()


def _development_secret_keys() -> dict[str, bytes]:
    """A key made once and kept under POINTSMAN_HOME. By a link, so that of processes that start at once one makes it."""
    path = POINTSMAN_HOME / "workflow-secret-keys"
    if not path.exists():
        POINTSMAN_HOME.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=POINTSMAN_HOME) as made:
            made.write(f"development:{base64.b64encode(secrets.token_bytes(32)).decode()}\n")
            made.flush()
            with contextlib.suppress(FileExistsError):
                path.hardlink_to(made.name)
    try:
        return named_keys(path.read_text().strip())
    except ValueError as error:
        raise ConfigError("WORKFLOW_SECRET_KEYS", f"is not set, and {path} cannot be read: {error}") from error


# In order: the first encrypts, all decrypt. Django's error pages hide it for its name.
WORKFLOW_SECRET_KEYS: dict[str, bytes] = env.parsed(
    "WORKFLOW_SECRET_KEYS",
    "",
    named_keys,
    "keys that encrypt secrets in the database, `id:base64 of 32 bytes`, with commas; the first encrypts; made once in"
    " development, in production needed as soon as a secret is saved",
)
if not WORKFLOW_SECRET_KEYS and not PRODUCTION:
    WORKFLOW_SECRET_KEYS = _development_secret_keys()

ALLOWED_HOSTS = env.words(
    "ALLOWED_HOSTS",
    "" if PRODUCTION else "127.0.0.1,localhost,[::1]",
    "host names that the portal answers to, with commas",
)
if PRODUCTION and not ALLOWED_HOSTS:
    raise ConfigError("ALLOWED_HOSTS", "is not set; name the hosts that the portal answers to")
CSRF_TRUSTED_ORIGINS = env.words("CSRF_TRUSTED_ORIGINS", "", "origins (https://...) behind a proxy, with commas")

# -- Applications ----------------------------------------------------------------------------------------------------

INSTALLED_APPS = [
    "portal.apps.PortalConfig",
    "ingress.apps.IngressConfig",
    "workflows.apps.WorkflowsConfig",
    "unfold.apps.BasicAppConfig",  # the default config would put its own site in the place of ours
    "unfold.contrib.filters",
    "portal.apps.PointsmanAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "django_filters",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "pgtrigger",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "portal.middleware.BodySizeLimitMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "portal.middleware.CurrentTenantMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "portal.urls"
WSGI_APPLICATION = "portal.wsgi.application"
APPEND_SLASH = False
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    }
]
LOGIN_URL = reverse_lazy("admin:login")
LOGIN_REDIRECT_URL = reverse_lazy("admin:index")

# -- Database --------------------------------------------------------------------------------------------------------

DATABASE_URL = _required_in_production(
    "DATABASE_URL",
    env.secret("DATABASE_URL", "PostgreSQL, `postgresql://user:password@host:port/name`; else the embedded one"),
    f"postgresql://postgres@127.0.0.1:{POSTGRES_PORT}/pointsman",
)
DATABASE_APP_ROLE: str = env.parsed(
    "DATABASE_APP_ROLE",
    "pointsman_app",
    matching(r"[a-z_][a-z0-9_]*", "a name of small letters, digits and _"),
    "role that the application works as; it may neither truncate nor alter tables",
)
DATABASE_SYSTEM_ROLE: str = env.parsed(
    "DATABASE_SYSTEM_ROLE",
    "pointsman_system",
    matching(r"[a-z_][a-z0-9_]*", "a name of small letters, digits and _"),
    "role that sweep, reconciler and commands work as; it sees the rows of all tenants",
)
if DATABASE_SYSTEM_ROLE == DATABASE_APP_ROLE:  # its policies would hold for both, and each tenant would see all rows
    raise ConfigError(
        "DATABASE_SYSTEM_ROLE", f"is {DATABASE_SYSTEM_ROLE!r}, as DATABASE_APP_ROLE; they must be two roles"
    )
DATABASE_POOL = env.flag(
    "DATABASE_POOL", False, "psycopg's pool; for web and Temporal worker, never for Celery prefork"
)

DATABASE_STATEMENT_TIMEOUT_SECONDS = env.number(
    "DATABASE_STATEMENT_TIMEOUT_SECONDS", 30, "time that one statement may take, waiting for locks included; migrations have no limit",
    low=1, high=100,
)  # fmt: skip
# A database host that is gone without a word is noticed within half a minute; TCP's own patience is a quarter of an hour
# after a send, and two hours without one.
_DEAD_PEER = {
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}


def _database(*, role: str, pool: bool, statement_seconds: float = 0) -> dict[str, Any]:
    try:
        config: dict[str, Any] = dict(dj_database_url.parse(DATABASE_URL, conn_health_checks=True))
    except ValueError as error:
        raise ConfigError("DATABASE_URL", f"cannot be read: {error}") from error
    if config.get("ENGINE") != "django.db.backends.postgresql":
        raise ConfigError("DATABASE_URL", "must name PostgreSQL (postgresql://...)")
    options = config["OPTIONS"] = {**_DEAD_PEER, **config.get("OPTIONS", {})}
    options["connect_timeout"] = 5
    options["application_name"] = "pointsman"
    session = {"role": role, "statement_timeout": int(statement_seconds * 1000)}
    if any(session.values()):
        options["options"] = " ".join(f"-c {name}={value}" for name, value in session.items() if value)
    # Each statement carries its tenant (workflows/tenancy.py), which a cursor that is kept on the server could not.
    config["DISABLE_SERVER_SIDE_CURSORS"] = True
    if pool:
        options["pool"] = {"min_size": 1, "max_size": 32, "timeout": 10}
    else:
        config["CONN_MAX_AGE"] = 300
    return config


# `default` works as the application's role; `owner` is the same database as the login itself, for migrations only.
DATABASES = {
    "default": _database(
        role=DATABASE_APP_ROLE, pool=DATABASE_POOL, statement_seconds=DATABASE_STATEMENT_TIMEOUT_SECONDS
    ),
    "owner": _database(role="", pool=False),
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# -- Broker and Celery -----------------------------------------------------------------------------------------------

REDIS_URL = _required_in_production(
    "REDIS_URL",
    env.parsed(
        "REDIS_URL",
        "",
        matching(r"rediss?://\S+", "redis://host:port/0"),
        "Redis, `redis://host:port/0`; else the embedded one",
    ),
    f"redis://127.0.0.1:{REDIS_PORT}/0",
)
CELERY_BROKER_URL = REDIS_URL
CELERY_TASK_DEFAULT_QUEUE = env.text(
    "CELERY_QUEUE", "celery", "queue that our tasks go through; name another where the broker is shared"
)
CELERY_TASK_IGNORE_RESULT = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
# Nothing is lost (portal/checks.py refuses other values): a message is taken out of Redis when its task has ended, not when
# it begins. A killed child gives it back at once, a killed worker when its visibility timeout is over. Every task may be
# repeated, so one that was done and whose message came back is harmless.
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
# A task that is killed at its time limit was not done: its message goes back into the queue. That of a task that failed of
# itself is acknowledged, which is Celery's default; without task_acks_on_failure Celery rejects it, and Redis forgets it too.
CELERY_TASK_TIME_LIMIT = 120
CELERY_TASK_ACKS_ON_TIMEOUT = False
# When Redis goes away for a moment, what runs goes on: its acknowledgement is lost, its message comes back, and the repeat
# finds the work done. To kill it would only undo the work.
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = False
# One attempt with short socket timeouts. Requests do not even wait for that: they ring (workflows/dispatch_notification.py).
CELERY_TASK_PUBLISH_RETRY = False
CELERY_BROKER_TRANSPORT_OPTIONS = {
    # Above the time that a worker may keep a message: the longest countdown (60 s, of ingress.consume_event), one task that
    # is before it (120 s) and its own time (120 s).
    "visibility_timeout": 300,
    "socket_timeout": 5,
    "socket_connect_timeout": 2,
    # Each worker looks every 5 s for messages whose visibility timeout is over. kombu does so at every tenth look only,
    # unless the throttle is 1, and one that is killed while it looks would keep the others from it for 300 s.
    "unacked_restore_interval": 5,
    "unacked_restore_throttle": 1,
    "unacked_mutex_expire": 30,
}
CELERY_TIMEZONE = "UTC"
SWEEP_INTERVAL_SECONDS = env.number(
    "SWEEP_INTERVAL_SECONDS", 5, "seconds between two looks for events and deliveries left behind", low=0.5, high=300
)
RECONCILE_INTERVAL_SECONDS = env.number(
    "RECONCILE_INTERVAL_SECONDS", 10, "seconds between two comparisons of runs with Temporal", low=1, high=3600
)
CELERY_BEAT_SCHEDULE = {
    "ingress.sweep_events": {
        "task": "ingress.sweep_events",
        "schedule": timedelta(seconds=SWEEP_INTERVAL_SECONDS),
        # A sweep that waited longer than this in the queue is superseded by the next one.
        "options": {"expires": max(30.0, 3 * SWEEP_INTERVAL_SECONDS)},
    },
    "workflows.reconcile_runs": {
        "task": "workflows.reconcile_runs",
        "schedule": timedelta(seconds=RECONCILE_INTERVAL_SECONDS),
        "options": {"expires": max(30.0, 3 * RECONCILE_INTERVAL_SECONDS)},
    },
}

# -- Temporal --------------------------------------------------------------------------------------------------------

TEMPORAL_ADDRESS = _required_in_production(
    "TEMPORAL_ADDRESS",
    env.parsed(
        "TEMPORAL_ADDRESS",
        "",
        matching(r"[^\s:/]+:\d+", "host:port"),
        "Temporal frontend `host:port`; else the embedded dev server",
    ),
    f"127.0.0.1:{TEMPORAL_PORT}",
)
TEMPORAL_NAMESPACE = env.text("TEMPORAL_NAMESPACE", "default", "Temporal namespace")
TEMPORAL_TASK_QUEUE = env.text("TEMPORAL_TASK_QUEUE", "pointsman", "task queue of the Temporal worker")
TEMPORAL_API_KEY = env.secret("TEMPORAL_API_KEY", "API key (Temporal Cloud)")
TEMPORAL_TLS = env.flag("TEMPORAL_TLS", False, "use TLS towards Temporal")
TEMPORAL_TLS_CA = env.file("TEMPORAL_TLS_CA", "file with the certificate authority of Temporal's server")
TEMPORAL_TLS_CERT = env.file("TEMPORAL_TLS_CERT", "file with the client certificate")
TEMPORAL_TLS_KEY = env.file("TEMPORAL_TLS_KEY", "file with the client certificate's key")
TEMPORAL_RPC_TIMEOUT_SECONDS = env.number(
    "TEMPORAL_RPC_TIMEOUT_SECONDS", 5, "time that one call to Temporal may take", low=0.1, high=60
)
# In order: the first encrypts, all decrypt. Django's error pages hide it for its name.
TEMPORAL_PAYLOAD_KEYS: dict[str, bytes] = env.parsed(
    "TEMPORAL_PAYLOAD_KEYS",
    "",
    named_keys,
    "keys that encrypt payloads in Temporal, `id:base64 of 32 bytes`, with commas; the first encrypts; empty: no encryption",
)
TEMPORAL_UI_URL: str = env.parsed(
    "TEMPORAL_UI_URL", f"http://127.0.0.1:{TEMPORAL_UI_PORT}", URL, "address of Temporal's own UI, for links"
).rstrip("/")
TEMPORAL_CLI = env.text("TEMPORAL_CLI", "", "the `temporal` binary to use, before all other sources")
TEMPORAL_ACTIVITY_THREADS = env.whole(
    "TEMPORAL_ACTIVITY_THREADS", 16, "activities that one Temporal worker runs at once", low=1, high=200
)
TEMPORAL_DRAIN_SECONDS = env.number(
    "TEMPORAL_DRAIN_SECONDS", 20, "time that running activities get when the worker is told to stop", low=0, high=3600
)

# -- Events and runs -------------------------------------------------------------------------------------------------

EVENT_CORRELATION_PATHS: dict[str, tuple[str, ...]] = env.parsed(
    "WORKFLOW_RUNTIME_V2_EVENT_CORRELATION_PATHS_JSON",
    "",
    parse_correlation_paths,
    'JSON `{"EVENT": "path" or ["path"], "*": [...]}`: where an event\'s correlation key stands in its payload',
)
EVENT_BUFFER_SECONDS = env.number(
    "EVENT_BUFFER_SECONDS", 60, "how long before a wait opens an event for it may arrive, unless its type says otherwise",
    low=0.001, high=86_400,
)  # fmt: skip
REQUEST_MAX_BYTES = env.whole(
    "REQUEST_MAX_BYTES", 1_048_576, "largest request body; a larger one is answered 413", low=1024, high=67_108_864
)
EVENT_BATCH_MAX = env.whole("EVENT_BATCH_MAX", 1000, "events in one batch", low=1, high=10_000)
EVENT_BATCH_MAX_BYTES = env.whole(
    "EVENT_BATCH_MAX_BYTES", 16_777_216, "largest body of a batch of events; a single event has REQUEST_MAX_BYTES",
    low=1024, high=268_435_456,
)  # fmt: skip
DELIVERY_MAX_ATTEMPTS = env.whole(
    "DELIVERY_MAX_ATTEMPTS", 12, "attempts of one delivery before it is dead", low=1, high=1000
)
DELIVERY_BACKOFF_SECONDS = env.number(
    "DELIVERY_BACKOFF_SECONDS", 2, "wait after the first failed delivery; doubles, up to 5 minutes", low=0.1, high=300
)
DELIVERY_TENANT_LIMIT = env.whole(
    "DELIVERY_TENANT_LIMIT", 40, "deliveries of one tenant under way at once, unless the tenant's own limit says otherwise",
    low=1, high=10_000,
)  # fmt: skip
BULK_MAX_RUNS = env.whole("BULK_MAX_RUNS", 100_000, "runs that one bulk job may name", low=1, high=1_000_000)
BULK_RATE_PER_SECOND = env.number(
    "BULK_RATE_PER_SECOND", 20, "requests to Temporal per second of a bulk job that names no rate", low=0.1, high=1000
)
STREAM_NAME = matching(r"\S{1,100}", "a name of 1 to 100 characters without blanks")
EVENT_STREAM: str = env.parsed(
    "EVENT_STREAM", "pointsman:events", STREAM_NAME, "Redis stream that `manage.py consume_events` takes events from"
)
EVENT_STREAM_GROUP: str = env.parsed(
    "EVENT_STREAM_GROUP", "pointsman", STREAM_NAME, "consumer group of the portal on that stream"
)
EVENT_STREAM_DEAD: str = env.parsed(
    "EVENT_STREAM_DEAD", "pointsman:events:dead", STREAM_NAME, "stream of the entries that can never be events, with the reason"
)  # fmt: skip
if EVENT_STREAM_DEAD == EVENT_STREAM:
    raise ConfigError("EVENT_STREAM_DEAD", "is the same as EVENT_STREAM; what is refused would be read again for ever")
EVENT_STREAM_BATCH = env.whole("EVENT_STREAM_BATCH", 100, "entries that are read and stored at once", low=1, high=1000)
EVENT_STREAM_CLAIM_SECONDS = env.number(
    "EVENT_STREAM_CLAIM_SECONDS", 60, "how long an entry may be with one consumer before another takes it", low=1, high=86_400
)  # fmt: skip
EVENT_STREAM_MAX_DELIVERIES = env.whole(
    "EVENT_STREAM_MAX_DELIVERIES", 5, "deliveries of an entry that fails before it is a dead letter", low=1, high=1000
)
EVENT_STREAM_KEEP_SECONDS = env.number(
    "EVENT_STREAM_KEEP_SECONDS", 604_800, "age at which entries that every group has acknowledged are trimmed; 0: never",
    low=0, high=31_536_000,
)  # fmt: skip
HTTP_ALLOWED_PRIVATE_HOSTS = env.words(
    "HTTP_ALLOWED_PRIVATE_HOSTS",
    "" if PRODUCTION else f"127.0.0.1:{PORT}",
    "hosts (or host:port) with private addresses that `http.request` may call, with commas",
)

# -- Another application's Celery, for `celery.call` -----------------------------------------------------------------

_TASKS = r"[\w.:-]+(\.\*)?"
CELERY_CALL_TASKS = [
    name.strip()
    for name in env.parsed(
        "CELERY_CALL_TASKS",
        "",
        matching(rf"{_TASKS}(\s*,\s*{_TASKS})*", "names of tasks, or `prefix.*`, with commas"),
        "tasks that `celery.call` may run: names, or `prefix.*`, with commas; none otherwise",
    ).split(",")
    if name
]


def _url_of_another(name: str, *schemes: str, meaning: str) -> str:
    """The portal's own Redis unless it is given. A wrong one is not echoed: it may hold a password."""
    url = env.secret(name, meaning)
    if url and url.partition("://")[0] not in schemes:
        raise ConfigError(name, f"must begin with {', '.join(f'{scheme}://' for scheme in schemes)}")
    return url or REDIS_URL


CELERY_CALL_BROKER_URL = _url_of_another(
    "CELERY_CALL_BROKER_URL", "redis", "rediss", "amqp", "amqps", "pyamqp",
    meaning="broker of the application whose tasks `celery.call` runs (Redis or RabbitMQ); else `REDIS_URL`",
)  # fmt: skip
CELERY_CALL_RESULT_BACKEND = _url_of_another(
    "CELERY_CALL_RESULT_BACKEND", "redis", "rediss",
    meaning="result backend of that application (Redis); else `REDIS_URL`",
)  # fmt: skip

# -- Mail ------------------------------------------------------------------------------------------------------------

EMAIL_BACKEND = env.parsed(
    "EMAIL_BACKEND",
    "django.core.mail.backends.smtp.EmailBackend" if PRODUCTION else "django.core.mail.backends.filebased.EmailBackend",
    importable,
    "Django's e-mail backend; in development mails are files under POINTSMAN_HOME/mail",
)
EMAIL_FILE_PATH = str(POINTSMAN_HOME / "mail")
EMAIL_HOST = env.text("EMAIL_HOST", "localhost", "SMTP server")
EMAIL_PORT = env.port("EMAIL_PORT", 25, "SMTP port")
EMAIL_HOST_USER = env.text("EMAIL_HOST_USER", "", "SMTP user")
EMAIL_HOST_PASSWORD = env.secret("EMAIL_HOST_PASSWORD", "SMTP password")
EMAIL_USE_TLS = env.flag("EMAIL_USE_TLS", False, "STARTTLS towards the SMTP server")
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = env.text("DEFAULT_FROM_EMAIL", "pointsman@localhost", "sender of mails")

# -- REST API --------------------------------------------------------------------------------------------------------

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "workflows.api.authentication.TokenAuthentication",
        "workflows.api.authentication.TenantSessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": [
        "rest_framework.renderers.JSONRenderer",
        "rest_framework.renderers.BrowsableAPIRenderer",
    ],
    "DEFAULT_PARSER_CLASSES": ["workflows.api.parsers.StrictJsonParser"],
    "DEFAULT_FILTER_BACKENDS": ["django_filters.rest_framework.DjangoFilterBackend"],
    "DEFAULT_PAGINATION_CLASS": "workflows.api.pagination.NewestFirst",
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "workflows.api.errors.exception_response",
    "PAGE_SIZE": 50,
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Pointsman",
    "DESCRIPTION": "Operations portal for declarative workflows on Temporal.",
    "VERSION": "1",
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "SERVE_INCLUDE_SCHEMA": False,
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "ENUM_NAME_OVERRIDES": {
        "RunStatus": "workflows.statuses.RunStatus",
        "StepStatus": "workflows.statuses.StepStatus",
        "WaitStatus": "workflows.statuses.WaitStatus",
        "WaitKind": "workflows.statuses.WaitKind",
        "InvocationStatus": "workflows.statuses.InvocationStatus",
        "DeliveryStatus": "workflows.statuses.DeliveryStatus",
        "DeliveryKind": "workflows.statuses.DeliveryKind",
        "CommandSource": "workflows.statuses.CommandSource",
        "EventSource": "workflows.statuses.EventSource",
        "CommandAction": "workflows.statuses.CommandAction",
        "CommandState": "workflows.statuses.CommandState",
        "BulkState": "workflows.statuses.BulkState",
        "BulkItemState": "workflows.statuses.BulkItemState",
        "BulkAction": ["cancel", "replay", "terminate"],
    },
}

# -- Security, static files, time, logs ------------------------------------------------------------------------------

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
SECURE_HSTS_SECONDS = 31_536_000 if PRODUCTION else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = PRODUCTION
SECURE_HSTS_PRELOAD = PRODUCTION
SECURE_SSL_REDIRECT = env.flag("SECURE_SSL_REDIRECT", PRODUCTION, "redirect plain HTTP to HTTPS (true in production)")
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if PRODUCTION else None
# Probes come from inside the cluster, in plain HTTP.
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$"]
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = PRODUCTION
X_FRAME_OPTIONS = "DENY"

STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "staticfiles" if PRODUCTION else POINTSMAN_HOME / "static"
STATICFILES_DIRS = [BASE_DIR / "portal" / "static"]
# In development files are served from where they lie; an image collects them once.
WHITENOISE_USE_FINDERS = not PRODUCTION
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"
        if PRODUCTION
        else "django.contrib.staticfiles.storage.StaticFilesStorage"
    },
}

USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en"
USE_I18N = False

LOG_LEVEL = env.choice("LOG_LEVEL", "INFO", ("DEBUG", "INFO", "WARNING", "ERROR"), "level of the log lines")
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    # Messages are scrubbed where they are made (workflows/apps.py); the filter does so for what is added by `extra`.
    "filters": {"secrets": {"()": "workflows.actions.scrubbed_logs.ScrubFilter"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["secrets"]}},
    "root": {"handlers": ["stderr"], "level": LOG_LEVEL},
    "loggers": {
        "httpx": {"level": "WARNING"},
        "httpcore": {"level": "WARNING"},
        # Two lines for every task, and a sweep is one every few seconds.
        "celery.worker.strategy": {"level": "WARNING"},
        "celery.app.trace": {"level": "WARNING"},
    },
}

UNFOLD = {
    "SITE_TITLE": "Pointsman",
    "SITE_HEADER": "Pointsman",
    "SITE_SUBHEADER": "Workflows on Temporal",
    "SITE_ICON": "portal.site.icon",
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": "portal.site.icon"}],
    "SHOW_HISTORY": False,
    "SHOW_VIEW_ON_SITE": False,
    "ENVIRONMENT": "portal.site.environment_badge",
    "COLORS": {
        "primary": {
            "50": "oklch(97% .014 240)",
            "100": "oklch(94% .03 240)",
            "200": "oklch(88% .06 240)",
            "300": "oklch(80% .1 240)",
            "400": "oklch(72% .13 243)",
            "500": "oklch(63% .15 246)",
            "600": "oklch(55% .15 250)",
            "700": "oklch(48% .14 252)",
            "800": "oklch(41% .12 253)",
            "900": "oklch(36% .1 254)",
            "950": "oklch(27% .08 255)",
        }
    },
    "SIDEBAR": {"show_search": False, "show_all_applications": False, "navigation": "portal.site.navigation"},
    "STYLES": ["portal.site.stylesheet"],
    "LOGIN": {"form": "portal.forms.MemberAuthenticationForm"},
}
