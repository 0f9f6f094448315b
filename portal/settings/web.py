"""Web process: address, applications, middleware, security, static files and time zone."""

from portal.env import ConfigError, env, matching
from portal.settings.environment import BASE_DIR, POINTSMAN_HOME, PRODUCTION

HOST = env.text("HOST", "127.0.0.1", "address that the web process listens on")
PORT = env.port("PORT", 8000, "port that the web process listens on")

WEB_THREADS = env.whole("WEB_THREADS", 8, "number of threads in one web process", low=1, high=64)
WEB_REQUEST_SECONDS = env.whole(
    "WEB_REQUEST_SECONDS",
    30,
    "seconds in which a client must send a complete request; an idle connection is closed after the same time",
    low=1,
    high=600,
)
URL = matching(r"https?://[^\s/]+\S*", "a URL that begins with http:// or https://")
PUBLIC_URL: str = env.parsed(
    "PUBLIC_URL", f"http://{HOST}:{PORT}", URL, "public address of the portal, used in links"
).rstrip("/")

REQUEST_MAX_BYTES = env.whole(
    "REQUEST_MAX_BYTES",
    1_048_576,
    "largest request body in bytes; a larger body is refused with status 413",
    low=1024,
    high=67_108_864,
)
BUNDLE_MAX_BYTES = env.whole(
    "BUNDLE_MAX_BYTES", 16_777_216, "largest bundle of definitions in bytes", low=1024, high=67_108_864
)
# The middleware `portal.bodies` limits every body. Django's own limit would refuse a bundle in a form.
DATA_UPLOAD_MAX_MEMORY_SIZE = None

ALLOWED_HOSTS = env.words(
    "ALLOWED_HOSTS",
    "" if PRODUCTION else "127.0.0.1,localhost,[::1]",
    "host names under which the portal may be called, separated by commas",
)
if PRODUCTION and not ALLOWED_HOSTS:
    raise ConfigError(
        "ALLOWED_HOSTS", "is not set; production has no default for it, so list the host names of the portal"
    )
CSRF_TRUSTED_ORIGINS = env.words(
    "CSRF_TRUSTED_ORIGINS", "", "trusted origins (https://...) if the portal is behind a proxy, separated by commas"
)

INSTALLED_APPS = [
    "portal.apps.PortalConfig",
    "ingress.apps.IngressConfig",
    "workflows.apps.WorkflowsConfig",
    "unfold.apps.BasicAppConfig",  # the default config would replace PointsmanAdminSite
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
    "allauth",
    "allauth.account",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "allauth.mfa",
    "allauth.usersessions",
    "portal.sign_in.apps.SignInConfig",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "portal.bodies.BodySizeLimitMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "portal.sign_in.sessions.SessionLimitMiddleware",
    "portal.middleware.CurrentTenantMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "portal.time_zone.TimeZoneMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "portal.sign_in.middleware.SignInMiddleware",
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
PASSWORD_RESET_TIMEOUT = 3600  # seconds for which the link in an e-mail is valid
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
SECURE_HSTS_SECONDS = 31_536_000 if PRODUCTION else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = PRODUCTION
SECURE_HSTS_PRELOAD = PRODUCTION
SECURE_SSL_REDIRECT = env.flag(
    "SECURE_SSL_REDIRECT", PRODUCTION, "redirect HTTP to HTTPS; `true` by default in production"
)
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if PRODUCTION else None
# Health probes come from inside the cluster and use HTTP, so they must not be redirected to HTTPS.
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$", r"^metrics$"]
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = PRODUCTION
X_FRAME_OPTIONS = "DENY"

STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "staticfiles" if PRODUCTION else POINTSMAN_HOME / "static"
STATICFILES_DIRS = [BASE_DIR / "portal" / "static"]
# In development, files are served from the source folders. A container image runs collectstatic once.
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
