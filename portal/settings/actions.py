"""Settings of actions: apps with actions, unknown outcomes, calls to other systems (`http.request`, `celery.call`)."""

from portal.env import ConfigError, env, installed_apps, matching
from portal.settings.celery import REDIS_URL
from portal.settings.environment import PRODUCTION
from portal.settings.web import INSTALLED_APPS, PORT

ACTION_APPS = env.parsed(
    "ACTION_APPS",
    "",
    installed_apps,
    "dotted names of Django apps of your company, separated by commas. The portal installs these apps too, for example"
    " apps with actions",
)
_repeated = sorted(set(ACTION_APPS) & set(INSTALLED_APPS))
if _repeated:
    raise ConfigError("ACTION_APPS", f"has the entry {_repeated[0]!r}, which the portal installs itself; remove it")
# The apps come last, so that they cannot replace a template or a command of the portal.
INSTALLED_APPS = [*INSTALLED_APPS, *ACTION_APPS]

ACTION_DECISION_SECONDS = env.number(
    "ACTION_DECISION_SECONDS",
    7 * 24 * 3600,
    "seconds in which an operator can decide about an unknown outcome of an action; then the step fails",
    low=1,
    high=10 * 365 * 24 * 3600,
)

HTTP_ALLOWED_PRIVATE_HOSTS = env.words(
    "HTTP_ALLOWED_PRIVATE_HOSTS",
    "" if PRODUCTION else f"127.0.0.1:{PORT}",
    "hosts with private addresses that `http.request` may call: `host` or `host:port`, separated by commas",
)

_TASKS = r"[\w.:-]+(\.\*)?"
CELERY_CALL_TASKS = [
    name.strip()
    for name in env.parsed(
        "CELERY_CALL_TASKS",
        "",
        matching(rf"{_TASKS}(\s*,\s*{_TASKS})*", "task names or `prefix.*`, separated by commas"),
        "tasks that `celery.call` may run: names or `prefix.*`, separated by commas; if not set, none",
    ).split(",")
    if name
]


def _other_application_url(name: str, *schemes: str, meaning: str) -> str:
    """Return the URL of the variable, or REDIS_URL if the variable is not set.

    An error does not repeat the value, because the value can contain a password.
    """
    url = env.secret(name, meaning)
    if url and url.partition("://")[0] not in schemes:
        raise ConfigError(name, f"must begin with one of {', '.join(f'{scheme}://' for scheme in schemes)}")
    return url or REDIS_URL


CELERY_CALL_BROKER_URL = _other_application_url(
    "CELERY_CALL_BROKER_URL",
    "redis",
    "rediss",
    "amqp",
    "amqps",
    "pyamqp",
    meaning="broker of the application whose tasks `celery.call` runs (Redis or RabbitMQ); if not set, `REDIS_URL`",
)
CELERY_CALL_RESULT_BACKEND = _other_application_url(
    "CELERY_CALL_RESULT_BACKEND",
    "redis",
    "rediss",
    meaning="result backend of that application (Redis); if not set, `REDIS_URL`",
)
